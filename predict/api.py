"""`predict` from Python: a run and recordings in, predictions out. The command `emofuse predict` calls it too."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Unpack, overload

from emofuse.common.errors import DONE, EXCLUDED
from emofuse.common.option_values import checked_config
from emofuse.common.output.console import Say, say
from emofuse.manifests.schema import Excluded
from emofuse.predict.config import PredictConfig, PredictOptions
from emofuse.predict.output import open_output, refuse_existing
from emofuse.predict.prediction import Prediction
from emofuse.predict.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The result of `predict`."""

    rows: tuple[Prediction, ...]
    """One per clip; of a clip that was cut, one per window and their mean."""
    excluded: tuple[Excluded, ...]
    """What could not be predicted, with reasons."""

    @property
    def exit_code(self) -> int:
        """What the command exits with: 0, or 1 if something was excluded."""
        return EXCLUDED if self.excluded else DONE


@overload
def predict(config: PredictConfig, /, *, say: Say = say) -> Predictions: ...
@overload
def predict(*, say: Say = say, **options: Unpack[PredictOptions]) -> Predictions: ...
def predict(config: PredictConfig | None = None, /, *, say: Say = say, **options: Any) -> Predictions:
    """Ask a finished run about new recordings.

    For recordings that are too many for memory, iterate over `Predictor(config, say).predictions()`.

    Args:
        config: All options in one record.
        say: Prints a line of the report; `lambda line: None` prints nothing.
        **options: Or the same options by name, as `PredictConfig` documents them.

    Raises:
        UsageError: Wrong options or inputs, weights that are not at hand, an encoder that is not the run's, or no clip
            that can be predicted.
        DataError: A damaged run, damaged weights, or a full disk.
    """
    config = checked_config(PredictConfig, config, options, say)
    if config.out is not None:
        refuse_existing(config.out)
    predictor = Predictor(config, say)
    rows = []
    with nullcontext() if config.out is None else open_output(config.out, config.format) as writer:
        for prediction in predictor.predictions():
            rows.append(prediction)
            if writer is not None:
                writer.write(prediction)
    return Predictions(rows=tuple(rows), excluded=tuple(predictor.excluded))
