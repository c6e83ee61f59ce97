"""Pages of every block with hostile, long, foreign and missing content."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import numpy as np

from emofuse.common.charts.bars import histogram, stacked_bars
from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.charts.lines import Line, lines
from emofuse.common.charts.matrix import matrix
from emofuse.common.charts.palette import class_colours, group_colours
from emofuse.common.charts.scatter import scatter
from emofuse.common.page.blocks import (
    Chart,
    Choice,
    ClassName,
    Column,
    Commands,
    Details,
    Example,
    Examples,
    Facts,
    Headline,
    Link,
    Marks,
    Page,
    PagedTable,
    Section,
    Sound,
    Spark,
    Table,
    Text,
    Warnings,
)

ATTACK = "<img src=x onerror=alert(1)>"
LONG = "Ses01F_impro01_" + "x" * 120
ARABIC, CHINESE = "أنا غاضب جدا اليوم", "我今天非常高兴，因为天气很好。"
EMOTIONS = ("ang", "hap", "neu", "sad")
FORTY = (*(f"class-{i:02d}" for i in range(38)), ATTACK, "a class with a very long name indeed")
TEXTS = ("I am fine.", ARABIC, CHINESE, ATTACK, None, "a long sentence " * 30, "")


def _silence() -> str:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


SILENCE = Sound(href=_silence())


def rows(count: int, classes: tuple[str, ...] = EMOTIONS) -> list[list[Any]]:
    """Utterances: id, text, label, prediction, probability, speaker, marks, sparkline, link, sound."""
    ids = (ATTACK, LONG)
    return [
        [
            ids[i] if i < len(ids) else f"utterance-{i}",
            TEXTS[i % len(TEXTS)],
            ClassName(name=classes[i % len(classes)]),
            ClassName(name=classes[i * 7 % len(classes)]),
            None if i % 11 == 3 else float("nan") if i % 11 == 4 else (i * 37 % 1000) / 1000,
            ATTACK if i % 50 == 1 else f"speaker {i % 50}",
            Marks(names=("short run", ATTACK)) if i % 9 == 2 else None,
            Spark(key="one", alt="0.1, 0.5, 0.3"),
            Link(text="run", href="runs/a%20b/report.html"),
            SILENCE if i < 3 else None,
        ]
        for i in range(count)
    ]


COLUMNS = (
    Column(name="id", filter=True),
    Column(name="text", help="what was said"),
    Column(name="label", filter=True),
    Column(name="prediction", filter=True),
    Column(name="probability", decimals=3, filter=True),
    Column(name="speaker", filter=True),
    Column(name="marks"),
    Column(name="folds"),
    Column(name="page"),
    Column(name="sound"),
)
SPARK = '<polyline fill="none" stroke="currentColor" points="0,18 48,2 96,10"/>'


def charts(classes: tuple[str, ...] = EMOTIONS, points: int = 500) -> list[Chart]:
    """One chart of each kind."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 60, (len(classes), len(classes)))
    speakers = [f"speaker {i}" for i in range(9)] + [ATTACK]
    kinds = {
        "confusion": matrix(counts / counts.sum(1, keepdims=True), classes, classes, texts=counts.astype(str)),
        "groups": intervals(
            [
                Bar(name=s, value=0.5 + i / 40, low=0.4, high=0.8, marked=i == 3, note="n 12")
                for i, s in enumerate(speakers)
            ],
            "UA",
            reference=1 / len(classes),
        ),
        "curves": lines(
            [Line(name=f"fold {k}", x=range(11), y=rng.random(11), chosen=[4]) for k in range(3)], "step", "loss"
        ),
        "durations": histogram(rng.gamma(2, 2, 300), "seconds"),
        "shares": stacked_bars(speakers, {c: rng.random(10) for c in classes}, class_colours(classes), "utterances"),
        "map": scatter(
            rng.standard_normal((points, 2)), [speakers[i % 10] for i in range(points)], group_colours(speakers)
        ),
    }
    return [
        Chart(
            name=f"{name}-{len(classes)}",
            title=f"{name} {ATTACK}",
            alt=f"{name} of {ATTACK}",
            drawing=drawing,
            width="full" if len(classes) > 10 else "narrow",
        )
        for name, drawing in kinds.items()
    ]


