"""`emofuse store info` and `ls`: inspect a store."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.console import format_size, format_table, plural, printable, say
from emofuse.common.errors import DAMAGED, UsageError, command
from emofuse.common.location import Location, LocationType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emofuse.store.inspect.listing import ListingRow

FILE = click.argument("file", type=LocationType())
VALUES = 12
"""Values of an attribute that `info` names; there may be many speakers."""
PROVENANCE_SHOWN = ("device", "threads", "batch_budget", "precision_difference", "emofuse", "started")


@click.command(short_help="Show corpus, features, settings and exclusions.")
@FILE
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--precision", is_flag=True, help="Measure the error of fp16, bf16 and int8 storage; reads all values.")
@click.option(
    "--fit",
    metavar="OPTIONS",
    help="With --precision, also measure the effect on a score: options of `fit`, such as "
    '"--model concat --steps 300".',
)
@command
def info(file: Location, as_json: bool, precision: bool, fit: str | None) -> None:
    """Show what FILE contains: corpus, utterances, features with their fingerprints, and what is excluded.

    Also lists features of FILE that are still being written. Exit code 3: a feature is damaged.
    """
    from emofuse.store.commands.precision import measure_precision, print_precision
    from emofuse.store.inspect.describe import describe

    if fit is not None and not precision:
        raise UsageError("--fit belongs to --precision: give both")
    facts = describe(file)
    if precision and not facts["damaged"]:
        measured = measure_precision(file, fit)
        if as_json:
            say(json.dumps(facts | {"precision": measured}, indent=2))
        else:
            print_precision(measured)
        return
    if as_json:
        say(json.dumps(facts, indent=2))
    else:
        lines = [*_corpus_lines(facts), *_feature_lines(facts["features"])]
        lines += [f"damaged: {printable(error, 400)}" for error in facts["damaged"].values()]
        lines += [f"in progress: {printable(p['feature'])}, {printable(p['state'], 400)}" for p in facts["under_way"]]
        say("\n".join(lines))
    if facts["damaged"]:
        sys.exit(DAMAGED)


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
    for item in facts["excluded"][:10]:
        modality = f" ({printable(item['modality'], 20)})" if item["modality"] else ""
        lines.append(f"    {printable(item['id'])}{modality}: {printable(item['reason'])}")
    return lines


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
            f"  {printable(f['name'])}: {printable(fingerprint, 2000)}",
            f"  {printable(f['name'])}, computed: {printable(provenance, 400)}",
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
            say("\n".join(json.dumps(row.as_json()) for row in shown))
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
