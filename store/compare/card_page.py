"""A manifest card as a page for people, made of the card alone: what a card does not contain cannot be in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.nested import flatten
from emofuse.common.output.console import plural, printable
from emofuse.common.page.blocks import (
    Cell,
    Column,
    Commands,
    Details,
    Facts,
    Headline,
    Page,
    PagedTable,
    Section,
    Table,
    Text,
)
from emofuse.common.page.columns import telling_columns
from emofuse.store.compare.card import CardDiff
from emofuse.store.compare.card_counts import count_blocks
from emofuse.store.core.fitted_on import describe_fitted_on
from emofuse.store.inspect.shortlist import ShortList

MOST_UTTERANCES = 20_000
"""Rows of the table of utterances: more would make the page larger than 3 MB."""
NOT_CONTAINED = (
    "Audio, paths, and the label of any single utterance.",
    "Text, or a digest of a text: a short text can be guessed, and the guess checked.",
    "Names of speakers, except where ids contain them. A session or a training speaker named after a speaker is "
    "replaced by its first utterance's id.",
    "Which items are excluded: only how many.",
    "A proof of origin: the digests detect accidents and other versions, not forgery.",
)


def card_page(card: Mapping[str, Any]) -> Page:
    """The page of one card."""
    return Page(
        title=f"Store card of {printable(card['corpus'])}",
        subtitle="Ids, durations, counts and digests, to find out whether two labs use the same data",
        sections=[
            Section(name="data", title="Data", blocks=[_facts(card), _digest(card), *count_blocks(card)]),
            Section(name="features", title="Features", blocks=_features(card["features"])),
            Section(name="utterances", title="Utterances", blocks=_utterances(card["utterances"])),
            Section(name="not-contained", title="What a card does not contain", blocks=[Text(lines=NOT_CONTAINED)]),
            Section(name="compare", title="Compare", blocks=[_command()]),
        ],
    )


def cards_page(here: Mapping[str, Any], there: Mapping[str, Any], diff: CardDiff) -> Page:
    """The page of two cards and their differences."""
    data, features = ("the same" if same else "different" for same in (diff.same_data, not diff.features))
    columns = [Column(name=name) for name in ("", "here", "there")]
    rows = [[name, x, y] for (name, x), (_, y) in zip(_values(here), _values(there), strict=True)]
    differences = _differences(diff)
    columns_of_differences = [Column(name="part", filter=True), Column(name="difference")]
    return Page(
        title=f"Store cards: {printable(here['corpus'])} and {printable(there['corpus'])}",
        subtitle="Two cards compared, without sharing audio, text or labels of utterances",
        sections=[
            Section(
                name="result",
                title="Result",
                blocks=[
                    Headline(
                        value="The same" if diff.same else "Different",
                        label="Data and features",
                        meaning=f"Data: {data}, as far as cards tell. Features: {features}.",
                    ),
                    Table(name="cards", title="Both cards", columns=columns, rows=rows),
                ],
            ),
            *(
                [
                    Section(
                        name="differences",
                        title="Differences",
                        blocks=[
PagedTable(name="differences-table", title=plural(len(differences), "difference"),
                                       columns=columns_of_differences, rows=differences)
                        ],
                    )
                ]
                if differences
                else []
            ),
            Section(name="not-contained", title="What a card does not contain", blocks=[Text(lines=NOT_CONTAINED)]),
        ],
    )  # fmt: skip


def _values(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("corpus", printable(card["corpus"])),
        ("corpus reader", printable(card["reader"])),
        ("utterances", f"{len(card['utterances']):,}"),
        ("hours", f"{card['hours']:.2f}"),
        ("speakers", str(card["speakers"])),
        ("sessions", str(len([name for name in card["sessions"] if name])) if any(card["sessions"]) else "none"),
        ("excluded items", str(card["excluded"])),
        ("features", ", ".join(map(printable, card["features"])) or "none"),
        ("digest", card["digest"]),
    ]


def _facts(card: Mapping[str, Any]) -> Facts:
    return Facts(facts=[(name, value) for name, value in _values(card) if name != "digest"])


def _digest(card: Mapping[str, Any]) -> Text:
    return Text(lines=[f"Digest, the same for equal cards: {card['digest']}"])


def _features(features: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """One row for each feature, and below it what its fingerprint contains."""
    if not features:
        return [Text(lines=["The store has no features."])]
    names = ("feature", "modality", "encoder", "view", "type", "dimension", "layers", "frames per second", "utterances",
             "frames", "fitted on")  # fmt: skip
    rows: list[list[Cell]] = [
        [
            *(printable(text) for text in (name, f["modality"], f["encoder"], f["view"], f["dtype"])),
            f["dimension"],
            ", ".join(map(str, f["layers"])),
            None if f["frame_rate"] is None else f"{f['frame_rate']:g}",
            f["utterances"],
            f["frames"],
            printable(describe_fitted_on(f["fitted_on"]), 300),
        ]
        for name, f in features.items()
    ]
    columns, shown, common = telling_columns([Column(name=name) for name in names], rows)
    fingerprints = [
        Details(title=f"Settings and digest of {printable(name)}", blocks=[_fingerprint(f, number)])
        for number, (name, f) in enumerate(features.items(), 1)
    ]
    return [Table(name="features-table", title="Features", columns=columns, rows=shown, caption=common), *fingerprints]


def _fingerprint(feature: Mapping[str, Any], number: int) -> Table:
    settings = flatten(feature["fingerprint"]).items()
    rows = [[printable(key), printable(json.dumps(value), 300)] for key, value in settings]
    rows.append(["digest of all values", feature["marks"]])
    columns = [Column(name="setting"), Column(name="value")]
    title = "Everything that changes the values, and their digest"
    return Table(name=f"fingerprint-{number}", title=title, columns=columns, rows=rows)


def _utterances(utterances: Sequence[Mapping[str, Any]]) -> list[Any]:
    rows: list[list[Cell]] = [
        [printable(u["id"]), u["seconds"], u["audio_digest"]] for u in utterances[:MOST_UTTERANCES]
    ]
    more = len(utterances) - len(rows)
    caption = f"The first {len(rows):,}; the card itself, a JSON file, has all {len(utterances):,}." if more else ""
    columns = [Column(name="id"), Column(name="seconds", decimals=2), Column(name="digest of the audio")]
    columns, shown, _ = telling_columns(columns, rows)
    return [PagedTable(name="utterances-table", title="Utterances", columns=columns, rows=shown, caption=caption)]


def _command() -> Commands:
    commands = ["emofuse store card STORE --out ours.json", "emofuse store card STORE --against theirs.json"]
    return Commands(name="commands", title="Write a card for another lab; compare with theirs", commands=commands)


def _differences(diff: CardDiff) -> list[list[Cell]]:
    """Part and difference, one row each."""
    found: list[tuple[str, str]] = [("counts", line) for line in diff.counts]
    lists: dict[str, ShortList] = {
        "ids only here": diff.only_here,
        "ids only there": diff.only_there,
        "durations differ": diff.seconds,
        "audio differs": diff.audio,
        "audio scanned in only one of them": diff.unscanned,
    }
    found += [("utterances", f"{what}: {items.text()}") for what, items in lists.items() if items]
    found += [(f"feature {name}", line) for name, lines in diff.features.items() for line in lines]
    found += [("remark", line) for line in diff.remarks]
    return [[printable(part, 60), printable(line, 1000)] for part, line in found]
