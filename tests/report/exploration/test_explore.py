"""`explore` and `emofuse store explore` on small stores: the page, its files, and every mistake of a user."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import commands
import numpy as np
import pytest
from train_samples import config, protocol_file, quietly, store, utterances

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Manifest, Utterance
from emofuse.report import explore
from emofuse.store import FeatureData, write_store
from emofuse.train.inspection import projection

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def _no_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    """UMAP takes 10 s to import where it is installed."""
    monkeypatch.setattr(projection, "available_methods", lambda: ["tsne"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny.h5` with some recordings in `audio/`, and a run on it."""
    import soundfile

    folder = tmp_path_factory.mktemp("explore")
    protocol_file(folder)
    store(folder / "tiny.h5")
    rng = np.random.default_rng(0)
    for u in utterances()[:40]:
        path = folder / "audio" / str(u.audio)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(rng.standard_normal(4000) * rng.uniform(0.01, 0.5), -1, 1), 16000)
    quietly(config(folder, "run", "linear", audio="logmel"))
    return folder


def quiet(line: str) -> None:
    """Say nothing."""


def test_page_of_everything(folder: Path) -> None:
    lines: list[str] = []
    found = explore(
        stores=folder / "tiny.h5",
        feature=["logmel", "hubert"],
        run=folder / "run",
        audio_root=folder / "audio",
        out=folder / "page.html",
        quiet=True,
        say=lines.append,
    )
    page = found.files[0].read_text()
    assert set(found.probes) == {"logmel", "hubert"}
    assert len(found.clips) == 40
    emotion = found.probes["logmel"][0]
    assert emotion.score is not None
    assert f"{emotion.score:.3f}" in page
    assert "A linear probe predicts" in lines[0]
    assert "The audio of 24 utterances cannot be opened" in page
    assert any(line.startswith("note: the audio of 24 utterances cannot be opened") for line in lines)
    assert '"./audio/s1/u000.wav"' in page
    for title in (
        "Contents of the store",
        "Maps of the features",
        "Audio quality",
        "Errors of the run",
        "Duplicates",
    ):
        assert title in page
    assert "words 12" in page
    assert "UA combined" in page


def test_no_text_and_files_of_tables(folder: Path) -> None:
    found = explore(
        stores=str(folder / "tiny.h5"), feature="bert", format="csv", out=folder / "csv", no_text=True, say=quiet
    )
    names = {path.name for path in found.files}
    assert {"probes.csv", "features.csv", "classes.csv", "utterances.csv"} <= names
    table = (folder / "csv" / "utterances.csv").read_text()
    assert len(table.splitlines()) == 65
    assert "words" not in table
    pictures = explore(
        stores=folder / "tiny.h5", feature="bert", format="svg", out=folder / "svg", maps="tsne", say=quiet
    )
    assert any(path.name.startswith("map-1-bert-tsne-") for path in pictures.files)


def test_command_says_the_answer_and_names_valid_features(folder: Path) -> None:
    done = commands.run("store", ["explore", "tiny.h5", "--feature", "bert", "--layer", "3"], folder)
    assert done.returncode == 2
    assert "feature bert of tiny.h5 has no layers" in done.stderr
    done = commands.run("store", ["explore", "tiny.h5", "--feature", "hubrt"], folder)
    assert done.returncode == 2
    assert "Did you mean 'hubert'? Valid: bert, hubert, logmel" in done.stderr
    done = commands.run("store", ["explore", "tiny.h5", "--feature", "bert"], folder)
    assert done.returncode == 0, done.stderr
    assert "page: tiny-exploration.html" in done.stdout
    assert "explore" in commands.run("store", ["--help"]).stdout


def test_run_of_another_corpus_and_other_wrong_options(folder: Path, tmp_path: Path) -> None:
    other = store(tmp_path / "other.h5", corpus="other")
    with pytest.raises(UsageError, match="tested 64 utterances of tiny, none of them in this store of other"):
        explore(stores=other, run=folder / "run", say=quiet)
    with pytest.raises(UsageError, match="nowhere is not a folder"):
        explore(stores=other, audio_root="nowhere", say=quiet)
    with pytest.raises(UsageError) as wrong:
        explore(stores=other, limit=3, format="gif", say=quiet)  # type: ignore[call-overload]
    assert "limit is 3" in str(wrong.value)
    assert "format is 'gif'" in str(wrong.value)
    with pytest.raises(UsageError, match="no-store"):
        explore(stores="no-store.h5", say=quiet)


