"""What the features carry: the answer first, then probes and maps of each feature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.charts.palette import class_colours, group_colours
from emofuse.common.charts.scatter import scatter
from emofuse.common.output.console import plural
from emofuse.common.page.blocks import Cell, Chart, Choice, Column, Headline, Section, Table, Text
from emofuse.report.exploration.measure.collection import Entry, sample
from emofuse.report.exploration.measure.probes import LinearProbe, answer, prompted
from emofuse.report.exploration.sections.contents import GROUPINGS
from emofuse.report.exploration.sections.material import Material, ProbedFeature, slug
from emofuse.train.inspection.projection import MOST_POINTS, TITLES, Method, project

DRAWN_POINTS = 10_000
"""Points of all maps of a page together: each takes about 100 bytes."""
METHOD = (
    "Each utterance is one vector: the mean of its frames over time. A linear probe is a logistic regression (L2, "
    "C = 1, not tuned) on these vectors, standardised on the training side, with equal weight for each class. UA is "
    "the mean of the recalls of the classes."
)
FOLDS = (
    "Tested on new speakers: whole speakers are held out. A speaker can only be recognised by a probe that was trained "
    "on it, so that probe's folds are stratified: whatever a speaker's recordings share, such as the room, counts as "
    "the speaker, and its score is an upper bound."
)
UNLABELLED = "(no label)"


def answer_section(material: Material) -> Section:
    """Whether the features carry speakers rather than emotion, in words and numbers."""
    features = material.features
    blocks: list[Any] = []
    if len(features) == 1:
        blocks.append(_headline(features[0]))
    elif features:
        blocks.append(Text(lines=[answer(f.pooled.name, f.probes) for f in features]))
    else:
        blocks.append(Text(lines=["No feature was pooled: the store has none."]))
    if features:
        blocks += [_probe_table(features), *(_probe_chart(f, number) for number, f in enumerate(features, 1))]
    return Section(name="answer", title="Emotions or speakers?", lead=METHOD if features else "", blocks=blocks)


def _headline(feature: ProbedFeature) -> Headline:
    scores = {p.target: p.score for p in feature.probes if p.score is not None}
    value = " · ".join(f"{target} {scores[target]:.3f}" for target in ("emotion", "speaker") if target in scores)
    return Headline(
        value=value or "no score",
        label=f"UA of linear probes on {feature.pooled.name}",
        meaning=answer(feature.pooled.name, feature.probes),
    )


def _probe_table(features: Sequence[ProbedFeature]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for feature in features:
        for probe in feature.probes:
            known = probe.score is not None
            rows.append(
                (
                    feature.pooled.name, probe.target,
                    f"{probe.score:.3f} ± {probe.deviation:.3f}" if known else "-",
                    f"{probe.chance:.3f}" if known else "-",
                    f"{100 * probe.skill:.0f} %" if known else "-",
                    probe.classes or None, probe.utterances or None, probe.method or f"not measured: {probe.reason}",
                )
            )  # fmt: skip
    columns = [
        Column(name="feature"),
        Column(name="probe"),
        Column(name="UA", help="Over the test sides of all folds, ± the standard deviation over folds"),
        Column(name="chance", help="1 / number of classes"),
        Column(name="chance to perfect", help="How far the UA is on the way from chance, 0 %, to perfect, 100 %"),
        Column(name="classes"),
        Column(name="utterances"),
        Column(name="folds"),
    ]
    title = "Linear probes"
    if len(features) == 1:
        columns, rows, title = columns[1:], [row[1:] for row in rows], f"Linear probes on {features[0].pooled.name}"
    return Table(name="probes", title=title, columns=columns, rows=rows, caption=FOLDS)


def _probe_chart(feature: ProbedFeature, number: int) -> Chart:
    measured = [p for p in feature.probes if p.score is not None]
    bars = [
        Bar(name=p.target, value=p.skill, low=p.skill - p.skill_deviation, high=p.skill + p.skill_deviation,
            note=f"UA {p.score:.2f}")
        for p in measured
    ] or [Bar(name="none", value=0.0)]  # fmt: skip
    name = feature.pooled.name
    return Chart(
        name=f"probes-{number}-{slug(name)}",
        title=f"From chance to perfect: {name}",
        alt="; ".join(f"{p.target} {100 * p.skill:.0f} % of the way from chance to perfect" for p in measured)
        or "Nothing was measured.",
        caption="Points are scores; lines: ± one standard deviation over folds. The dashed line is chance.",
        drawing=intervals(bars, "0: chance, 1: perfect", reference=0.0, limits=(_lowest(bars), 1.05)),
    )


def _lowest(bars: Sequence[Bar]) -> float:
    return min(-0.05, *(bar.value if bar.low is None else bar.low for bar in bars)) if len(bars) else -0.05


def map_section(material: Material) -> Section | None:
    """Maps of the pooled features, coloured by what is known of the utterances."""
    entries = material.collection.entries
    colourings = [by for by, key in _keys().items() if len({key(e) for e in entries}) > 1] or ["class"]
    if not prompted(entries):
        colourings = [by for by in colourings if by != "sentence"]
    numbers = {key: f"sentence {n}" for n, key in enumerate(sorted({e.sentence for e in entries if e.sentence}), 1)}
    pictures = max(1, len(material.features) * len(colourings) * len(material.maps))
    most = min(MOST_POINTS, DRAWN_POINTS // pictures)
    blocks = [
        block for number, f in enumerate(material.features, 1) if len(f.pooled.entries) > 1
        for block in _maps(f, number, material.maps, colourings, most, numbers, material.collection.classes)
    ]  # fmt: skip
    if not blocks:
        return None
    lead = (
        "Each point is one utterance, and near points have similar features. The axes and the distances between far "
        "groups mean nothing."
    )
    return Section(name="maps", title="Maps of the features", lead=lead, blocks=blocks)


def _keys() -> dict[str, Callable[[Entry], str | None]]:
    return {"class": lambda e: e.label, **GROUPINGS, "sentence": lambda e: e.sentence}


def _maps(
    feature: ProbedFeature,
    number: int,
    methods: Sequence[Method],
    colourings: Sequence[str],
    most: int,
    sentences: Mapping[str, str],
    classes: Sequence[str],
) -> Iterator[Choice]:
    pooled = feature.pooled
    place = {e.id: i for i, e in enumerate(pooled.entries)}
    drawn = sample(pooled.entries, most)
    values = pooled.values[[place[e.id] for e in drawn]].astype(float)
    values = (values - values.mean(0)) / (values.std(0) + 1e-9)
    shown = ""
    if len(drawn) < len(pooled.entries):
        shown = f"{len(drawn)} of {plural(len(pooled.entries), 'utterance')}, a stratified sample. "
    for method in methods:
        points = project(values, method)
        charts = []
        for by in colourings:
            groups = [_keys()[by](e) or UNLABELLED for e in drawn]
            groups = [sentences[g] if by == "sentence" and g in sentences else g for g in groups]
            names = sorted(set(groups))
            colours = class_colours([*classes, UNLABELLED]) if by == "class" else group_colours(names)
            charts.append(
                (
                    by,
                    Chart(
                        name=f"map-{number}-{slug(pooled.name)}-{method}-{by}",
                        title=f"{TITLES[method]} of {pooled.name}, coloured by {by}",
                        alt=f"{TITLES[method]} map of {len(drawn)} utterances in {len(names)} groups by {by}. "
                        + _probe_sentence(feature.probes, by),
                        caption=shown + _probe_sentence(feature.probes, by),
                        grows=True,
                        drawing=scatter(points, groups, colours, titles_of_points=[e.id for e in drawn]),
                    ),
                )
            )
        name, title = f"map-{number}-{slug(pooled.name)}-{method}", f"{pooled.name}, {TITLES[method]}"
        yield Choice(name=name, title=title, options=charts, width="wide")


def _probe_sentence(probes: Sequence[LinearProbe], by: str) -> str:
    """The number that belongs to a map."""
    target = "emotion" if by == "class" else by
    found = [p for p in probes if p.target == target]
    if not found or found[0].score is None:
        return ""
    return f"A linear probe predicts the {target} with UA {found[0].score:.3f} (chance {found[0].chance:.3f})."
