"""How many utterances of a card have each label, in each session, and how long they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.charts.bars import histogram, stacked_bars
from emofuse.common.charts.palette import class_colours
from emofuse.common.output.console import plural, printable
from emofuse.common.page.blocks import Chart, Column, Table
from emofuse.manifests.protocol_files import class_names

MOST_BARS = 40
"""Sessions of the chart."""


def count_blocks(card: Mapping[str, Any]) -> list[Any]:
    """How many utterances have each label, in each session, and how long they are."""
    names = _label_names(card)
    blocks: list[Any] = [_labels_table(card, names), *_sessions_chart(card, names)]
    seconds = [u["seconds"] for u in card["utterances"] if u["seconds"] is not None]
    if seconds:
        alt = f"{plural(len(seconds), 'utterance')} of {min(seconds):.2f} to {max(seconds):.2f} seconds."
        blocks.append(Chart(name="durations", title="Durations", alt=alt, drawing=histogram(seconds, "seconds")))
    return blocks


def _label_names(card: Mapping[str, Any]) -> list[str]:
    """The labels, in the card's order, with the names of the classes where the corpus's default protocol has them."""
    classes = class_names(card["corpus"])
    shown = {label: _name(label, "no label") for label in card["labels"]}
    return [
        f"{name} ({found})" if (found := classes.get(label, "")).casefold() not in ("", name.casefold()) else name
        for label, name in shown.items()
    ]


def _name(label: str, empty: str) -> str:
    return printable(label, 60) or empty


def _labels_table(card: Mapping[str, Any], names: Sequence[str]) -> Table:
    """How many utterances have each label: in each session, or, where no session is known, one label in a row."""
    labels: Mapping[str, int] = card["labels"]
    whole = sum(labels.values())
    if not any(card["sessions"]):
        return Table(
            name="labels",
            width="narrow",
            title="Utterances of each label",
            columns=[Column(name="label"), Column(name="utterances")],
            rows=list(zip(names, labels.values(), strict=True)),
            totals=[["all", whole]],
        )
    return Table(
        name="labels",
        title="Utterances by session and label",
        columns=[Column(name="session"), *(Column(name=name) for name in names), Column(name="all")],
        rows=[
            [_name(session, "no session"), *(n.get(label, 0) for label in labels), sum(n.values())]
            for session, n in card["sessions"].items()
        ],
        totals=[["all", *labels.values(), whole]],
    )


def _sessions_chart(card: Mapping[str, Any], names: Sequence[str]) -> list[Chart]:
    """The labels of each session as bars; none where there is one session, too many, or names that look alike."""
    sessions = card["sessions"]
    if not 1 < len(sessions) <= MOST_BARS or len(set(names)) < len(names):
        return []
    parts = {
        name: [n.get(label, 0) for n in sessions.values()] for name, label in zip(names, card["labels"], strict=True)
    }
    classes = class_names(card["corpus"])
    colours = class_colours(classes.get(label, label) for label in card["labels"])
    drawing = stacked_bars(
        [_name(session, "no session") for session in sessions],
        parts,
        {name: colours[classes.get(label, label)] for name, label in zip(names, card["labels"], strict=True)},
        "utterances",
    )
    seen = ", ".join(f"{name} {sum(sizes)}" for name, sizes in parts.items())
    return [Chart(name="sessions-chart", title="Labels in each session", alt=f"{seen}.", drawing=drawing)]
