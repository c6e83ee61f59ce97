"""Runs on different subsets, compared over all: what a run could not test for lack of a feature counts as wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import NO_PREDICTION
from emofuse.train.comparison.inputs.run_predictions import RunPredictions

Task = tuple[int, int]
"""The label and the fold of an utterance."""


def with_missing_as_wrong(runs: Sequence[RunPredictions]) -> list[RunPredictions]:
    """The runs over all utterances that one of them tests and the others excluded, as those lack their feature.

    What a run does not test for another reason (a selection of folds) stays missing, and the runs are then refused.
    """
    if any(run.found for run in runs):
        raise UsageError("--missing-as-wrong counts predicted classes, and these runs predict more than one class")
    tested: dict[str, Task] = {}
    for run in runs:
        for id, label, fold in zip(run.ids, run.labels.tolist(), run.folds.tolist(), strict=True):
            tested.setdefault(id, (label, fold))
    return [_extended(run, _missing_of(run, tested)) for run in runs]


def _missing_of(run: RunPredictions, tested: Mapping[str, Task]) -> dict[str, Task]:
    excluded = set(run.run.excluded) - set(run.ids)
    return {id: task for id, task in tested.items() if id in excluded}


def _extended(run: RunPredictions, missing: dict[str, Task]) -> RunPredictions:
    if not missing:
        return run
    labels, folds = (np.array(values, np.int64) for values in zip(*missing.values(), strict=True))
    none = np.full((len(run.seeds), len(missing)), NO_PREDICTION, np.int64)
    ids = (*run.ids, *missing)
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__))
    return replace(
        run,
        ids=tuple(ids[i] for i in order),
        labels=np.concatenate([run.labels, labels])[order],
        folds=np.concatenate([run.folds, folds])[order],
        predictions=np.concatenate([run.predictions, none], axis=1)[:, order],
        missing=len(missing),
    )
