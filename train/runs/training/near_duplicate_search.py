"""The search for nearly the same audio on two sides of a fold, once per run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from emofuse.common.disk import run_folder
from emofuse.common.errors import DataError
from emofuse.common.output.verbosity import stage
from emofuse.common.shapes import misfits
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.leaks.near_duplicates import NearDuplicate, find_near_duplicates

RESULT = ".near_duplicates.json"
"""The result, in the `.part` folder: a run that resumes does not search again."""
_PAIR = {"fold": int, "test": str, "other": str, "correlation": float}


def with_near_duplicates(plan: FitPlan, folder: Path) -> FitPlan:
    """The plan with the near-duplicates of its audio feature, or why they were not looked for; unchanged without audio.

    Args:
        plan: Of the run.
        folder: The run's `.part` folder, which keeps the result until `forget_near_duplicates`.
    """
    if "audio" not in plan.features:
        return plan
    pairs, unsearched = _earlier(folder) or _search(plan, folder)
    return replace(plan, shared=replace(plan.shared, near_duplicates=tuple(pairs), unsearched=unsearched))


def forget_near_duplicates(folder: Path) -> None:
    """Remove the kept result; metrics.json has it now."""
    (folder / RESULT).unlink(missing_ok=True)


def _search(plan: FitPlan, folder: Path) -> tuple[Sequence[NearDuplicate], str]:
    """The pairs, or why they were not looked for; kept in the folder."""
    known = {frozenset((clip.test, clip.other)) for clip in plan.shared.clips}
    with stage("searching for nearly the same audio on two sides"):
        pairs, unsearched = find_near_duplicates(plan.features["audio"], plan.folds, known)
    run_folder.write_json(folder / RESULT, {"pairs": [asdict(p) for p in pairs], "unsearched": unsearched})
    return pairs, unsearched


def _earlier(folder: Path) -> tuple[Sequence[NearDuplicate], str] | None:
    """What an earlier call found; None if there was none, or the file is damaged."""
    try:
        content = run_folder.read_json(folder / RESULT) if (folder / RESULT).exists() else {}
    except DataError:
        return None
    if misfits(content, {"pairs": [_PAIR], "unsearched": str}, RESULT):
        return None
    return [NearDuplicate(**{key: pair[key] for key in _PAIR}) for pair in content["pairs"]], content["unsearched"]
