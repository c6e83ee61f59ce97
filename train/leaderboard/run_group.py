"""Groups of runs that can be compared: of one task, tested on the same utterances."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emofuse.common.output.console import plural, printable
from emofuse.manifests.metrics.scores import goodness, short_name
from emofuse.train.leaderboard.run_entry import RunEntry
from emofuse.train.runs.reporting.majority_score import majority_score
from emofuse.train.runs.reporting.run_identity import FREE_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGroup:
    """Runs that can be compared, the best one first."""

    title: str
    runs: Sequence[RunEntry]

    @property
    def first(self) -> RunEntry:
        """The run that says what all have in common."""
        return self.runs[0]

    @property
    def ranked(self) -> list[RunEntry]:
        """The runs that have a score and are no sanity runs, the best one first."""
        return [run for run in self.runs if not run.is_sanity and run.score(self.metric) is not None]

    @property
    def ranks(self) -> list[int]:
        """The rank of each of `ranked`, from 1; equal scores share one."""
        scores = [run.score(self.metric) for run in self.ranked]
        return [1 + scores.index(score) for score in scores]

    @property
    def metric(self) -> str:
        """The metric that ranks them: the protocol's first one."""
        return str(self.first.identity["protocol"]["metrics"][0])

    @property
    def metrics(self) -> list[str]:
        """The metrics of the protocol, and others that every run's tables have."""
        named = [*self.first.identity["protocol"]["metrics"], *self.first.metrics["metrics"]]
        return [n for n in dict.fromkeys(named) if any(run.score(n) is not None for run in self.runs)] or [self.metric]

    @property
    def protocol(self) -> str:
        """The name of the protocol."""
        return str(self.first.metrics["protocol"])

    @property
    def corpus(self) -> str:
        """The corpora."""
        return corpus_name(self.first)

    @property
    def classes(self) -> list[str]:
        """The classes of the task."""
        return list(self.first.metrics["classes"])

    @property
    def majority(self) -> float | None:
        """What always predicting the most frequent class scores by the ranking metric."""
        return majority_score(self.first.metrics["confusion"], self.metric)


def grouped(runs: Iterable[RunEntry]) -> list[RunGroup]:
    """The groups, the largest one first; runs of different groups must not be compared by their scores."""
    members: dict[str, list[RunEntry]] = {}
    for run in runs:
        members.setdefault(_task_key(run), []).append(run)
    titles = _titles([group[0] for group in members.values()])
    groups = [
        RunGroup(title=title, runs=_best_first(group)) for title, group in zip(titles, members.values(), strict=True)
    ]
    return sorted(groups, key=lambda group: (-len(group.runs), group.title))


def corpus_name(run: RunEntry) -> str:
    """The corpora that a run was trained and tested on, such as `emodb`, or `iemocap, tested on emodb`."""
    corpus, joint = str(run.identity["corpus"]), run.identity["protocol"].get("joint") or {}
    if evaluation := run.metrics.get("evaluation"):
        return str(evaluation["evaluated_on"])
    return f"{corpus}, tested on {joint['test_corpus']}" if joint.get("test_corpus") else corpus


def fold_unit(run: RunEntry) -> str:
    """What a fold holds out."""
    if run.metrics.get("evaluation", {}).get("same_corpus") is False:
        return "everything: trained on other data"
    protocol = run.identity["protocol"]
    if joint := protocol.get("joint"):
        return " and ".join(f"{by} of {corpus}" for corpus, by in joint["by"].items())
    if protocol["fold_by"] == "split":
        return "the official test split"
    if protocol["fold_by"] == "file":
        return f"the folds of {protocol['fold_source']}"
    return str(protocol["fold_by"]) + (f", in {protocol['fold_parts']} parts" if protocol.get("fold_parts") else "")


def folds_text(run: RunEntry) -> str:
    """Such as `5 folds`, or where some are left out `folds 1, 3`."""
    folds = sorted(run.identity["folds"])
    if folds == [*range(1, len(folds) + 1)]:
        return plural(len(folds), "fold")
    return f"fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}"


def metric_name(metric: str) -> str:
    """The printed name of a metric, also of one that this version does not know."""
    try:
        return short_name(metric)
    except KeyError:
        return metric


def _task_key(run: RunEntry) -> str:
    """Equal for runs that can be compared: of the same task on the same manifest, tested on the same utterances."""
    protocol: Mapping[str, Any] = run.identity["protocol"]
    evaluation = run.metrics.get("evaluation")
    task = {key: value for key, value in protocol.items() if key not in FREE_KEYS and value}  # older runs lack some
    kind = "fit" if evaluation is None else "own corpus" if evaluation["same_corpus"] else "other corpus"
    metrics, identity = run.metrics, run.identity
    tested = [metrics.get("limit"), identity["folds"], run.test_set]
    what = [kind, task, metrics["classes"], metrics.get("target"), identity["manifest"], *tested]
    return json.dumps(what, sort_keys=True)


def _best_first(runs: Sequence[RunEntry]) -> list[RunEntry]:
    """By the first metric; sanity runs and runs without a score come last."""
    metric = str(runs[0].identity["protocol"]["metrics"][0])

    def order(run: RunEntry) -> tuple[bool, float, str]:
        score = run.score(metric)
        return run.is_sanity or score is None, -goodness(metric, score or 0.0), str(run.folder)

    return sorted(runs, key=order)


def _titles(runs: Sequence[RunEntry]) -> list[str]:
    """What each group is, in a line; where two are called the same, with what tells them apart."""
    titles = [_title(run) for run in runs]
    for key in ("manifest", "test set"):
        repeated = {title for title in titles if titles.count(title) > 1}
        digests = [run.identity["manifest"] if key == "manifest" else run.test_set for run in runs]
        different = {title for title in repeated if len(_of(title, titles, digests)) > 1}
        titles = [
            f"{title}, {key} {printable(digest[:8])}" if title in different else title
            for title, digest in zip(titles, digests, strict=True)
        ]
    return [f"{title} ({n})" if (n := titles[: i + 1].count(title)) > 1 else title for i, title in enumerate(titles)]


def _of(title: str, titles: Sequence[str], digests: Sequence[str]) -> set[str]:
    return {digest for other, digest in zip(titles, digests, strict=True) if other == title}


def _title(run: RunEntry) -> str:
    evaluation, limit = run.metrics.get("evaluation"), run.metrics.get("limit")
    parts = [f"{run.metrics['protocol']} on {corpus_name(run)}", f"{plural(run.tested, 'test utterance')}"]
    parts += [folds_text(run)] if not evaluation or evaluation["same_corpus"] else []
    parts += [f"--limit {limit}"] if limit is not None else []
    return printable(", ".join(parts), 160) + (" (evaluations)" if evaluation else "")
