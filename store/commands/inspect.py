"""`emofuse store info` and `ls`: inspect a store."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DAMAGED, EmofuseError, SeveralProblemsError, UsageError, command
from emofuse.common.location import Location, LocationType, parse_location
from emofuse.common.output.console import (
    format_size,
    format_table,
    json_text,
    plural,
    printable,
    say,
    say_json,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emofuse.store.inspect.listing import ListingRow

FILE = click.argument("file", type=LocationType())
EXCLUDED_SHOWN = 10
"""Excluded items that `info` names; --json has all."""
VALUES = 12
"""Values of an attribute that `info` names; there may be many speakers."""
PROVENANCE_SHOWN = ("device", "threads", "batch_budget", "precision_difference", "emofuse", "started")


@click.command(short_help="Show corpus, features, settings and exclusions.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=LocationType())
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON; of several files as a list.")
@click.option("--precision", is_flag=True, help="Measure the error of fp16, bf16 and int8 storage; reads all values.")
@click.option(
    "--fit",
    metavar="OPTIONS",
    help="With --precision, also measure the effect on a score: options of `fit`, such as "
    '"--model concat --steps 300".',
)
@verbosity_options
@command
def info(files: tuple[Location, ...], as_json: bool, precision: bool, fit: str | None) -> None:
    """Show what each FILE contains: corpus, utterances, features with their fingerprints, and what is excluded.

    Also lists features of FILE that are still being written. Of several files, those that can be read are shown, and
    all others named at the end, with exit code 2. Exit code 3: the only FILE is damaged, or a feature.
    """
    from emofuse.store.inspect.describe import describe

    if fit is not None and not precision:
        raise UsageError("--fit belongs to --precision: give both")
    found: list[dict[str, Any]] = []
    unreadable: list[EmofuseError] = []
    for file in files:
        try:
            found.append(describe(file))
        except EmofuseError as error:
            unreadable.append(error)
    if precision:
        _measure(found, fit)
    if as_json:
        say_json(found[0] if len(files) == 1 and found else found)
    for number, facts in enumerate(() if as_json else found):
        _print_facts(facts, first=number == 0)
    if unreadable:
        raise unreadable[0] if len(files) == 1 else _unreadable_error(unreadable, len(files))
    if any(facts["damaged"] for facts in found):
        sys.exit(DAMAGED)


def _unreadable_error(errors: Sequence[EmofuseError], files: int) -> SeveralProblemsError:
    problems = ("; ".join([str(error), *getattr(error, "__notes__", ())]) for error in errors)
    return SeveralProblemsError(f"{len(errors)} of {plural(files, 'file')} cannot be shown:", problems)


def _measure(found: Sequence[dict[str, Any]], fit: str | None) -> None:
    """Add to the facts of each undamaged store how precisely other types would hold its features."""
    from emofuse.store.commands.precision import measure_precision

    for facts in found:
        if not facts["damaged"]:
            facts["precision"] = measure_precision(parse_location(facts["path"]), fit)


def _print_facts(facts: dict[str, Any], first: bool) -> None:
    from emofuse.store.commands.precision import print_precision

    if not first:
        say("")
    if "precision" in facts:
        print_precision(facts["precision"])
    else:
        say("\n".join(_lines(facts)))


def _lines(facts: dict[str, Any]) -> list[str]:
    lines = [*_corpus_lines(facts), *_feature_lines(facts["features"])]
    lines += [f"damaged: {printable(error, 400)}" for error in facts["damaged"].values()]
    return lines + [f"in progress: {printable(p['feature'])}, {printable(p['state'], 400)}" for p in facts["under_way"]]


def _corpus_lines(facts: dict[str, Any]) -> list[str]:
    disk = f", {format_size(facts['bytes'])}" if facts["bytes"] is not None else ""
    lines = [
        f"{facts['path']}: corpus {printable(facts['corpus'])} read by {printable(facts['reader'])}, "
        f"{plural(facts['utterances'], 'utterance')}, {facts['hours']:.2f} h{disk}"
    ]
    for attribute in ("label", "session", "split", "speaker"):
        counts = facts[attribute]
        if counts:
            named = ", ".join(f"{printable(k, 40)} {n}" for k, n in list(counts.items())[:VALUES])
            more = f", ... ({len(counts)} in all)" if len(counts) > VALUES else ""
            lines.append(f"  {attribute}: {named}{more}")
    if facts["text_source"]:
        recognised = ", ".join(f"{n} by the recogniser {printable(s, 200)}" for s, n in facts["text_source"].items())
        lines.append(f"  text: {recognised}, {facts['own_texts']} of the corpus's own")
    lines.append(f"  excluded: {len(facts['excluded'])}")
    for item in facts["excluded"][:EXCLUDED_SHOWN]:
        modality = f" ({printable(item['modality'], 20)})" if item["modality"] else ""
        lines.append(f"    {printable(item['id'])}{modality}: {printable(item['reason'])}")
    rest = len(facts["excluded"]) - EXCLUDED_SHOWN
    return lines + ([f"    ... and {rest} more (--json lists all)"] if rest > 0 else [])


def _feature_lines(features: Sequence[dict[str, Any]]) -> list[str]:
    from emofuse.store.core.fitted_on import describe_fitted_on

    lines = [_feature_table(features)] if features else []
    for f in features:
        fingerprint = ", ".join(f"{k}={json.dumps(v)}" for k, v in sorted(f["fingerprint"].items()))
        provenance = ", ".join(f"{k}={f['provenance'][k]}" for k in PROVENANCE_SHOWN if k in f["provenance"])
        if f["encoder_seconds"] is not None:
            provenance += f", encoder_seconds={f['encoder_seconds']:.1f}"
        lines += [f"  {printable(f['name'])}: {printable(f['copy'], 400)}"] if f["copy"] else []
        lines += [
            wrapped(f"  {printable(f['name'])}: {printable(fingerprint, 2000)}", " " * 4),
            wrapped(f"  {printable(f['name'])}, computed: {printable(provenance, 400)}", " " * 4),
            f"  {printable(f['name'])}, fitted on: {printable(describe_fitted_on(f['fitted_on']), 400)}",
        ]
    return lines


def _feature_table(features: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            *(printable(f["name"]), f["modality"], printable(f["encoder"]), f["utterances"], f["missing"], f["stale"]),
            *(f["frames"], "x".join(map(str, f["shape"])), f["dtype"]),
            f"{f['frame_rate']:g} Hz" if f["frame_rate"] else "tokens" if f["modality"] == "text" else "one",
            *(format_size(f["bytes"]), f["state"]),
        )
        for f in features
    ]
    header = ("feature", "modality", "encoder", "utterances", "missing", "stale", "frames", "dimension", "dtype")
    return format_table((*header, "rate", "size", "state"), rows)


@click.command(short_help="List utterances, one line each.")
@FILE
@click.option("--label", multiple=True, help="Only this label; this option and the next three may be repeated.")
@click.option("--session", multiple=True, help="Only this session.")
@click.option("--speaker", multiple=True, help="Only this speaker.")
@click.option("--split", multiple=True, help="Only this split.")
@click.option("--missing", metavar="FEATURE", help="Only utterances that have its modality, but no values of it.")
@click.option("--stale", metavar="FEATURE", help="Only utterances whose audio or text changed since it was computed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines: one object per utterance, with all fields.")
@click.option("--limit", type=click.IntRange(min=0), help="Print at most this many.")
@verbosity_options
@command
def ls(file: Location, as_json: bool, limit: int | None, **filters: Any) -> None:
    """List the utterances of FILE, one line each."""
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.inspect.listing import Filters, list_utterances

    with FeatureStore(file) as store:
        rows, features = list_utterances(store, Filters(**filters)), [*store.features]
        total = len(store.manifest)
    shown = rows[:limit]
    if as_json:
        if shown:
            say("\n".join(json_text(row.as_json()) for row in shown))
        return
    count = f"{len(rows)} of {plural(total, 'utterance')}" if len(rows) < total else plural(total, "utterance")
    limited = f", {len(shown)} shown" if len(shown) < len(rows) else ""
    stale = " (!: stale)" if any(row.stale for row in shown) else ""
    say(f"{_utterance_table(shown, features)}\n{count}{limited}{stale}")


def _utterance_table(rows: Sequence[ListingRow], features: Sequence[str]) -> str:
    cells = []
    for row in rows:
        u = row.utterance
        attributes = (printable(value or "-", 40) for value in (u.label, u.session, u.speaker, u.split))
        frames = (f"{row.frames.get(name, '-')}{'!' if name in row.stale else ''}" for name in features)
        cells.append((printable(u.id), *attributes, "-" if u.seconds is None else f"{u.seconds:.2f}", *frames))
    header = ("id", "label", "session", "speaker", "split", "seconds", *map(printable, features))
    return format_table(header, cells)
