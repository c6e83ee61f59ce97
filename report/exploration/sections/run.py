"""The errors of a run on this store: what they correlate with, and each speaker's predictions combined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.output.console import as_sentence, plural
from emofuse.common.page.blocks import Chart, Column, Section, Table, Text, Warnings
from emofuse.report.exploration.measure.run_errors import RunErrors, correlations, speaker_rows
from emofuse.report.exploration.sections.material import MOST_GROUPS, Material
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.reporting.score_text import p_text, small_p

LEVEL = 0.05


def run_section(material: Material) -> Section | None:
    """The section of a run; None without one."""
    run = material.run
    if run is None:
        return None
    metrics = run.predicted.run.metrics
    seeds = plural(len(run.predicted.seeds), "seed")
    lead = (
        f"{run.predicted.run.folder.name} tested {len(run.entries)} of "
        f"{plural(len(material.collection.entries), 'utterance')}, {seeds}; {100 * run.errors.mean():.1f} % were wrong."
    )
    found = caveats(metrics)
    blocks: list[Any] = [Warnings(lines=[*map(as_sentence, found)])] if found else []
    blocks += [*_correlations(material, run), *_speakers(run)]
    return Section(name="run", title="Errors of the run", lead=lead, blocks=blocks)


def _correlations(material: Material, run: RunErrors) -> Iterator[Any]:
    rows = correlations(run, material.audio.by_id if material.audio else {})
    if not rows:
        yield Text(lines=["There are too few utterances or no errors, so nothing can be correlated with them."])
        return
    strongest = max(rows, key=lambda row: abs(row.rho))
    significant = strongest.p < LEVEL
    yield Text(
        lines=[
            f"Errors correlate most with {strongest.name}: Spearman's ρ {strongest.rho:+.2f}, {p_text(strongest.p)}."
            if significant
            else "No measure of the clips correlates with the errors beyond chance."
        ]
    )
    yield Table(
        name="error-correlations",
        title="Correlation of errors with the audio",
        columns=[
            Column(name="measure"),
            Column(name="ρ", decimals=3, help="Spearman's correlation with the share of seeds that were wrong"),
            Column(name="p", help="Two-sided, adjusted by Holm for the rows of this table"),
            Column(name="within classes", decimals=3, help="Ranks minus the mean of their class"),
            Column(name="n"),
        ],
        rows=[(row.name, row.rho, small_p(row.p), row.within, row.n) for row in rows],
        caption="ρ > 0: more errors at larger values. Measures that do not vary are left out. Utterances of one "
        "speaker are not independent, so these p-values are too small. Classes differ in level and duration, so see "
        "also the correlation within classes."
        + ("" if material.audio else " With --audio-root also SNR, clipping, level and silence."),
    )


def _speakers(run: RunErrors) -> Iterator[Any]:
    rows = speaker_rows(run)
    if not rows:
        yield Text(lines=["No speaker of the tested utterances is known, so nothing is combined by speaker."])
        return
    worst = min(rows, key=lambda row: row["ua"])
    shown = sorted(rows, key=lambda row: -row["n"])[:MOST_GROUPS]
    yield Chart(
        name="ua-by-speaker",
        title="UA of each speaker",
        alt=f"UA from {worst['ua']:.2f} (speaker {worst['speaker']}) to {max(r['ua'] for r in rows):.2f}.",
        caption="The dashed line is chance."
        + (f" The {MOST_GROUPS} speakers with most utterances of {len(rows)}." if len(rows) > len(shown) else ""),
        drawing=intervals(
            [Bar(name=r["speaker"], value=r["ua"], marked=len(shown) > 1 and r is worst, note=f"n {r['n']}")
             for r in sorted(shown, key=lambda row: row["speaker"])],
            "UA", reference=1 / len(run.predicted.classes), limits=(-0.03, 1.03),
        ),
    )  # fmt: skip
    if run.probabilities is None:
        yield Text(lines=["The run wrote no probabilities, so predictions cannot be combined by speaker."])
        return
    right = {r["speaker"]: sum(label == predicted for label, predicted in r["combined"].items()) for r in rows}
    classes = sum(len(r["combined"]) for r in rows)
    yield Table(
        name="combined",
        title="Predictions combined by speaker and class",
        columns=[Column(name="speaker"), Column(name="n"), Column(name="UA", decimals=3),
                 Column(name="UA combined", decimals=3), Column(name="wrong when combined")],
        rows=[
            (r["speaker"], r["n"], r["ua"], right[r["speaker"]] / len(r["combined"]),
             ", ".join(f"{label} as {predicted}" for label, predicted in r["combined"].items() if label != predicted))
            for r in rows[:200]
        ],
        caption=f"The probabilities of all utterances of a speaker and class are averaged; {sum(right.values())} of "
        f"{classes} such means are highest for the right class. It uses the true labels: an upper bound, not a result.",
    )  # fmt: skip