def examples() -> Examples:
    """Two utterances with a heat line and a sound."""
    words = [
        (word + " ", weight)
        for word, weight in zip(("I", ATTACK, "am", CHINESE, ARABIC), np.linspace(0, 1, 5), strict=True)
    ]
    made = [
        Example(
            id=name,
            facts=[("label", ClassName(name="ang")), ("prediction", ClassName(name=ATTACK)), ("probability", 0.93)],
            text=[(word, float(weight)) for word, weight in words],
            charts=[
                Chart(
                    name=f"energy-{i}",
                    title="Energy",
                    alt="rises",
                    drawing=lines([Line(x=[0, 1], y=[0, 1])], "s", "dB"),
                )
            ],
            sound=SILENCE if i else None,
        )
        for i, name in enumerate((ATTACK, LONG))
    ]
    return Examples(title="The most confident mistakes", caption=ATTACK, examples=made)


def everything(count: int = 60) -> Page:
    """A page of every block."""
    confusion, *others = charts()
    wide = [Column(name=f"metric {i}", decimals=3) for i in range(14)]
    tables = [
        Table(
            name="folds", title=f"Folds {ATTACK}", caption=ATTACK,
            columns=[Column(name="fold", help="number"), *wide],
            rows=[[f"fold {k} {ATTACK}", *np.linspace(0, 1, 14).tolist()] for k in range(5)],
            totals=[["mean ± std", *["0.512 ± 0.034"] * 14]],
        ),
        Table(name="empty", title="An empty table", columns=COLUMNS, rows=[]),
        Table(name="some", title="Cells of every kind", columns=COLUMNS, rows=rows(8)),
    ]  # fmt: skip
    paged = [
        PagedTable(name="utterances", title=f"Utterances {ATTACK}", columns=COLUMNS, rows=rows(count), caption=ATTACK),
        PagedTable(name="none", title="A paged table without rows", columns=COLUMNS, rows=[]),
    ]
    switch = Choice(
        name="switch", title=f"Confusion {ATTACK}", options=[("counts", confusion), (ATTACK, others.pop(0))]
    )
    forty, *more = charts(FORTY)
    blocks = {
        "Start": [
            Headline(
                value="0.612",
                label="UA, pooled over 5 folds",
                interval="0.58 to 0.64",
                meaning=f"Better than chance. {ATTACK}",
            ),
            Warnings(lines=["short run: 20 steps", ATTACK]),
            Facts(title="Facts", facts=[("n", "5531"), (ATTACK, LONG), ("text", ARABIC)]),
            Text(lines=["A paragraph.", ATTACK, CHINESE]),
        ],
        "Charts": [switch, *others],
        "Tables": tables,
        "Utterances": [*paged, examples()],
        "Forty classes": [forty, Details(title=f"More {ATTACK}", blocks=more)],
        "Made by": [
            Commands(name="made", title="Commands", commands=["emofuse fit --store x.h5", f"echo '{ATTACK}' {LONG}"])
        ],
    }
    sections = [
        Section(name=title.lower().replace(" ", "-"), title=title, lead=ATTACK, blocks=content)
        for title, content in blocks.items()
    ]
    return Page(title=f"Everything {ATTACK} {LONG}", subtitle=ATTACK, sections=sections, sparklines={"one": SPARK})


def many_rows(count: int) -> Page:
    """A page with one long table."""
    few = [row[:6] for row in rows(count)]
    table = PagedTable(name="utterances", title="Utterances", columns=COLUMNS[:6], rows=few)
    return Page(title="Many", sections=[Section(name="utterances", title="Utterances", blocks=[table])])
