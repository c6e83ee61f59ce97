"""`report` of one run: where the page goes, what it needs, and that the run stays right."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import predict_samples
import pytest
import report_samples as samples
import train_samples
from evaluation_samples import on_other, other_store

from emofuse.common.errors import DataError, UsageError
from emofuse.report import report
from emofuse.store import FeatureStore
from emofuse.train import Run, verify_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return samples.run(tmp_path_factory.mktemp("report"), folds="1,2")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return samples.run(tmp_path_factory.mktemp("hostile"), of=samples.hostile_utterances(), folds="1")


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(run.folder, tmp_path / "run"))


def test_the_page_replaces_that_of_fit_and_the_run_stays_right(copied: Path) -> None:
    made, lines = samples.reported(copied, no_models=False)
    assert made.files == (copied / "report.html",)
    assert re.fullmatch(rf"page: {copied}/report\.html, [\d.]+ kB, [\d.]+ s", lines[-1])
    assert "What the model weighs" in samples.page_of(made)
    assert verify_run(copied).problems == ()
    first = (copied / "report.html").read_bytes()
    samples.reported(copied, no_models=False)
    assert (copied / "report.html").read_bytes() == first
    assert verify_run(copied).problems == ()
    samples.reported(copied)
    assert "What the model weighs" not in samples.page_of(made)
    assert f"emofuse report {copied}" in samples.page_of(made), "the command that adds it"


def test_the_page_elsewhere_leaves_the_run_alone(copied: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    made, _ = samples.reported(copied, out=tmp_path / "page.html")
    assert made.files == (tmp_path / "page.html",)
    assert "<!doctype html>" in samples.page_of(made)
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before


def test_a_page_that_was_lost_or_edited_is_written_again(copied: Path) -> None:
    (copied / "report.html").unlink()
    samples.reported(copied)
    (copied / "report.html").write_text("edited")
    samples.reported(copied)
    assert verify_run(copied).problems == ()


def test_a_damaged_run_is_refused(copied: Path) -> None:
    (copied / "predictions.csv").write_text("id\n")
    with pytest.raises(DataError, match=r"predictions.csv was altered"):
        report(path=copied, say=samples.silent)


def test_the_page_of_one_seed_keeps_the_whole_run_right(tmp_path: Path) -> None:
    run = samples.run(tmp_path, folds="1", seeds=2)
    for folder in (run.folder / "seed_1", run.folder):
        samples.reported(folder)
        assert verify_run(run.folder).problems == ()
    assert (run.folder / "seed_1" / "report.html").is_file()


def test_the_page_of_a_folder_that_cannot_be_written_to_is_here() -> None:
    """As another user where the tests run as root, whom permissions do not hold back."""
    code = """if True:
        import os, sys
        from pathlib import Path
        from emofuse.report.output import page_path
        if os.geteuid() == 0:
            os.setuid(65534)
        for folder in sys.argv[1:]:
            print(*page_path(Path(folder), None), sep="; ")
    """
    with TemporaryDirectory() as made:
        closed, opened = Path(made) / "closed", Path(made) / "opened"
        for folder, mode in ((Path(made), 0o755), (closed, 0o555), (opened, 0o777)):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
        done = subprocess.run([sys.executable, "-c", code, closed, opened], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"closed-report.html; {closed} cannot be written to: the page is closed-report.html, and the folder stays "
            "as it is",
            f"{opened / 'report.html'}; None",
        ]


def test_texts_are_shown_unless_they_are_withheld(run: Run, tmp_path: Path) -> None:
    assert "words 3" in samples.page_of(samples.reported(run.folder, out=tmp_path / "a.html")[0])
    made, lines = samples.reported(run.folder, out=tmp_path / "b.html", no_text=True)
    assert "words 3" not in samples.page_of(made)
    assert len(lines) == 1


def test_words_and_loudness_stand_beside_what_the_model_weighs(tmp_path: Path) -> None:
    folder = predict_samples.corpus(tmp_path)
    run = predict_samples.run(folder, "run", "coattention", folds=[1])
    made, lines = samples.reported(run.folder, no_models=False)
    assert len(lines) == 1
    page = samples.page_of(made)
    assert page.count('class="heat"') > 10, "words have weights"
    assert "the tokenizer is not at hand" not in page
    made, _ = samples.reported(run.folder, no_models=False, no_text=True)
    assert 'class="heat"' not in samples.page_of(made)


def test_a_store_that_moved_is_named(copied: Path, run: Run, tmp_path: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["store"] = config["stores"]["tiny"] = str(tmp_path / "gone.h5")
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "digests.json").unlink()
    metrics = json.loads((copied / "metrics.json").read_text())
    del metrics["weights"]  # as a run of version 0.1.0
    (copied / "metrics.json").write_text(json.dumps(metrics))
    made, lines = samples.reported(copied, audio_root=tmp_path)
    assert any(line.startswith("note: the store of tiny cannot be read") for line in lines)
    assert any(line.startswith("note: --audio-root has no effect: the store of tiny") for line in lines)
    assert "--audio-root has no effect: the store of tiny, which names the recording" in samples.page_of(made)
    assert any("name it with --store" in line for line in lines)
    assert "words 3" not in samples.page_of(made)
    moved = shutil.copy(run.folder.parent / "tiny.h5", tmp_path / "moved.h5")
    made, lines = samples.reported(copied, store=moved)
    assert "words 3" in samples.page_of(made)
    assert not [line for line in lines if "cannot be read" in line]


def test_another_store_is_refused(run: Run, tmp_path: Path) -> None:
    other = train_samples.store(tmp_path / "other.h5", corpus="other")
    with pytest.raises(UsageError, match=r"other.h5 is a store of other, expected one of tiny"):
        report(path=run.folder, store=other, say=samples.silent)


def test_a_store_that_changed_is_noted(run: Run, tmp_path: Path) -> None:
    with FeatureStore(run.folder.parent / "tiny.h5") as store:
        some = store.manifest.utterances[:-1]
    changed = samples.store(tmp_path / "changed.h5", some)
    _, lines = samples.reported(run.folder, store=changed, out=tmp_path / "a.html")
    assert f"note: {changed} changed after the run: texts and recordings may differ" in lines


def test_a_store_without_texts_has_none_to_show(tmp_path: Path) -> None:
    of = tuple(train_samples.utterances(per_session=8))
    with FeatureStore(samples.store(tmp_path / "with.h5", of)) as store:
        withheld = store.manifest.without_text().utterances
    run = samples.run(tmp_path, of=withheld, folds="1")
    _, lines = samples.reported(run.folder)
    assert "note: texts are not shown: the store has digests in place of them (--no-text)" in lines


def test_an_evaluation_has_a_page_too(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder.parent, tmp_path / "all")
    trained = Run.open(tmp_path / "all" / "run")
    other_store(tmp_path / "all" / "other.h5")
    evaluation = on_other(trained, "on-other")
    made, lines = samples.reported(evaluation.folder)
    assert made.remarks == ()
    assert "trained on tiny, not retrained" in samples.page_of(made)
    assert verify_run(evaluation.folder).problems == ()
    assert len(lines) == 1


@pytest.mark.parametrize("format", ["svg", "png", "pdf", "csv", "md", "latex"])
def test_figures_and_tables_are_files_of_their_own(format: str, copied: Path, run: Run) -> None:
    metrics = json.loads((copied / "metrics.json").read_text()) | {"limit": 7}
    del metrics["weights"]
    (copied / "metrics.json").write_text(json.dumps(metrics))
    (copied / "digests.json").unlink()
    made, lines = samples.reported(copied, format=format)
    assert made.files
    assert [Path(line) for line in lines] == list(made.files)
    ending = {"latex": "tex"}.get(format, format)
    assert all(p.parent == copied.parent / f"run-{format}" and p.name.endswith(f".{ending}") for p in made.files)
    if format in ("md", "latex"):
        assert all("Short run: 7 utterances" in p.read_text() for p in made.files)
    assert all(p.stat().st_size for p in made.files)
    assert not (copied / "digests.json").exists()


def test_recordings_are_links_relative_to_the_page(hostile: Run) -> None:
    corpus = hostile.folder.parent / "corpus"
    corpus.mkdir()
    for name in samples.HOSTILE_FILES[:2]:
        (corpus / name).write_bytes(b"RIFF")
    made, lines = samples.reported(hostile.folder, audio_root=corpus)
    page = samples.page_of(made)
    assert '"../corpus/javascript%3Ax.wav"' in page
    assert '"../corpus/a%20b%23c%3F.wav"' in page
    assert f"note: 1 recording is not below {corpus}, such as {samples.HTML}.wav" in lines


def test_names_and_texts_that_look_like_html_stay_text(hostile: Run) -> None:
    page = samples.page_of(samples.reported(hostile.folder, no_models=False)[0])
    assert "<img" not in page
    assert "<script>alert" not in page
    assert page.count("</script>") == page.count("<script")
    assert "onerror=alert(1)" in page, "it is shown"
