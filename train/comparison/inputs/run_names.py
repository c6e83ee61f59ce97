"""Short names of compared runs: the model, and where several runs have the same, what tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emofuse.train.runs.finished_run import Run

_LEFT_OUT = (
    "features",
    "protocol",
    "seeds",
    "model",
    "ablation",
    "settings",
    "standardised",
    "manifest",
    "corpus",
    "utterances",
)


def run_names(runs: Sequence[Run]) -> list[str]:
    """A name for each run: `smcn`; `linear (logmel)` and `linear (whisper)`; with settings; else the folder."""
    titles = [str(run.metrics["model"]) for run in runs]
    names = list(titles)
    for title in {t for t in titles if titles.count(t) > 1}:
        group = [i for i, t in enumerate(titles) if t == title]
        for i, name in zip(group, _names_of_group(title, [runs[i] for i in group]), strict=True):
            names[i] = name
    return names


def _names_of_group(title: str, runs: Sequence[Run]) -> list[str]:
    """Names of runs with the same title, by the first description that tells all of them apart."""
    describe: list[Callable[[Run], dict[str, str]]] = [_features, lambda run: _features(run) | _settings(run)]
    for attributes in ([of(run) for run in runs] for of in describe):
        keys = [
            k for k in dict.fromkeys(k for a in attributes for k in a) if len({a.get(k, "") for a in attributes}) > 1
        ]
        labels = [", ".join(a[k] for k in keys if k in a) for a in attributes]
        if len(set(labels)) == len(runs):
            return [f"{title} ({label})" if label else title for label in labels]
    folders = [run.folder.name for run in runs]
    return folders if len(set(folders)) == len(runs) else [str(run.folder) for run in runs]


def _features(run: Run) -> dict[str, str]:
    """Modality -> the name of the feature."""
    features = run.config["run"].get("features", {})
    return {modality: str(feature["name"]) for modality, feature in features.items()}


def _settings(run: Run) -> dict[str, str]:
    """Key -> `key=value` of the settings and of the other options that identify a run."""
    identity = run.config["run"]
    options = {k: v for k, v in identity.items() if k not in _LEFT_OUT and not isinstance(v, Mapping)}
    return {k: f"{k}={_short(v)}" for k, v in {**identity.get("settings", {}), **options}.items()}


def _short(value: Any) -> str:
    return (
        "+".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
