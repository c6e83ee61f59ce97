"""The test predictions of a run as EmoBox scores them: keys and class numbers of each fold, and the scores.

EmoBox's `EmoEval` (Ma et al., Interspeech 2024) takes two lists, `{"key", "pred"}` and `{"key", "label"}`, in one
order; its leaderboards accept test results by mail. Its scores are WA, UA, micro and macro F1 of each fold, by
scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emofuse.common.disk import run_folder
from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import scores
from emofuse.manifests.names.emobox_keys import emobox_key
from emofuse.train.runs.finished_run import PREDICTIONS, Run

METRICS = ("wa", "ua", "micro_f1", "macro_f1")
"""The metrics of `EmoEval`."""


def write_predictions(run: Run, fold: int | None, folder: Path) -> None:
    """Write predictions.json and labels.json of each fold, label2idx.json and scores.json.

    Args:
        run: A run on one corpus.
        fold: Only this fold; None means all.
        folder: An existing folder.

    Raises:
        UsageError: The run has no such fold, or several corpora.
    """
    corpus = _corpus(run)
    classes = [str(name) for name in run.metrics["classes"]]
    index = {name: number for number, name in enumerate(classes)}
    written: list[dict[str, Any]] = []
    for (seed, number), fold_rows in _by_seed_and_fold(run, fold).items():
        place = folder / seed / f"fold_{number}"
        place.mkdir(parents=True)
        labels = [index[row["label"]] for row in fold_rows]
        predicted = [index[row["prediction"]] for row in fold_rows]
        keys = [emobox_key(corpus, row["id"]) for row in fold_rows]
        run_folder.write_json(place / "predictions.json", _records(keys, "pred", predicted))
        run_folder.write_json(place / "labels.json", _records(keys, "label", labels))
        found = scores(np.array(labels, np.int64), np.array(predicted, np.int64))
        written.append(
            {**({"seed": seed} if seed else {}), "fold": number, "num": len(keys)}
            | {name: found[name] for name in METRICS}
        )
    mean = {name: float(np.mean([entry[name] for entry in written])) for name in METRICS}
    run_folder.write_json(folder / "label2idx.json", index)
    run_folder.write_json(folder / "scores.json", {"folds": written, "mean": mean})


def _corpus(run: Run) -> str:
    if len(run.corpora) > 1:
        raise UsageError(
            f"{run.folder} is a run on {' and '.join(run.corpora)}; EmoBox's predictions are those of one corpus"
        )
    return run.corpora[0]


def _by_seed_and_fold(run: Run, fold: int | None) -> dict[tuple[str, int], list[Mapping[str, str]]]:
    """Seed (`seed_0`; empty where there is one) and fold -> the rows of predictions.csv."""
    found: dict[tuple[str, int], list[Mapping[str, str]]] = {}
    rows: Sequence[Mapping[str, str]] = run_folder.read_csv(run.folder / PREDICTIONS)
    for row in rows:
        seed = f"seed_{row['seed']}" if "seed" in row else ""
        if fold in (None, int(row["fold"])):
            found.setdefault((seed, int(row["fold"])), []).append(row)
    if not found:
        tested = sorted({int(row["fold"]) for row in rows})
        raise UsageError(f"{run.folder} has no fold {fold}; valid: {', '.join(map(str, tested))}")
    return found


def _records(keys: Sequence[str], name: str, values: Sequence[int]) -> list[dict[str, Any]]:
    return [{"key": key, name: value} for key, value in zip(keys, values, strict=True)]
