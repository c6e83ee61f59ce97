"""A finished run on new recordings: extracts with the run's own encoders, then asks its models (`emofuse predict`).

The one package that needs both stages; no other package imports it.
From Python: `from emofuse.predict import predict`, then `predict(run="runs/...", inputs="clip.wav")`.
"""

from typing import TYPE_CHECKING

from emofuse.common.lazy import lazy_exports

if TYPE_CHECKING:
    from emofuse.predict.api import Predictions, predict
    from emofuse.predict.config import PredictConfig, PredictOptions
    from emofuse.predict.prediction import Prediction
    from emofuse.predict.predictor import Predictor
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "PredictConfig": "config",
            "PredictOptions": "config",
            "Prediction": "prediction",
            "Predictions": "api",
            "Predictor": "predictor",
            "predict": "api",
        },
    )

__all__ = ["PredictConfig", "PredictOptions", "Prediction", "Predictions", "Predictor", "predict"]
