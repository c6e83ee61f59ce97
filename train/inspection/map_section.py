"""The map: how one model represents its test side, as points in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.palette import OUTCOME_COLOURS, class_colours, group_colours
from emofuse.common.charts.scatter import scatter
from emofuse.common.page.blocks import Chart, Choice, Facts, Section, Text
from emofuse.train.inspection.predicted_fold import Predicted, PredictedFold
from emofuse.train.inspection.projection import TITLES, Method, available_methods, project

NEIGHBOURS = 10
CAN_SHOW = (
    "Each point is one test utterance, and near points have similar vectors. A map can show that a class or a speaker "
    "is kept together, and where the mistakes are. It cannot show how well classes can be told apart: the axes, the "
    "sizes of groups and the distances between far groups mean nothing, and another seed gives another picture. The "
    "shares of neighbours are those of the vectors themselves."
)


def map_section(
    side: PredictedFold,
    tested: Sequence[Predicted],
    vectors: NDArray[Any],
    methods: Sequence[Method] | None,
    *,
    fits: bool = True,
) -> Section:
    """The maps of a fold.

    Args:
        side: The fold.
        tested: n utterances of its test side, all or a sample.
        vectors: What the last classifier reads of each [n, D].
        methods: None means all that are installed.
        fits: Whether the features of as many utterances as a map shows fit into memory.
    """
    groupings = _groupings(side, tested)
    near = {name: same_group_neighbours(vectors, groups) for name, (groups, _) in groupings.items()}
    blocks: list[Any] = [Text(lines=[CAN_SHOW, _which(side, tested, fits=fits)])]
    facts = [
        (f"of the same {name}", f"{share:.0%} (by chance {chance:.0%})")
        for name, (share, chance) in near.items()
        if name in ("class", "speaker")
    ]
    if len(tested) > 2:
        title = f"Of the {min(NEIGHBOURS, len(tested) - 1)} nearest vectors"
        blocks.append(Facts(title=title, facts=facts, width="narrow"))
    for method in available_methods() if methods is None else methods:
        blocks.append(_choice(method, project(vectors, method), tested, groupings, near))
    lead = f"What the last classifier reads, {vectors.shape[1]} numbers per utterance, placed in a plane."
    return Section(name="map", title="Map of the representation", blocks=blocks, lead=lead)


def same_group_neighbours(vectors: NDArray[Any], groups: Sequence[str], count: int = NEIGHBOURS) -> tuple[float, float]:
    """The share of the nearest vectors (Euclidean) that are of the same group, and the share by chance.

    Args:
        vectors: [n, D].
        groups: The group of each [n].
        count: How many neighbours of each; fewer where there are fewer.
    """
    of, n = np.unique(np.array(groups), return_inverse=True)[1], len(groups)
    if n < 2:
        return 0.0, 0.0
    values = np.asarray(vectors, np.float64)
    squares = (values**2).sum(1)
    distances = squares[:, None] + squares[None] - 2 * values @ values.T
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, : min(count, n - 1)]
    sizes = np.bincount(of)
    chance = float((sizes * (sizes - 1)).sum()) / (n * (n - 1))
    return float((of[nearest] == of[:, None]).mean()), chance


def _groupings(side: PredictedFold, tested: Sequence[Predicted]) -> dict[str, tuple[list[str], Mapping[str, str]]]:
    """What points are coloured by: the group of each point, and the colour of each group."""
    classes = class_colours(side.classes)
    found: dict[str, tuple[list[str], Mapping[str, str]]] = {"class": ([t.label for t in tested], classes)}
    speakers = [t.speaker for t in tested]
    if all(speakers) and len(set(speakers)) > 1:
        found["speaker"] = speakers, group_colours(sorted(set(speakers)))
    found["outcome"] = ["right" if t.right else "wrong" for t in tested], OUTCOME_COLOURS
    found["prediction"] = [t.prediction for t in tested], classes
    return found


def _choice(
    method: Method,
    points: NDArray[Any],
    tested: Sequence[Predicted],
    groupings: Mapping[str, tuple[list[str], Mapping[str, str]]],
    near: Mapping[str, tuple[float, float]],
) -> Choice:
    titles = [f"{t.id}: {t.label}, predicted {t.prediction} ({t.confidence:.2f})" for t in tested]
    options = []
    for name, (groups, colours) in groupings.items():
        share, chance = near[name]
        chart = Chart(
            name=f"map-{method}-{name}",
            title=f"{TITLES[method]}, coloured by {name}",
            alt=f"Map of {len(points)} test utterances coloured by {name}, {len(set(groups))} groups: {share:.0%} of "
            f"the nearest vectors are of the same {name}, {chance:.0%} by chance.",
            grows=True,
            drawing=scatter(points, groups, colours, titles_of_points=titles),
        )
        options.append((name, chart))
    return Choice(name=f"map-{method}", title=TITLES[method], options=options, width="wide")


def _which(side: PredictedFold, tested: Sequence[Predicted], *, fits: bool = True) -> str:
    """Which model and which utterances are shown, and why these."""
    folds, seeds = len(side.run.config["run"]["folds"]), len(side.run.metrics.get("seeds", [side.seed]))
    of = " and ".join([*([f"fold {side.fold}"] if folds > 1 else []), f"seed {side.seed}"])
    why = ", as no other fold has more" if folds > 1 and side.is_largest else ""
    lines = [f"Shown are the model of {of} and its {len(side.tested)} test utterances{why}."]
    if len(tested) < len(side.tested):
        memory = "" if fits else "; the features of more do not fit into memory"
        lines.append(f"{len(tested)} of them are drawn, each class with its share{memory}.")
    speakers = {t.speaker for t in tested}
    if len(speakers) == 1 and "" not in speakers:
        lines.append(f"All are of speaker {speakers.pop()}, so there is no colour of speakers.")
    if folds * seeds > 1:
        lines.append(
            f"Each of the {folds * seeds} models of this run has a space of its own, so points of different models "
            "cannot stand in one map."
        )
    return " ".join(lines)
