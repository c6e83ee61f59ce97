"""The test side of one fold of a finished run: what was predicted for each utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emofuse.common.disk import run_folder
from emofuse.common.errors import UnknownNameError
from emofuse.train.runs.finished_run import PREDICTIONS, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """One test utterance as the run recorded it."""

    id: str
    label: str
    prediction: str
    probabilities: tuple[float, ...]
    """Of each class."""
    speaker: str = ""

    @property
    def right(self) -> bool:
        """Whether the prediction is the label."""
        return self.label == self.prediction

    @property
    def confidence(self) -> float:
        """The probability of the predicted class."""
        return max(self.probabilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedFold:
    """One fold under one seed."""

    run: Run
    seed: int
    fold: int
    tested: tuple[Predicted, ...]
    """Its test side."""
    is_largest: bool = False
    """Whether no other fold has more test utterances."""

    @property
    def classes(self) -> list[str]:
        """The classes of the run."""
        return list(self.run.metrics["classes"])


def predicted_fold(run: Run, seed: int | None = None, fold: int | None = None) -> PredictedFold:
    """A fold of a run, by default the first seed's fold with the most test utterances.

    Raises:
        UnknownNameError: The run has no such seed or fold.
    """
    speakers = {row["id"]: row.get("speaker", "") for row in run.utterances}
    rows: dict[tuple[int, int], list[Mapping[str, str]]] = {}
    for row in run_folder.read_csv(run.folder / PREDICTIONS):
        rows.setdefault((int(row.get("seed", run.metrics.get("seed", 0))), int(row["fold"])), []).append(row)
    seeds = sorted({s for s, _ in rows})
    if seed is not None and seed not in seeds:
        raise UnknownNameError("seed", str(seed), map(str, seeds))
    seed = seeds[0] if seed is None else seed
    folds = [f for s, f in rows if s == seed]
    if fold is not None and fold not in folds:
        raise UnknownNameError("fold", str(fold), map(str, folds))
    fold = max(folds, key=lambda f: (len(rows[seed, f]), -f)) if fold is None else fold
    tested = tuple(_tested(row, run.metrics["classes"], speakers) for row in rows[seed, fold])
    is_largest = len(tested) == max(len(rows[seed, other]) for other in folds)
    return PredictedFold(run=run, seed=seed, fold=fold, tested=tested, is_largest=is_largest)


def _tested(row: Mapping[str, str], classes: Sequence[str], speakers: Mapping[str, str]) -> Predicted:
    return Predicted(
        id=row["id"],
        label=row["label"],
        prediction=row["prediction"],
        probabilities=tuple(float(row[f"p_{name}"]) for name in classes),
        speaker=speakers.get(row["id"], ""),
    )
