"""The names of the files of a run folder and of its folds, for readers that need no torch."""

from __future__ import annotations

CONFIG, METRICS, PREDICTIONS, UTTERANCES = "config.json", "metrics.json", "predictions.csv", "utterances.csv"
RUN_FILES = (CONFIG, METRICS, PREDICTIONS)
"""The files without which a folder is not a run."""
HISTORY = "history.csv"
PAGE = "report.html"
SELECTION, CALIBRATION, RESULT = "selection.json", "calibration.json", "result.json"
VALIDATION = "validation.csv"
"""The predictions on the validation side of a fold, by its selected weights; `emofuse stack` is fitted on them."""
WEIGHTS, CHECKPOINTS = "model.safetensors", "checkpoints"
STATISTICS = "standardise."
"""How the names of the tensors of `WEIGHTS` begin that are statistics, not parameters."""
