"""MLflow: a run in the experiment of the protocol, on a server or in a local folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from emofuse.train.tracking.base import TrackedRun, Tracker
from emofuse.train.tracking.tracked_run import beside

TAG = "emofuse.digest"
"""Tells whether MLflow has a run already."""
_LONGEST, _BATCH = 500, 500
"""Characters of a parameter that every store of MLflow takes, and metrics of one request."""


class MLflowTracker(Tracker):
    """Writes to MLFLOW_TRACKING_URI if it is set, else to `mlruns` beside the run folder."""

    name = "mlflow"
    package = "mlflow"

    def write(self, run: TrackedRun) -> str:
        """One MLflow run, unless there is one with the same scores."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            uri = beside(run.folder, "mlruns").as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3.7 and later refuse a folder without it
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.protocol
        experiment = client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else client.create_experiment(name)
        if client.search_runs([number], filter_string=f"tags.`{TAG}` = '{run.digest}'"):
            return f"{uri}, where it was already"
        written = client.create_run(number, run_name=run.name, tags={"mlflow.note.content": run.notes})
        identity = written.info.run_id
        params = [Param(key, str(value)[:_LONGEST]) for key, value in run.config.items()]
        metrics = list(_metrics(run))
        for start in range(0, len(params), 100):
            client.log_batch(identity, params=params[start : start + 100])
        for start in range(0, len(metrics), _BATCH):
            client.log_batch(identity, metrics=metrics[start : start + _BATCH])
        for path in run.files:
            client.log_artifact(identity, str(path))
        client.log_batch(identity, tags=[RunTag(TAG, run.digest)])  # last: a run that was cut off is written again
        client.set_terminated(identity)
        return f"{uri}, experiment {name}"


def _metrics(run: TrackedRun) -> Iterator[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for name, value in run.scores.items():
        yield Metric(name, value, now, 0)
    for curve in run.curves:
        for step, values in curve.points:
            yield from (Metric(f"{curve.name}/{name}", value, now, step) for name, value in values.items())
