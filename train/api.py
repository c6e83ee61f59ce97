"""`fit` from Python: one config in, a finished run out. The command `fit` calls it too."""

from __future__ import annotations

from typing import Any, Unpack, overload

from emofuse.common.cli.command_line import python_call
from emofuse.common.option_values import checked_config
from emofuse.common.output.console import Say, say
from emofuse.train.resolve.config import FitConfig, FitOptions
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.training.fit import fit_model
from emofuse.train.tracking.track import check_trackers, track


@overload
def fit(config: FitConfig, /, *, say: Say = say) -> Run: ...
@overload
def fit(*, say: Say = say, **options: Unpack[FitOptions]) -> Run: ...
def fit(config: FitConfig | None = None, /, *, say: Say = say, **options: Any) -> Run:
    """Fit a fusion model from feature stores and cross-validate it; leaves a run folder.

    A run that is finished already is not repeated, and one that was interrupted resumes.

    Args:
        config: All options in one record.
        say: Prints a line of the report; `lambda line: None` prints nothing.
        **options: Or the same options by name, as `FitConfig` documents them.

    Returns:
        The finished run.

    Raises:
        UsageError: Wrong options, or stores that do not have what the fit needs; all problems are named.
        DivergedError: A training loss became NaN or infinite.
        DataError: A store is damaged.

    Example:
        >>> from pathlib import Path
        >>> from emofuse.datasets.synthetic import write_synthetic
        >>> from emofuse.extract import extract
        >>> from emofuse.train import fit
        >>> write_synthetic(Path("corpus"), utterances=80)
        >>> with extract(dataset="synthetic", root="corpus", encoders=["hashed"], say=lambda line: None) as store:
        ...     run = fit(store=store, model="text", steps=4, settings={"lr": 1e-3}, folds=[1, 2],
        ...               allow_missing=1840, say=lambda line: None)
        >>> len(run.predictions), 0 <= run.metrics["mean"]["ua"] <= 1
        (40, True)
    """
    config = checked_config(FitConfig, config, options, say)
    check_trackers(config.track)
    with python_call("fit", config):
        run = fit_model(config, say)
    track(run, config.track, say)
    return run
