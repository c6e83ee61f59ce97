"""The trackers by name."""

from __future__ import annotations

from emofuse.common.registry import Registry
from emofuse.train.tracking.base import Tracker
from emofuse.train.tracking.mlflow_tracker import MLflowTracker
from emofuse.train.tracking.tensorboard_tracker import TensorBoardTracker
from emofuse.train.tracking.wandb_tracker import WandbTracker

TRACKERS: Registry[Tracker] = Registry("tracker", "emofuse.trackers", Tracker)
TRACKERS.add("tensorboard", "TensorBoard, event files beside the run", TensorBoardTracker())
TRACKERS.add("mlflow", "MLflow, on a server or in a local folder", MLflowTracker())
TRACKERS.add("wandb", "Weights & Biases, offline by default", WandbTracker())
