"""What a store holds: counts, features, classes and durations, over all and by speaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from emofuse.common.charts.bars import stacked_bars
from emofuse.common.charts.boxes import boxes
from emofuse.common.charts.palette import GREY, class_colours, group_colours
from emofuse.common.output.console import format_size, plural
from emofuse.common.page.blocks import Cell, Chart, Choice, ClassName, Column, Facts, Section, Table, Text
from emofuse.common.page.columns import telling_columns
from emofuse.report.exploration.measure.collection import Collection, Entry
from emofuse.report.exploration.sections.material import (
    OTHERS,
    Material,
    frequent,
    grouped,
    more_than_shown,
)
from emofuse.store import FeatureStore
from emofuse.store.inspect.describe import missing_ids

MOST_ROWS = 60
"""Classes of the table."""
MOST_PARTS = 13
"""Classes with a part of their own in a stacked bar; the rest is one part."""
GROUPINGS: dict[str, Callable[[Entry], str | None]] = {
    "speaker": lambda e: e.speaker,
    "session": lambda e: e.session,
    "gender": lambda e: e.gender,
    "corpus": lambda e: e.corpus,
}
"""What utterances are grouped by besides their label."""


def contents_section(material: Material) -> Section:
    """The first section after the answer."""
    collection = material.collection
    return Section(
        name="contents",
        title="Contents of the store" if not collection.several else "Contents of the stores",
        blocks=[Facts(facts=_facts(collection)), _feature_table(collection), *_classes(collection)],
    )


def _facts(collection: Collection) -> list[tuple[str, str]]:
    entries = collection.entries
    seconds = [e.utterance.seconds for e in entries if e.utterance.seconds is not None]
    genders = Counter(e.gender for e in {e.speaker: e for e in entries if e.speaker}.values() if e.gender)
    facts = [
        ("corpus", ", ".join(store.corpus for store in collection.stores)),
        ("utterances", f"{len(entries):,}".replace(",", " ")),
        ("audio", f"{sum(seconds) / 3600:.2f} h" if seconds else "unknown length"),
        ("speakers", str(len(collection.speakers)) if collection.speakers else "unknown"),
        ("classes", str(len(collection.classes)) if collection.classes else "no labels"),
    ]
    if genders:
        facts.append(("genders of speakers", ", ".join(f"{count} {name}" for name, count in sorted(genders.items()))))
    if collection.protocol:
        facts += [
            ("protocol", collection.protocol.name),
            ("outside the protocol", plural(collection.left_out, "utterance")),
        ]
    unlabelled = sum(e.label is None for e in entries)
    if unlabelled and collection.classes:
        facts.append(("without label", str(unlabelled)))
    excluded = sum(len(store.manifest.excluded) for store in collection.stores)
    facts.append(("excluded items", str(excluded)))
    return facts


def _feature_table(collection: Collection) -> Table | Text:
    rows: list[Sequence[Cell]] = [row for store in collection.stores for row in _feature_rows(store)]
    if not rows:
        return Text(lines=["The store has no features yet: `extract` computes them."])
    if not collection.several:
        rows = [row[1:] for row in rows]
    names = ["corpus"] if collection.several else []
    names += ["feature", "modality", "encoder", "utterances", "missing", "stale"]
    names += ["dimension", "stored as", "size", "state"]
    columns, rows, common = telling_columns([Column(name=name) for name in names], rows)
    return Table(name="features", title="Features", columns=columns, rows=rows, caption=common)


def _feature_rows(store: FeatureStore) -> Iterator[tuple[Any, ...]]:
    for name, feature in sorted(store.features.items()):
        written = int((feature.marks() > 0).sum())
        yield (
            store.corpus, name, feature.modality, feature.encoder, written, len(missing_ids(feature, store.manifest)),
            len(feature.stale), " × ".join(map(str, feature.spec.frame_shape)), feature.spec.dtype,
            format_size(feature.nbytes), "complete" if feature.complete else "incomplete",
        )  # fmt: skip
    for name in sorted(store.damaged_features):
        yield (store.corpus, name, "", "", None, None, None, "", "", "", "damaged")


def _classes(collection: Collection) -> Iterator[Any]:
    if not collection.classes:
        yield Text(lines=["The store has no labels: classes cannot be counted."])
    else:
        yield _class_table(collection)
        options = [(by, chart) for by in GROUPINGS for chart in _class_charts(collection, by)]
        if options:
            yield Choice(name="classes-by", title="Classes by", options=options)
    yield from _durations(collection)


def _class_table(collection: Collection) -> Table:
    labelled = [e for e in collection.entries if e.label is not None]
    rows = []
    for name in collection.classes[:MOST_ROWS]:
        members = [e for e in labelled if e.label == name]
        seconds = [e.utterance.seconds for e in members if e.utterance.seconds is not None]
        rows.append(
            (
                ClassName(name=name), len(members), f"{100 * len(members) / len(labelled):.1f} %",
                sum(seconds) / 60 if seconds else None, float(np.median(seconds)) if seconds else None,
                len({e.speaker for e in members if e.speaker}) or None,
            )
        )  # fmt: skip
    caption = f"{len(rows)} of {len(collection.classes)} labels." if len(rows) < len(collection.classes) else ""
    columns = [
        Column(name="class"), Column(name="utterances"), Column(name="share"), Column(name="minutes", decimals=1),
        Column(name="median seconds", decimals=2), Column(name="speakers"),
    ]  # fmt: skip
    columns, shown, common = telling_columns(columns, rows)
    return Table(name="classes", title="Classes", columns=columns, rows=shown, caption=f"{caption} {common}".strip())


def _class_charts(collection: Collection, by: str) -> Iterator[Chart]:
    """Stacked bars of the classes of each group: shares, over all first."""
    key = GROUPINGS[by]
    names = [key(e) for e in collection.entries]
    groups = frequent(names)
    if len(groups) < 2:
        return
    classes = collection.classes
    own = classes if len(classes) <= MOST_PARTS else classes[: MOST_PARTS - 1]
    parts = [*own, *([OTHERS] if len(own) < len(classes) else [])]
    counts = {group: Counter[str]() for group in ["all", *groups]}
    for entry, group in zip(collection.entries, names, strict=True):
        if entry.label is not None:
            part = entry.label if entry.label in own else OTHERS
            counts["all"][part] += 1
            if group in counts and group is not None:
                counts[group][part] += 1
    rows = [group for group in counts if counts[group].total()]
    shares = {part: [100 * counts[g][part] / counts[g].total() for g in rows] for part in parts}
    colours = class_colours(classes) | {OTHERS: GREY}
    labels = [f"{g} (n {counts[g].total()})" for g in rows]
    yield Chart(
        name=f"classes-by-{by}",
        title=f"Share of each class, by {by}",
        alt=f"Stacked bars, {len(rows)} rows: {_spread(rows[1:], shares)}.",
        caption=more_than_shown(names, f"{by}s"),
        drawing=stacked_bars(labels, shares, colours, "% of the utterances"),
    )


def _spread(groups: list[str], shares: dict[str, list[float]]) -> str:
    """How the share of each class varies over groups, in words."""
    ranges = [f"{part} {min(values[1:]):.0f} to {max(values[1:]):.0f} %" for part, values in shares.items() if groups]
    return ", ".join(ranges[:8])


def _durations(collection: Collection) -> Iterator[Any]:
    if not any(e.utterance.seconds is not None for e in collection.entries):
        yield Text(lines=["Durations are unknown: the store was made without scanning audio."])
        return
    options = []
    for by, key in {"class": lambda e: e.label, **GROUPINGS}.items():
        groups = grouped(
            collection.entries, key, lambda e: e.utterance.seconds, frequent(list(map(key, collection.entries)))
        )
        if groups and (len(groups) > 1 or by == "class"):
            colours = class_colours(collection.classes) if by == "class" else group_colours(groups)
            medians = {name: float(np.median(values)) for name, values in groups.items()}
            longest, shortest = max(medians, key=medians.__getitem__), min(medians, key=medians.__getitem__)
            chart = Chart(
                name=f"seconds-by-{by}", title=f"Duration of the utterances, by {by}",
                alt=f"Medians from {medians[shortest]:.1f} s ({shortest}) to {medians[longest]:.1f} s ({longest}).",
                caption=more_than_shown(list(map(key, collection.entries)), f"{by}s")
                + "Line: middle 90 %; bar: middle half; tick: median.",
                drawing=boxes(groups, "seconds", colours),
            )  # fmt: skip
            options.append((by, chart))
    if options:
        yield Choice(name="seconds-by", title="Durations by", options=options)
