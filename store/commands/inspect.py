"""`emofuse store info`, `ls`, `show`: look into a store."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.console import printable, say, size, table
from emofuse.common.errors import DAMAGED, UsageError, command
from emofuse.common.location import Location, LocationType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emofuse.store.inspect.show import UtteranceView

FILE = click.argument("file", type=LocationType())
VALUES = 12
"""Values of an attribute that `info` names; speakers may be many."""
_MADE = ("device", "threads", "batch_budget", "precision_difference", "emofuse", "started")


@click.command()
@FILE
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--precision", is_flag=True, help="What fp16, bf16 and int8 lose of every feature; reads all values.")
@click.option(
    "--fit",
    metavar="ARGUMENTS",
    help='With --precision, what that does to a score: arguments of `fit`, such as "--model concat --steps 300".',
)
@command
def info(file: Location, as_json: bool, precision: bool, fit: str | None) -> None:
    """What FILE holds: corpus, utterances, features with their fingerprints, what is excluded, what is under way."""
    from emofuse.store.commands.precision import measured, tell
    from emofuse.store.inspect.describe import describe

    if fit is not None and not precision:
        raise UsageError("--fit belongs to --precision: give both")
    facts = describe(file)
    if precision and not facts["damaged"]:
        found = measured(file, fit)
        if as_json:
            say(json.dumps(facts | {"precision": found}, indent=2))
        else:
            tell(found)
        return
    if as_json:
        say(json.dumps(facts, indent=2))
    else:
        say("\n".join(_told(facts)))
    if facts["damaged"]:
        sys.exit(DAMAGED)


def _told(facts: dict[str, Any]) -> list[str]:
    from emofuse.store.core.fitted_on import in_words

    disk = f", {size(facts['bytes'])}" if facts["bytes"] is not None else ""
    lines = [
        f"{facts['path']}: corpus {printable(facts['corpus'])} read by {printable(facts['reader'])}, "
        f"{facts['utterances']} utterances, {facts['hours']:.2f} h{disk}"
    ]
    for attribute in ("label", "session", "split", "speaker"):
        counts = facts[attribute]
        if counts:
            named = ", ".join(f"{printable(k, 40)} {n}" for k, n in list(counts.items())[:VALUES])
            more = f", ... ({len(counts)} in all)" if len(counts) > VALUES else ""
            lines.append(f"  {attribute}: {named}{more}")
    if facts["text_source"]:
        heard = ", ".join(f"{n} by the recogniser {printable(s, 200)}" for s, n in facts["text_source"].items())
        lines.append(f"  text: {heard}, {facts['own_texts']} of the corpus's own")
    lines.append(f"  excluded: {len(facts['excluded'])}")
    for item in facts["excluded"][:10]:
        of = f" ({printable(item['modality'], 20)})" if item["modality"] else ""
        lines.append(f"    {printable(item['id'])}{of}: {printable(item['reason'])}")
    if facts["features"]:
        lines.append(_features(facts["features"]))
    for f in facts["features"]:
        said = ", ".join(f"{k}={json.dumps(v)}" for k, v in sorted(f["fingerprint"].items()))
        lines.append(f"  {printable(f['name'])}: {printable(said, 2000)}")
        made = {k: f["provenance"][k] for k in _MADE if k in f["provenance"]}
        lines.append(
            f"  {printable(f['name'])}, made: {printable(', '.join(f'{k}={v}' for k, v in made.items()), 400)}"
        )
        lines.append(f"  {printable(f['name'])}, fitted on: {printable(in_words(f['fitted_on']), 400)}")
    lines += [f"damaged: {printable(told, 400)}" for told in facts["damaged"].values()]
    lines += [f"under way: {printable(p['feature'])}, {printable(p['state'], 400)}" for p in facts["under_way"]]
    return lines


def _features(features: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            *(printable(f["name"]), f["modality"], printable(f["encoder"]), f["utterances"], f["lacking"], f["stale"]),
            *(f["frames"], "x".join(map(str, f["shape"])), f["dtype"]),
            f"{f['frame_rate']:g} Hz" if f["frame_rate"] else "tokens",
            *(size(f["bytes"]), f["state"]),
        )
        for f in features
    ]
    header = ("feature", "modality", "encoder", "utterances", "lacking", "stale", "frames", "frame", "dtype", "rate")
    return table((*header, "size", "state"), rows)


@click.command()
@FILE
@click.option("--label", multiple=True, help="Only this label; give it again for more, as all four.")
@click.option("--session", multiple=True, help="Only this session.")
@click.option("--speaker", multiple=True, help="Only this speaker.")
@click.option("--split", multiple=True, help="Only this split.")
@click.option("--lacking", metavar="FEATURE", help="Only those that have its modality, and no values of it.")
@click.option("--stale", metavar="FEATURE", help="Only those whose audio or text changed since it was computed.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines: one object per utterance, with all that is known.")
@click.option("--limit", type=click.IntRange(min=0), help="At most this many.")
@command
def ls(file: Location, as_json: bool, limit: int | None, **wanted: Any) -> None:
    """One line for each utterance of FILE."""
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.inspect.listing import Filters, rows

    with FeatureStore(file) as store:
        found, names = rows(store, Filters(**wanted)), [*store.features]
        total = len(store.manifest)
    shown = found[:limit]
    if as_json:
        if shown:
            say("\n".join(json.dumps(row.facts()) for row in shown))
        return
    cells = []
    for row in shown:
        u = row.utterance
        said = (printable(value or "-", 40) for value in (u.label, u.session, u.speaker, u.split))
        frames = (f"{row.frames.get(name, '-')}{'!' if name in row.stale else ''}" for name in names)
        cells.append((printable(u.id), *said, "-" if u.seconds is None else f"{u.seconds:.2f}", *frames))
    header = ("id", "label", "session", "speaker", "split", "seconds", *map(printable, names))
    stale = " (!: stale)" if any(row.stale for row in shown) else ""
    fit = f"{len(found)} of {total} utterances" if len(found) < total else f"{total} utterances"
    cut = f", {len(shown)} shown" if len(shown) < len(found) else ""
    say(f"{table(header, cells)}\n{fit}{cut}{stale}")


@click.command()
@FILE
@click.argument("utterance")
@click.option("--feature", metavar="NAME", help="Only this feature [all].")
@click.option("--layer", type=int, help="The layer to look at, by its number [the last].")
@click.option("--png", type=click.Path(path_type=Path), help="Write the pictures to this file too.")
@command
def show(file: Location, utterance: str, feature: str | None, layer: int | None, png: Path | None) -> None:
    """Everything FILE knows of UTTERANCE, and pictures of its features; exit code 3 when one is damaged."""
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.inspect import picture
    from emofuse.store.inspect.listing import known
    from emofuse.store.inspect.output import put
    from emofuse.store.inspect.show import closeups, find

    with FeatureStore(file) as store:
        u = find(store, utterance)
        seen = closeups(store, u, feature, layer)
        corpus, damaged = store.corpus, list(store.damaged_features.values())
    lines = [f"{printable(u.id)} of corpus {printable(corpus)}"]
    for key, value in known(u).items():
        pairs = value.items() if isinstance(value, dict) else [("", value)]
        lines += [f"  {key} {printable(k)}".rstrip() + f": {printable(str(v), 1000)}" for k, v in pairs if key != "id"]
    if seen:
        lines.append(_statistics(seen))
    lines += [f"damaged: {printable(str(error), 400)}" for error in damaged]
    say("\n".join(lines))
    colours = picture.colours_of(sys.stdout, os.environ)
    for c in seen:
        say("\n".join(_picture(c, colours)))
    rates = [c.feature.frame_rate if c.seconds is not None else None for c in seen]
    drawn = [(_title(c), c.values, rate) for c, rate in zip(seen, rates, strict=True) if c.values is not None]
    if png and drawn:
        titled = [(f"{printable(u.id)}: {title}", values, rate) for title, values, rate in drawn]
        put(png, picture.png(titled))
        say(f"picture: {png}")
    elif png:
        say(f"no picture in {png}: nothing to draw")
    if damaged or any(c.mark == "damaged" for c in seen):
        sys.exit(DAMAGED)


def _statistics(seen: Sequence[UtteranceView]) -> str:
    rows = []
    for c in seen:
        numbers = c.statistics() or {}
        told = (f"{numbers[k]:.4g}" if k in numbers else "-" for k in ("min", "mean", "max", "deviation"))
        zeros = f"{100 * numbers['zeros']:.1f}%" if numbers else "-"
        seconds = "-" if c.seconds is None else f"{c.seconds:.2f}"
        rows.append((printable(_title(c)), c.frames, seconds, c.source, c.mark, *told, zeros))
    header = ("feature", "frames", "seconds", "source", "mark", "min", "mean", "max", "deviation", "zeros")
    return table(header, rows)


def _title(c: UtteranceView) -> str:
    return c.feature.name if c.layer is None else f"{c.feature.name}, layer {c.layer}"


def _picture(c: UtteranceView, colours: Any) -> list[str]:
    from emofuse.store.inspect.picture import draw

    if c.values is None:
        return [f"{printable(_title(c))}: no picture, its values are {c.mark}"]
    lines, (low, high) = draw(c.values, colours)
    end = f"{c.seconds:.2f} s" if c.seconds is not None else f"{c.frames} frames"
    axes = f"0 to {end}; dimensions 0 (bottom) to {c.feature.dimension - 1}; {low:.3g} (dark) to {high:.3g} (bright)"
    if colours == "shades":  # a border tells dark cells from no cells
        lines = [f"|{line}|" for line in lines]
    return [f"{printable(_title(c))}: {axes}", *lines]