def test_text_corpus_without_speakers_labels_of_html_and_digests(tmp_path: Path) -> None:
    of = tuple(Utterance(id=f"{HOSTILE}{i}", text=f"{HOSTILE} {i}", label=(HOSTILE, "joy")[i % 2]) for i in range(30))
    rng = np.random.default_rng(0)
    data = {"bert": FeatureData(modality="text", arrays={u.id: rng.standard_normal((4, 5)) for u in of})}
    manifest = Manifest(corpus="texts", reader="t-1", utterances=of)
    write_store(tmp_path / "t.h5", manifest, data)
    found = explore(stores=tmp_path / "t.h5", out=tmp_path / "t.html", say=quiet)
    page = found.files[0].read_text()
    assert "No speaker is known" in page
    assert "Durations are unknown" in page
    assert "<img" not in page
    assert found.probes["bert"][1].reason == "no speaker is known"
    write_store(tmp_path / "d.h5", manifest.without_text(), data)
    digests = explore(stores=tmp_path / "d.h5", out=tmp_path / "d.html", say=quiet).files[0].read_text()
    assert "No sentence of 30 utterances has more than one label" in digests


def test_no_labels_one_speaker_and_no_features(tmp_path: Path) -> None:
    of = tuple(replace(u, label=None, speaker="s") for u in utterances())
    lines: list[str] = []
    data = {"x": FeatureData(modality="text", arrays={u.id: np.ones((2, 3), np.float32) * i for i, u in enumerate(of)})}
    page = (
        explore(stores=store(tmp_path / "s.h5", of, features=data), out=tmp_path / "s.html", say=lines.append)
        .files[0]
        .read_text()
    )
    assert "No utterance has a label" in page
    assert "cannot be said" in lines[0]
    one = tuple(replace(u, label="sad") for u in utterances())
    found = explore(stores=store(tmp_path / "o.h5", one), feature="bert", out=tmp_path / "o.html", say=quiet)
    assert found.probes["bert"][0].reason == "there is only one emotion"
    assert commands.run("store", ["rm", str(tmp_path / "s.h5"), "x"]).returncode == 0
    bare = explore(stores=tmp_path / "s.h5", out=tmp_path / "b.html", say=quiet)
    assert "The store has no features yet" in bare.files[0].read_text()


def test_two_stores_have_a_probe_of_the_corpus(tmp_path: Path) -> None:
    one, other = store(tmp_path / "a.h5", corpus="alpha"), store(tmp_path / "b.h5", corpus="beta")
    found = explore(stores=[one, other], feature="logmel", say=quiet)
    assert found.files == (tmp_path / "a+b-exploration.html",)
    assert [p.target for p in found.probes["logmel"]] == ["emotion", "speaker", "gender", "sentence", "corpus"]
    assert re.search(r'id="map-1-logmel-tsne', found.files[0].read_text())


def test_damaged_values_are_named(tmp_path: Path) -> None:
    path = store(tmp_path / "s.h5")
    from emofuse.store import FeatureStore

    with FeatureStore(path) as opened:
        offset = opened["bert"].values_offset
    content = bytearray(path.read_bytes())
    content[offset + 3] ^= 255
    path.write_bytes(content)
    done = commands.run("store", ["explore", str(path), "--feature", "bert"])
    assert done.returncode == 3
    assert "s1_u000" in done.stderr


def test_where_it_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("words")
    for format, out, expected in (
        ("html", tmp_path, "is a folder: pass a file, such as"),
        ("csv", tmp_path / "file", "is a file, expected a folder for the csv files"),
        ("html", tmp_path / "file" / "page.html", "cannot be written"),
    ):
        with pytest.raises(UsageError, match=expected):
            explore(stores=tmp_path / "absent.h5", format=format, out=out, say=quiet)


def test_maps_that_cannot_be_drawn_are_said_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="UMAP needs umap-learn"):
        explore(stores=tmp_path / "absent.h5", maps="umap", say=quiet)
    with pytest.raises(UsageError, match="expected tsne, umap or both"):
        explore(stores=tmp_path / "absent.h5", maps="tsn", say=quiet)
