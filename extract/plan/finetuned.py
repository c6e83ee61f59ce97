"""What `finetune` left, as `extract --weights` takes it: a checkpoint for each fold of its corpus."""

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
class Checkpoint:
    """The weights of one fold."""

    folder: Path
    called: str
    """What its feature's name ends with, where the user gives none."""
    part: str
    """What it ends with in any case."""

    def feature(self, usual: str, name: str | None) -> str:
        """The name of its feature: the user's, or what the encoder's `usual` one becomes."""
        return (name or usual + self.called) + self.part


def checkpoints(weights: str | None, encoder: str, corpus: str) -> list[Checkpoint]:
    """The checkpoints of a run of `finetune`; none where `weights` is something else.

    The run's own corpus gets one feature per fold, `NAME-finetuned@FOLD`. Any other corpus is in no fold: it gets
    one feature, `NAME-CORPUS`, of a run that has one fold alone. The folder of one fold stands for that fold.

    Raises:
        UsageError: The run is unfinished, is of another encoder, or has several folds for another corpus.
        DataError: Its config.json is damaged.
    """
    path = Path(weights) if weights else None
    run = _run_of(path) if path else None
    one = re.fullmatch(r"fold_(\d+)", path.name) if path else None
    if path and run is None and one and (run := _run_of(path.parent)):
        path, run = path.parent, {**run, "folds": [int(one[1])]}
    if path is None or run is None:
        return []
    unfinished = not (path / "metrics.json").is_file()
    if unfinished:
        raise UsageError(f"{path} is unfinished; the same `emofuse finetune` command goes on with it")
    if run["encoder"] != encoder:
        raise UsageError(f"{path} holds fine-tuned weights of encoder {run['encoder']}, not of {encoder}")
    numbers = run["folds"]
    gone = [f"fold_{n}" for n in numbers if not (path / f"fold_{n}").is_dir()]
    if gone:
        raise UsageError(
            f"{path} lacks {', '.join(gone)}: pass a fold that is there, or fine-tune again into another --out"
        )
    if run["corpus"] == corpus:
        return [Checkpoint(folder=path / f"fold_{n}", called="-finetuned", part=f"@{n}") for n in numbers]
    if len(numbers) > 1:
        raise UsageError(
            f"{path} holds weights for folds {', '.join(map(str, numbers))} of {run['corpus']}, and {corpus} is in "
            f"none of them: pass one fold's, such as --weights {path / f'fold_{numbers[0]}'}"
        )
    return [Checkpoint(folder=path / f"fold_{numbers[0]}", called=f"-{run['corpus']}", part="")]


def _run_of(path: Path) -> dict[str, Any] | None:
    config = path / "config.json"
    if not config.is_file():
        return None
    held = run_folder.read_json(config)
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        return None
    run = held.get("run")
    if (
        not isinstance(run, dict)
        or not all(isinstance(run.get(key), str) for key in ("encoder", "corpus"))
        or not all(type(n) is int for n in run.get("folds") or [None])
    ):
        raise DataError(f"{config} is damaged: it does not say which encoder, corpus and folds the run is of")
    return run


def refuse_run(weights: str | None) -> None:
    """Refuse a whole run where one checkpoint is asked for.

    Raises:
        UsageError: `weights` is a run of `finetune`; names the folder of its first fold.
    """
    run = _run_of(Path(weights)) if weights else None
    if run:
        raise UsageError(
            f"--weights {weights} is a run of several checkpoints: pass one, {weights}/fold_{run['folds'][0]}"
        )
