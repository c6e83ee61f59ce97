"""Short names of compared runs: the model, and where several runs have the same, what tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.reporting.run_identity import feature_names, option_texts


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
    describe: list[Callable[[Run], dict[str, str]]] = [_features, _with_options]
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
    return feature_names(run.config["run"])


def _with_options(run: Run) -> dict[str, str]:
    return _features(run) | option_texts(run.config["run"])
