"""Run folders of `finetune` as `extract --weights` takes them: one checkpoint for each fold of a corpus."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofuse.common.disk import run_folder
from emofuse.common.errors import DataError, UsageError

FORMAT = "emofuse-finetune-1"
RESULT = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldWeights:
    """The weights of one fold."""

    folder: Path
    default_suffix: str
    """What is appended to the encoder's name, if the user gives no name."""
    fold_suffix: str
    """What is appended to either name."""

    def feature(self, default: str, name: str | None) -> str:
        """The name of its feature: the user's `name`, or the encoder's `default` one with a suffix."""
        return (name or default + self.default_suffix) + self.fold_suffix


def checkpoints(weights: str | None, encoder: str, corpus: str) -> list[FoldWeights]:
    """The checkpoints of a `finetune` run; empty if `weights` is anything else.

    The run's own corpus gets one feature per fold, `NAME-finetuned@FOLD`. Another corpus is in none of the folds: it
    gets one feature, `NAME-CORPUS`, from a run with a single fold. The folder of one fold counts as a run of that fold.

    Raises:
        UsageError: The run is unfinished, is of another encoder, or has several folds for another corpus.
        DataError: Its config.json is damaged.
    """
    path, run = _find_run(weights)
    if path is None or run is None:
        return []
    folds = run["folds"]
    _require_usable(path, run, encoder)
    if run["corpus"] == corpus:
        return [FoldWeights(folder=path / f"fold_{n}", default_suffix="-finetuned", fold_suffix=f"@{n}") for n in folds]
    if len(folds) > 1:
        raise UsageError(
            f"{path} has weights for folds {', '.join(map(str, folds))} of {run['corpus']}, and {corpus} is in none of "
            f"them: pass one fold's, such as --weights {path / f'fold_{folds[0]}'}"
        )
    return [FoldWeights(folder=path / f"fold_{folds[0]}", default_suffix=f"-{run['corpus']}", fold_suffix="")]


def _find_run(weights: str | None) -> tuple[Path | None, dict[str, Any] | None]:
    """The run folder named by `weights`, directly or through one of its folds, and `run` of its config.json."""
    if not weights:
        return None, None
    path = Path(weights)
    if run := _run_record(path):
        return path, run
    fold = re.fullmatch(r"fold_(\d+)", path.name)
    if fold and (run := _run_record(path.parent)):
        return path.parent, {**run, "folds": [int(fold[1])]}
    return None, None


def _require_usable(path: Path, run: dict[str, Any], encoder: str) -> None:
    if not (path / "metrics.json").is_file():
        raise UsageError(f"{path} is unfinished; the same `emofuse finetune` command resumes it")
    if run["encoder"] != encoder:
        raise UsageError(f"{path} holds fine-tuned weights of encoder {run['encoder']}, not of {encoder}")
    missing = [f"fold_{n}" for n in run["folds"] if not (path / f"fold_{n}").is_dir()]
    if missing:
        raise UsageError(
            f"{path} has no {', '.join(missing)}: pass a fold that exists, or fine-tune again into another --out"
        )


def _run_record(path: Path) -> dict[str, Any] | None:
    config = path / "config.json"
    if not config.is_file():
        return None
    record = run_folder.read_json(config)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        return None
    run = record.get("run")
    if (
        not isinstance(run, dict)
        or not all(isinstance(run.get(key), str) for key in ("encoder", "corpus"))
        or not all(type(n) is int for n in run.get("folds") or [None])
    ):
        raise DataError(f"{config} is damaged: encoder, corpus or folds of the run are missing")
    return run


def refuse_run(weights: str | None) -> None:
    """Refuse a whole run where one checkpoint is expected.

    Raises:
        UsageError: `weights` is a `finetune` run; names the folder of its first fold.
    """
    run = _run_record(Path(weights)) if weights else None
    if run:
        raise UsageError(
            f"--weights {weights} is a run of several checkpoints: pass one, {weights}/fold_{run['folds'][0]}"
        )
