"""Runs are ranked only among runs of the same task, tested on the same utterances."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from damage import edited

from emofuse.train.leaderboard.leaderboard_page import read_runs
from emofuse.train.leaderboard.run_group import RunGroup, grouped


def groups_of(folder: Path) -> list[RunGroup]:
    runs, unread = read_runs(folder)
    assert unread == []
    return grouped(runs)


def names(group: RunGroup) -> set[str]:
    return {run.folder.name for run in group.runs}


def test_only_runs_of_one_task_and_one_test_set_are_together(runs: Path) -> None:
    largest, *others = groups_of(runs)
    assert names(largest) == {"concat", "audio", "audio-seeds", "text", "shuffled"}
    assert sorted(map(names, others), key=str) == [{"evaluated"}, {"short"}, {"two-folds"}]
    assert len({group.title for group in (largest, *others)}) == 4
    assert largest.title == "tiny4 on tiny, 64 test utterances, 4 folds"


def test_best_first_and_a_sanity_run_last_without_a_rank(runs: Path) -> None:
    group = groups_of(runs)[0]
    scores = [run.score("ua") or 0.0 for run in group.ranked]
    assert scores == sorted(scores, reverse=True)
    assert group.runs[-1].folder.name == "shuffled"
    assert "shuffled" not in {run.folder.name for run in group.ranked}


def test_equal_scores_share_a_rank(copied: Callable[..., Path]) -> None:
    for name, score in {"a": 0.5, "b": 0.7, "c": 0.7, "d": 0.4}.items():
        folder = copied("audio", name, metrics=edited(lambda m, score=score: m["pooled"].update(ua=score)))
    (group,) = groups_of(folder.parent)
    assert group.ranks == [1, 1, 3, 4]


def test_what_splits_a_group_and_what_does_not(copied: Callable[..., Path]) -> None:
    copied("audio", "a")
    copied("audio", "renamed", config=edited(lambda c: c["run"]["protocol"].update(name="other", source="a paper")))
    copied("audio", "older", config=edited(lambda c: c["run"]["protocol"].pop("fold_parts")))
    copied("audio", "manifest", config=edited(lambda c: c["run"].update(manifest="00ff" * 8)))
    copied("audio", "labels", config=edited(lambda c: c["run"]["protocol"]["labels"].update(ang="hap")))
    tested = copied("audio", "tested")
    lines = (tested / "utterances.csv").read_text().splitlines(keepends=True)
    (tested / "utterances.csv").write_text("".join(lines[:-1]))
    groups = groups_of(tested.parent)
    assert [names(group) for group in groups if len(group.runs) > 1] == [{"a", "older", "renamed"}]
    assert {*map(len, map(names, groups))} == {1, 3}
    assert len(groups) == 4
    assert len({group.title for group in groups}) == 4  # each says what is different


def test_equal_utterances_in_another_order_are_one_test_set(copied: Callable[..., Path]) -> None:
    copied("audio", "a")
    other = copied("text", "b")
    header, *lines = (other / "utterances.csv").read_text().splitlines(keepends=True)
    (other / "utterances.csv").write_text("".join([header, *reversed(lines)]))
    assert len(groups_of(other.parent)) == 1


def test_the_most_frequent_class_has_a_score_by_some_metrics_alone(copied: Callable[..., Path]) -> None:
    folder = copied("audio", "a").parent
    assert groups_of(folder)[0].majority == 0.25
    copied("audio", "b", config=edited(lambda c: c["run"]["protocol"].update(metrics=["speaker_ua"])))
    edited(lambda c: c["run"]["protocol"].update(metrics=["speaker_ua"]))(folder / "a" / "config.json")
    assert groups_of(folder)[0].majority is None


def test_a_run_says_its_parameters_folds_and_seeds(runs: Path) -> None:
    import torch

    from emofuse.train import Run
    from emofuse.train.runs.trained_models import trained_models

    by_name = {run.folder.name: run for run in read_runs(runs)[0]}
    model = trained_models(Run.open(runs / "concat"), None, torch.device("cpu"), final=False)[0]
    assert by_name["concat"].parameters == sum(p.numel() for p in model.model.parameters())
    assert by_name["evaluated"].parameters is None
    several = by_name["audio-seeds"]
    assert several.seeds == 2
    assert list(several.folds) == [1, 2, 3, 4]
    seeds = [Run.open(runs / "audio-seeds" / f"seed_{n}").metrics["folds"] for n in (0, 1)]
    assert several.folds[2]["ua"] == sum(folds[1]["test"]["ua"] for folds in seeds) / 2
