"""The rows of predictions.csv by utterance: what the seeds of a run predict together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emofuse.train.fitting.scoring.prediction_table import PROBABILITY, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What was predicted for one utterance, over all seeds."""

    id: str
    fold: str
    label: str
    prediction: str
    """With several seeds, the class with the highest mean probability, or else the most frequent one."""
    probabilities: Mapping[str, float]
    """Class -> its probability, mean over seeds; empty where they are not recorded."""
    right: int
    """How many seeds predict the label."""
    about: Row
    """Its row of utterances.csv."""

    @property
    def of_prediction(self) -> float | None:
        """The probability of the prediction; None where it is not recorded."""
        return self.probabilities.get(self.prediction)

    @property
    def of_label(self) -> float | None:
        """The probability of the label; None where it is not recorded."""
        return self.probabilities.get(self.label)


def tested_utterances(predictions: Sequence[Row], classes: Sequence[str], utterances: Sequence[Row]) -> list[Tested]:
    """The test utterances in the order of predictions.csv.

    Args:
        predictions: The rows of predictions.csv, of all seeds.
        classes: The classes of the run.
        utterances: The rows of utterances.csv.
    """
    by_id: dict[str, list[Row]] = {}
    for row in predictions:
        by_id.setdefault(row["id"], []).append(row)
    about = {row["id"]: row for row in utterances}
    return [_tested(rows, classes, about.get(id, {})) for id, rows in by_id.items()]


def _tested(rows: Sequence[Row], classes: Sequence[str], about: Row) -> Tested:
    known = all(rows[0].get(f"{PROBABILITY}{c}") for c in classes)
    means = {c: sum(float(row[f"{PROBABILITY}{c}"]) for row in rows) / len(rows) for c in classes} if known else {}
    votes, label = Counter(row["prediction"] for row in rows), rows[0]["label"]
    several = len(rows) > 1
    return Tested(
        id=rows[0]["id"],
        fold=rows[0]["fold"],
        label=label,
        prediction=max(means, key=lambda c: means[c]) if several and means else votes.most_common(1)[0][0],
        probabilities=means,
        right=votes[label],
        about=about,
    )
