"""The errors of a run on the explored utterances: what they correlate with, and each speaker's scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import scores
from emofuse.report.exploration.measure.collection import Collection, Entry
from emofuse.report.exploration.measure.waveforms import ClipMeasures
from emofuse.train.comparison.inputs.run_predictions import RunPredictions, read_predictions
from emofuse.train.comparison.statistics.paired_tests import holm

FEWEST = 20
"""Utterances that a correlation needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunErrors:
    """The predictions of a run for m of the explored utterances."""

    predicted: RunPredictions
    entries: tuple[Entry, ...]
    """[m]"""
    columns: NDArray[np.int64]
    """[m], the place of each entry in `predicted.ids`."""
    probabilities: NDArray[np.float64] | None
    """[m, C], mean over seeds; None if the run wrote none."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """[m], class numbers."""
        return self.predicted.labels[self.columns]

    @property
    def predictions(self) -> NDArray[np.int64]:
        """[S, m], class numbers."""
        return self.predicted.predictions[:, self.columns]

    @property
    def errors(self) -> NDArray[np.float64]:
        """[m], the share of seeds that are wrong."""
        wrong: NDArray[np.float64] = (self.predictions != self.labels).mean(0)
        return wrong

    @property
    def by_id(self) -> dict[str, float]:
        """Id of an entry -> its error."""
        return dict(zip((e.id for e in self.entries), self.errors.tolist(), strict=True))


def read_run(collection: Collection, folder: Path) -> RunErrors:
    """The predictions of a run for the explored utterances.

    Raises:
        UsageError: The folder is not a finished run, the run has tested none of the utterances, or predicts no class.
        DataError: The run is damaged.
    """
    predicted = read_predictions(folder)
    if not predicted.target.has_class:
        raise UsageError(
            f"run {folder} predicts {predicted.target.kind}, and errors are counted of one class an utterance: leave "
            "--run out, or pass a run that predicts a class"
        )
    place = {id: i for i, id in enumerate(predicted.ids)}
    corpora = {part for part in str(predicted.protocol.get("corpus", "")).split("+") if part}
    other = corpora and not corpora & {store.corpus for store in collection.stores}
    found = [] if other else [(e, at) for e in collection.entries if (at := _place(place, e)) is not None]
    if not found:
        stores = ", ".join(store.corpus for store in collection.stores)
        raise UsageError(
            f"run {folder} tested {len(place)} utterances of {', '.join(sorted(corpora)) or 'an unknown corpus'}, none "
            f"of them in this store of {stores}: pass a run on this corpus"
        )
    columns = np.array([at for _, at in found], np.int64)
    tested = predicted.tested()
    rows = [[*tested[predicted.ids[at]].probabilities.values()] for at in columns]
    return RunErrors(
        predicted=predicted,
        entries=tuple(e for e, _ in found),
        columns=columns,
        probabilities=np.array(rows) if all(rows) else None,
    )


def _place(place: Mapping[str, int], entry: Entry) -> int | None:
    """Runs over several corpora have ids with the corpus, others have not."""
    names = (entry.id, entry.utterance.id, f"{entry.corpus}:{entry.utterance.id}")
    return next((place[name] for name in names if name in place), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """How a measure of the clips correlates with the errors of a run."""

    name: str
    rho: float
    """Spearman's correlation; with one seed the errors are 0 or 1."""
    p: float
    """Two-sided, adjusted by Holm for all measures of the table."""
    within: float | None
    """The same among utterances of one class: ranks minus the mean of their class."""
    n: int


MEASURES = {
    "seconds": "seconds",
    "snr": "SNR",
    "clipped": "clipped share",
    "peak": "peak",
    "level": "level",
    "silence": "silence",
}
"""Attribute -> its name."""


def correlations(run: RunErrors, sounds: Mapping[str, ClipMeasures]) -> list[Correlation]:
    """The correlation of each measure with the errors; measures that do not vary are left out."""
    from scipy.stats import spearmanr

    raw = []
    for attribute, name in MEASURES.items():
        values = [_measure(e, attribute, sounds) for e in run.entries]
        known = np.array([i for i, v in enumerate(values) if v is not None], np.int64)
        if len(known) < FEWEST:
            continue
        measured, errors = np.array([values[i] for i in known], np.float64), run.errors[known]
        if np.ptp(measured) == 0 or np.ptp(errors) == 0:
            continue
        found = spearmanr(measured, errors)
        within = _within(measured, errors, run.labels[known])
        raw.append((name, float(found.statistic), float(found.pvalue), within, len(known)))
    adjusted = holm([p for _, _, p, _, _ in raw])
    return [
        Correlation(name=name, rho=rho, p=p, within=within, n=n)
        for (name, rho, _, within, n), p in zip(raw, adjusted, strict=True)
    ]


def _measure(entry: Entry, attribute: str, sounds: Mapping[str, ClipMeasures]) -> float | None:
    if attribute == "seconds":
        return entry.utterance.seconds
    sound = sounds.get(entry.id)
    return None if sound is None else getattr(sound, attribute)


def _within(measured: NDArray[np.float64], errors: NDArray[np.float64], labels: NDArray[np.int64]) -> float | None:
    from scipy.stats import rankdata

    ranks = [rankdata(values).astype(np.float64) for values in (measured, errors)]
    for label in np.unique(labels):
        for column in ranks:
            column[labels == label] -= column[labels == label].mean()
    if any(np.ptp(column) == 0 for column in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def speaker_rows(run: RunErrors) -> list[dict[str, Any]]:
    """Each speaker's UA, and what the mean probabilities over all utterances of a speaker and class say.

    Returns:
        For each known speaker `speaker`, `n`, `ua` (mean over seeds), and where there are probabilities `combined`:
        class -> the class with the highest mean probability over the speaker's utterances of that class.
    """
    speakers = np.array([e.speaker or "" for e in run.entries])
    found = []
    for name in sorted(set(speakers.tolist()) - {""}):
        of = np.flatnonzero(speakers == name)
        labels = run.labels[of]
        row: dict[str, Any] = {"speaker": name, "n": len(of)}
        row["ua"] = float(np.mean([scores(labels, predicted[of])["ua"] for predicted in run.predictions]))
        if run.probabilities is not None:
            classes = run.predicted.classes
            row["combined"] = {
                classes[c]: classes[int(run.probabilities[of[labels == c]].mean(0).argmax())] for c in np.unique(labels)
            }
        found.append(row)
    return found
