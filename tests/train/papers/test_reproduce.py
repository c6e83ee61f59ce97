"""`reproduce` on a small corpus: run, resumed, marked as short, and refused with a message."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples
from paper_samples import TINY, raw, request, run, same_runs

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.store import FeatureData
from emofuse.train.fitting.fold import fit_fold
from emofuse.train.papers.output import table_text
from emofuse.train.papers.published_table import load, names, parse
from emofuse.train.papers.reproduce import folder_of, reproduce
from emofuse.train.papers.results import ResultTable
from emofuse.train.papers.row_jobs import plan_fits_of_table
from emofuse.train.papers.table_request import TableRequest, parse_substitutes
from emofuse.train.runs.processes import execute


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[ResultTable, Path, list[str]]:
    return run(request(folder, parse("tiny-table9", raw(folder)), seeds=2))


def test_ours_are_mean_and_deviation_over_folds_and_seeds(
    done: tuple[ResultTable, Path, list[str]], folder: Path
) -> None:
    results = done[0]
    line = results.rows_of(results.table.tasks[0])[2]
    found = [json.loads((Path(line.run) / f"seed_{s}" / "metrics.json").read_text())["folds"] for s in (0, 1)]
    values = [100 * fold["test"]["ua"] for folds in found for fold in folds]
    cell = line.cells["UA"]
    assert (cell.count, cell.published) == (8, 77.6)
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.deviation == pytest.approx(np.std(values, ddof=1))
    assert cell.difference == pytest.approx(np.mean(values) - 77.6)
    assert line.cells["WA"].difference is None


def test_a_cited_row_is_not_run_and_keeps_its_figures(done: tuple[ResultTable, Path, list[str]]) -> None:
    results, _, reported = done
    cited = results.rows_of(results.table.tasks[0])[0]
    assert (cited.state, cited.cells["UA"].published, cited.cells["UA"].mean) == ("cited", 62.7, None)
    assert not any("Somebody" in line for line in reported)


def test_the_same_command_again_only_reads(done: tuple[ResultTable, Path, list[str]], folder: Path) -> None:
    again, where, reported = run(request(folder, parse("tiny-table9", raw(folder)), seeds=2))
    assert where == done[1]
    assert sum("already done" in line for line in reported) == 2
    assert table_text.comma_separated(again) == table_text.comma_separated(done[0])


def test_an_interrupted_table_resumes_with_the_remaining_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = request(folder, parse("tiny-table9", raw(folder)), steps=5)
    from emofuse.train.runs.training import fit as module

    real, calls = module._fit_plans, []

    def stopped(plans: Any, *given: Any) -> None:
        calls.append(plans)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(plans, *given)

    monkeypatch.setattr(module, "_fit_plans", stopped)
    with pytest.raises(KeyboardInterrupt):
        reproduce(call, lambda line: None)
    left = (folder_of(call) / "table.md").read_text()
    assert "not run" in left
    monkeypatch.undo()
    reported = run(call)[2]
    assert sum("already done" in line for line in reported) == 1
    assert "not run" not in (folder_of(call) / "table.md").read_text()


@pytest.mark.slow
def test_rows_in_parallel_have_the_same_results_as_one_by_one(folder: Path) -> None:
    rows = raw(folder)["rows"]
    table = parse("tiny-table9", raw(folder, rows=[*rows, {**rows[-1], "name": "The same"}]))
    one = run(request(folder, table, runs=folder / "one", jobs=1, threads=1))
    two, where, reported = run(request(folder, table, runs=folder / "two", jobs=2, threads=1))
    same_runs(folder / "one", folder / "two")
    places = str(folder / "one"), str(folder / "two")
    assert table_text.comma_separated(two) == table_text.comma_separated(one[0]).replace(*places)
    assert [line.state for line in two.rows_of(table.tasks[0])] == ["cited", "run", "run", "run"]
    assert "not run" not in (where / "table.md").read_text()
    for number, name in enumerate(("Audio", "SMCN", "The same"), 1):
        assert any(line.startswith(f"{number}/3 {name} on ") for line in reported)
    assert not list((folder / "two").glob("*.part*"))


def test_an_interrupted_row_is_finished_before_others_are_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = request(folder, parse("tiny-table9", raw(folder)), runs=folder / "ends", jobs=2, threads=1)

    def stopped(tasks: Any, *_: Any) -> None:
        for task in tasks[:4]:
            fit_fold(*task, lambda step, note: None)
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "train_units", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(call)
    ended = []

    def looked(tasks: Any, *_: Any) -> None:
        ended.extend(path.name[:-9] for path in call.runs.glob("tiny4-*-????????"))
        assert len(tasks) == 4
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "train_units", looked)
    with pytest.raises(KeyboardInterrupt):
        run(call)
    assert ended == ["tiny4-audio"]


def test_a_short_run_and_substitutes_are_marked_in_every_output(done: tuple[ResultTable, Path, list[str]]) -> None:
    _, where, _ = done
    for name in ("table.csv", "table.md", "table.tex"):
        assert "short run (--steps 4)" in (where / name).read_text().replace("-{}-", "--")
    assert "NOT the paper's own conditions" in table_text.screen(done[0])
    assert where.name.startswith("tiny-table9-")


def test_substituted_features_are_named_by_encoder_or_feature(folder: Path) -> None:
    tasks = [{**raw(folder)["tasks"][0], "features": {"audio": "hubert-large", "text": "roberta"}}]
    table = parse("tiny-table9", raw(folder, tasks=tasks))
    call = request(folder, table, substitute={"hubert-large": "logmel-smcn", "roberta": "bert"}, only=("SMCN",))
    work = plan_fits_of_table(call).jobs
    assert [(job.config.audio, job.config.text) for job in work] == [("logmel", "bert")]
    assert call.marks()[1:] == ["logmel-smcn is used instead of hubert-large", "bert is used instead of roberta"]


def test_the_papers_protocol_can_be_substituted(folder: Path) -> None:
    tasks = [{**raw(folder)["tasks"][0], "protocol": "iemocap4"}]
    rows = [{"name": "SMCN", "set": list(TINY), "published": {"iemocap4": {"UA": 77.6}}}]
    table = parse("tiny-table9", raw(folder, tasks=tasks, rows=rows))
    with pytest.raises(UsageError, match=r"tiny\.h5 holds tiny") as caught:
        plan_fits_of_table(request(folder, table))
    assert "iemocap4: no store of iemocap was given" in str(caught.value)
    results, where, _ = run(request(folder, table, substitute={"iemocap4": str(folder / "tiny4.toml")}))
    assert results.rows_of(table.tasks[0])[0].state == "run"
    assert "is used instead of iemocap4" in (where / "table.tex").read_text()


def test_a_row_with_a_modality_absent_at_inference_shares_the_run_of_the_whole(folder: Path) -> None:
    small = ["width=8", "heads=2", "feedforward=16", "tokens=3", "batch=16", "lr=0.01"]
    rows = [
        {"name": "Full", "model": "msmser", "set": small},
        {"name": "Full (only text)", "model": "msmser", "set": small, "without": "audio"},
    ]
    results, _, reported = run(request(folder, parse("tiny-table9", raw(folder, rows=rows))))
    full, text = results.rows_of(results.table.tasks[0])
    assert full.run == text.run
    assert sum("already done" in line for line in reported) == 1
    metrics = json.loads((Path(full.run) / "metrics.json").read_text())
    assert text.cells["UA"].mean == pytest.approx(100 * metrics["without"]["audio"]["mean"]["ua"])
    assert full.cells["UA"].mean == pytest.approx(100 * metrics["mean"]["ua"])


def test_recall_of_a_class_can_be_a_column(folder: Path) -> None:
    tasks = [{**raw(folder)["tasks"][0], "metrics": {"anger": "recall:ang", "joy": "recall:joy"}}]
    rows = [{"name": "Audio", "ablation": "Audio", "set": list(TINY)}]
    results, _, _ = run(request(folder, parse("tiny-table9", raw(folder, tasks=tasks, rows=rows))))
    cells = results.rows_of(results.table.tasks[0])[0].cells
    assert 0 <= (cells["anger"].mean or 0) <= 100
    assert cells["joy"].mean is None


def test_a_missing_feature_is_reported_with_the_command_that_adds_it(folder: Path) -> None:
    tasks = [{**raw(folder)["tasks"][0], "features": {"audio": "wavlm", "text": "roberta"}}]
    with pytest.raises(UsageError) as caught:
        plan_fits_of_table(request(folder, parse("tiny-table9", raw(folder, tasks=tasks))))
    message = str(caught.value)
    assert "extract --dataset tiny --encoder wavlm --store" in message
    assert "extract --dataset tiny --encoder roberta --store" in message
    assert "--substitute OLD=NEW" in message


def test_unknown_rows_substitutes_and_ablations_are_refused(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder))
    with pytest.raises(UnknownNameError, match=r"no row of tiny-table9 named 'Adio'\. Did you mean 'Audio'"):
        plan_fits_of_table(request(folder, table, only=("Adio",)))
    with pytest.raises(UsageError, match=r"Somebody \[1\]: another system's figures, cited and not run"):
        plan_fits_of_table(request(folder, table, only=("Somebody [1]",)))
    with pytest.raises(UnknownNameError, match="no feature or protocol of tiny-table9 named 'hubert'"):
        plan_fits_of_table(request(folder, table, substitute={"hubert": "logmel"}))
    rows = [{"name": "X", "ablation": "Audo"}]
    with pytest.raises(UnknownNameError, match="no ablation of smcn named 'Audo'"):
        plan_fits_of_table(request(folder, parse("tiny-table9", raw(folder, rows=rows))))


def test_a_row_named_twice_is_run_once(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder))
    call = request(folder, table, only=("SMCN", "Audio", "SMCN"))
    assert [job.row.name for job in plan_fits_of_table(call).jobs] == ["Audio", "SMCN"]
    assert folder_of(call) == folder_of(request(folder, table, only=("Audio", "SMCN")))


def test_substitutes_are_unique_pairs_with_an_effect(folder: Path) -> None:
    assert parse_substitutes("a=b, c=d") == {"a": "b", "c": "d"}
    assert parse_substitutes(None) == {}
    with pytest.raises(UsageError, match="--substitute 'a', '': expected OLD=NEW"):
        parse_substitutes("a,b=c,")
    with pytest.raises(UsageError, match="--substitute: a is given twice"):
        parse_substitutes("a=b,a=c")
    table = parse("tiny-table9", raw(folder))
    with pytest.raises(UsageError, match="--substitute: bert=bert: without effect"):
        plan_fits_of_table(request(folder, table, substitute={"bert": "bert"}))
    with pytest.raises(UsageError, match="--substitute: bert=logmel: no row to run needs bert"):
        plan_fits_of_table(request(folder, table, substitute={"bert": "logmel"}, only=("Audio",)))


def test_the_feature_that_extract_calls_logmel_is_logmel_smcn(folder: Path) -> None:
    frames = samples.frames(samples.utterances(), 0)
    features = {"logmel": FeatureData(modality="audio", arrays=frames, encoder="logmel", frame_rate=20.0)}
    path = samples.store(folder / "extracted.h5", features=features)
    tasks = [{**raw(folder)["tasks"][0], "features": {"audio": "hubert", "text": "bert"}}]
    table = parse("tiny-table9", raw(folder, tasks=tasks))
    call = request(folder, table, stores=(path,), substitute={"hubert": "logmel-smcn"}, only=("Audio",))
    assert [job.config.audio for job in plan_fits_of_table(call).jobs] == ["logmel"]


def test_other_options_have_another_folder(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder))
    one = request(folder, table)
    others = [
        request(folder, table, stores=(folder / "other.h5",)),
        request(folder, table, allow_missing=3),
        request(folder, table, allow_duplicates=True),
        request(folder, table, seeds=2),
        request(folder, table, substitute={"bert": "x"}),
    ]
    assert len({folder_of(r) for r in (one, *others)}) == 6
    swapped = [request(folder, table, substitute=dict(p)) for p in ([("a", "b"), ("c", "d")], [("c", "d"), ("a", "b")])]
    assert folder_of(swapped[0]) == folder_of(swapped[1])


def test_a_corpus_without_audio_leaves_out_the_rows_that_need_it(folder: Path) -> None:
    silent = tuple(replace(u, audio=None) for u in samples.utterances())
    features = {"bert": FeatureData(modality="text", arrays=samples.frames(silent, 1), encoder="bert")}
    path = samples.store(folder / "text.h5", of=silent, features=features)
    rows = [{"name": n, "ablation": n, "set": list(TINY)} for n in ("Audio", "Text", "Cat")]
    results, where, _ = run(request(folder, parse("tiny-table9", raw(folder, rows=rows)), stores=(path,)))
    states = {x.row.name: x.state for x in results.rows_of(results.table.tasks[0])}
    assert states == {"Audio": "corpus tiny has no audio", "Text": "run", "Cat": "corpus tiny has no audio"}
    assert "corpus tiny has no audio" in (where / "table.csv").read_text()
    with pytest.raises(UsageError, match="corpus tiny has no audio"):
        plan_fits_of_table(request(folder, parse("tiny-table9", raw(folder, rows=rows[:1])), stores=(path,)))


def test_a_protocol_runs_on_the_requested_folds_that_it_has(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder))
    assert {job.config.folds for job in plan_fits_of_table(request(folder, table, folds="2, 9")).jobs} == {"2"}
    with pytest.raises(UsageError, match="no fold named '9'"):
        plan_fits_of_table(request(folder, table, folds="9"))


def test_a_store_that_the_table_does_not_use_is_refused(folder: Path) -> None:
    other = samples.store(folder / "foreign.h5", corpus="foreign")
    with pytest.raises(UsageError, match=r"tiny-table9 has no use for .*foreign\.h5 \(foreign\); leave it out"):
        plan_fits_of_table(request(folder, parse("tiny-table9", raw(folder)), stores=(folder / "tiny.h5", other)))


def test_excluded_utterances_are_reported_and_counted(folder: Path) -> None:
    arrays = samples.frames(samples.utterances(), 1)
    del arrays["s1_u000"]
    features = {"bert": FeatureData(modality="text", arrays=arrays, encoder="bert")}
    path = samples.store(folder / "gap.h5", features=features)
    rows = [{"name": "Text", "ablation": "Text", "set": list(TINY)}]
    results, where, _ = run(request(folder, parse("tiny-table9", raw(folder, rows=rows)), stores=(path,)))
    assert results.excluded == {"s1_u000"}
    assert "1 utterances without an up-to-date feature are excluded" in (where / "table.csv").read_text()


@pytest.mark.parametrize("name", names())
def test_the_latex_of_every_table_is_balanced_and_no_cell_is_read_as_an_option(name: str) -> None:
    tex = table_text.latex(ResultTable(table=load(name), marks=["a_b & 5 %"], conditions={}, skipped_tasks={}))
    assert tex.count("{") - tex.count(r"\{") == tex.count("}") - tex.count(r"\}")
    assert not any(line.startswith(("[", "*")) for line in tex.splitlines())
    assert r"a\_b \& 5 \%" in tex
    assert r"\footnotesize" in tex


def test_no_store_and_two_stores_of_a_corpus_are_refused(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder))
    with pytest.raises(UsageError, match="no store was given"):
        plan_fits_of_table(TableRequest(table=table, stores=()))
    with pytest.raises(UsageError, match="two stores of corpus tiny"):
        plan_fits_of_table(TableRequest(table=table, stores=(folder / "tiny.h5", folder / "tiny.h5")))


def test_a_frozen_feature_that_the_paper_fine_tuned_is_noted(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder, fine_tuned=["bert"]))
    results, where, _ = run(request(folder, table))
    audio, both = results.rows_of(table.tasks[0])[1:]
    assert "bert is frozen, the paper's bert was fine-tuned" in both.notes
    assert not any("fine-tuned" in note for note in audio.notes)
    assert "bert is frozen" in (where / "table.csv").read_text()


def test_the_files_have_the_figures_of_the_screen(done: tuple[ResultTable, Path, list[str]]) -> None:
    results, where, _ = done
    rows = list(csv.DictReader(io.StringIO((where / "table.csv").read_text())))
    assert [(r["row"], r["column"]) for r in rows[:3]] == [
        ("Somebody [1]", "UA"),
        ("Somebody [1]", "WA"),
        ("Audio", "UA"),
    ]
    cell = results.rows_of(results.table.tasks[0])[2].cells["UA"]
    mine = next(r for r in rows if (r["row"], r["column"]) == ("SMCN", "UA"))
    assert float(mine["ours"]) == pytest.approx(cell.mean, abs=1e-6)
    assert (mine["paper"], mine["folds_x_seeds"], mine["state"]) == ("77.6", "8", "run")
    shown = f"{cell.mean:.1f} ± {cell.deviation:.1f}"
    assert shown in (where / "table.md").read_text()
    assert shown in table_text.screen(results)
    tex = (where / "table.tex").read_text()
    assert shown.replace("±", r"$\pm$") in tex
    assert r"A note" not in tex or r"\&" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1
    assert tex.count(r"\\") == 5


def test_published_figures_are_shown_as_printed() -> None:
    tasks = [{"protocol": "iemocap4", "metrics": {"UA": "ua"}}]
    rows = [{"name": "a", "cited": True, "published": {"iemocap4": {"UA": 77.84}}}]
    table = parse("t", {"paper": "P", "where": "T", "about": "a", "unit": "percent", "tasks": tasks, "rows": rows})
    assert "77.84" in table_text.screen(ResultTable(table=table, marks=[], conditions={}, skipped_tasks={}))
