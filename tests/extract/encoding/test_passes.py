"""Several encoders in one call, several views of one pass, and batches that do not fit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_speech_models as speech
from click.testing import CliRunner, Result
from extract_samples import OWN, corpus, limit_memory  # noqa: F401

from emofuse.extract.commands.extract import extract
from emofuse.extract.encoders import hf_audio
from emofuse.extract.encoding import reader
from emofuse.extract.plan import batching, budget
from emofuse.store import FeatureStore, FeatureWriter

HUBERT = ("--encoder", "hubert", "--weights", "hubert", "--dtype", "fp32", "--device", "cpu")


@pytest.fixture
def here(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.chdir(corpus)
    (corpus / "hubert").mkdir()
    speech.save(corpus / "hubert", "hubert")
    monkeypatch.setattr(batching, "MAX_PADDING", 1.0)  # these clips are all of different lengths
    return corpus


def run(*options: str) -> Result:
    return CliRunner().invoke(extract, [*OWN, *options, "--quiet"])


def values(store: str, feature: str) -> dict[str, np.ndarray]:
    with FeatureStore(store) as opened:
        stored = opened.feature(feature)
        return {id: stored.read([id]).values for id in stored.ids}


@pytest.mark.usefixtures("here")
def test_several_encoders_decode_each_clip_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: Counter[str] = Counter()
    load = reader.load

    def counting(path: Path, *rest: Any) -> Any:
        loads[path.name] += 1
        return load(path, *rest)

    monkeypatch.setattr(reader, "load", counting)
    # Budgets so small that the two plans differ, and each encoder has many batches.
    monkeypatch.setattr(budget, "DEFAULT_BUDGETS", {"cpu": {"audio": 3.0, "text": 40.0}})
    assert run(*HUBERT, "--encoder", "logmel", "--encoder", "hashed").exit_code == 0
    assert loads == dict.fromkeys((f"c{i}.wav" for i in range(8)), 1)
    together = {name: values("own.h5", name) for name in ("hubert", "logmel", "hashed")}
    Path("own.h5").unlink()
    for encoder, options in (("hubert", HUBERT), ("logmel", ("--encoder", "logmel", "--dtype", "fp32"))):
        assert run(*options).exit_code == 0
        apart = values("own.h5", encoder)
        assert all(np.array_equal(apart[id], together[encoder][id]) for id in apart)


@pytest.mark.usefixtures("here")
def test_one_pass_gives_several_views(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0
    begin = hf_audio.HfAudio.begin

    def counting(encoder: Any, items: Any) -> Any:
        nonlocal passes
        passes += len(items)
        return begin(encoder, items)

    monkeypatch.setattr(hf_audio.HfAudio, "begin", counting)
    done = run(*HUBERT, "--views", "frames,mean,statistics")
    assert done.exit_code == 0, done.output
    assert passes == 8
    with FeatureStore("own.h5") as store:
        recorded = {f.name: (f.view, f.layers, f.dimension, f.frame_rate) for f in store.features.values()}
    assert recorded == {
        "hubert": ("frames", (), 32, 50.0),
        "hubert-mean": ("mean", (0, 1, 2, 3), 32, None),
        "hubert-statistics": ("statistics", (), 128, None),
    }
    frames, mean, statistics = (values("own.h5", n) for n in ("hubert", "hubert-mean", "hubert-statistics"))
    assert run(*HUBERT, "--name", "alone").exit_code == 0
    assert run(*HUBERT, "--name", "deep", "--layers", "all").exit_code == 0
    alone, deep = values("own.h5", "alone"), values("own.h5", "deep")
    for id, array in frames.items():
        assert np.array_equal(array, alone[id])
        assert mean[id].shape == (1, 4, 32)
        np.testing.assert_allclose(mean[id][0], deep[id].mean(axis=0), rtol=1e-5, atol=1e-6)
        moments = np.concatenate([array.mean(0), array.std(0), array.min(0), array.max(0)])
        np.testing.assert_allclose(statistics[id][0], moments, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("here")
def test_a_linear_head_over_layers_needs_the_means_alone() -> None:
    import torch

    assert run(*HUBERT, "--layers", "all", "--views", "frames,mean").exit_code == 0
    frames, mean = values("own.h5", "hubert"), values("own.h5", "hubert-mean")
    torch.manual_seed(0)
    weights, head = torch.softmax(torch.randn(4, dtype=torch.float64), 0), torch.nn.Linear(32, 4).double()
    for id, array in frames.items():
        mixed = torch.einsum("l,tld->td", weights, torch.from_numpy(array).double())
        from_means = head(torch.einsum("l,ld->d", weights, torch.from_numpy(mean[id][0]).double()))
        torch.testing.assert_close(from_means, head(mixed).mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("here")
def test_views_of_an_encoder_without_layers() -> None:
    assert run("--encoder", "logmel", "--dtype", "fp32", "--views", "mean, frames").exit_code == 0
    frames, mean = values("own.h5", "logmel"), values("own.h5", "logmel-mean")
    assert all(np.allclose(mean[id], frames[id].mean(0), rtol=1e-5, atol=1e-5) for id in frames)
    wrong = run("--encoder", "logmel", "--views", "mean,median")
    assert wrong.exit_code == 2
    assert "median" in wrong.output
    assert "statistics" in wrong.output


def budget_of(store: str) -> float:
    with FeatureStore(store) as opened:
        return float(opened.feature("hubert").provenance["batch_budget"])


@pytest.mark.usefixtures("here")
def test_a_batch_that_does_not_fit_is_halved_and_the_budget_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "DEFAULT_BUDGETS", {"cpu": {"audio": 16.0, "text": 40.0}})
    assert run(*HUBERT, "--store", "wide.h5").exit_code == 0
    with monkeypatch.context() as patched:
        sizes = limit_memory(patched, 5 * 16000)
        done = run(*HUBERT)
        assert done.exit_code == 0, done.output
        assert "batches of 16 s of audio do not fit in memory; continuing with 8" in done.output
        assert "continuing with 4" in done.output
        assert sizes[:2] == [8, 4]
    assert (budget_of("wide.h5"), budget_of("own.h5")) == (16.0, 4.0)
    wide, own = values("wide.h5", "hubert"), values("own.h5", "hubert")
    assert wide.keys() == own.keys()
    for id, array in own.items():
        assert np.abs(array - wide[id]).max() <= 1e-5 * np.abs(wide[id]).max()
    # One more utterance, with enough memory: the budget stays the same.
    row = "c8,c0.wav,one more,sad,s0,0\n"
    with Path("own/own.csv").open("a") as file:
        file.write(row)
    assert run(*HUBERT).exit_code == 0
    assert budget_of("own.h5") == 4.0
    assert run(*HUBERT, "--name", "other", "--budget", "2.5").exit_code == 0
    with FeatureStore("own.h5") as store:
        assert store.feature("other").provenance["batch_budget"] == 2.5


@pytest.mark.usefixtures("here")
def test_memory_that_runs_out_while_values_are_fetched_halves_the_budget_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "DEFAULT_BUDGETS", {"cpu": {"audio": 16.0, "text": 40.0}})
    with monkeypatch.context() as patched:
        limit_memory(patched, 5 * 16000, late=True)
        done = run(*HUBERT)
    assert done.exit_code == 0, done.output
    assert "continuing with 4" in done.output
    assert budget_of("own.h5") == 4.0
    assert len(values("own.h5", "hubert")) == 8


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("late", [False, True])
def test_an_utterance_that_does_not_fit_alone_is_listed_and_the_rest_is_written(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_memory(monkeypatch, int(1.7 * 16000), late=late)  # the longest clip has 1.8 s
    done = run(*HUBERT)
    assert done.exit_code == 1
    assert "c7: audio: does not fit in the memory of cpu" in done.output
    assert len(values("own.h5", "hubert")) == 7


@pytest.mark.usefixtures("here")
def test_features_of_one_pass_keep_the_budgets_that_they_were_started_with() -> None:
    assert run(*HUBERT, "--budget", "2.5").exit_code == 0
    assert run(*HUBERT, "--views", "mean", "--budget", "4").exit_code == 0
    with Path("own/own.csv").open("a") as file:
        file.write("c8,c0.wav,one more,sad,s0,0\n")
    done = run(*HUBERT, "--views", "frames,mean,statistics")
    assert done.exit_code == 0, done.output
    with FeatureStore("own.h5") as store:
        recorded = {f.name: f.provenance["batch_budget"] for f in store.features.values()}
    assert recorded == {"hubert": 2.5, "hubert-mean": 4.0, "hubert-statistics": 2.5}


@pytest.mark.usefixtures("here")
def test_another_budget_for_a_started_feature_is_noted() -> None:
    assert run(*HUBERT, "--budget", "2.5").exit_code == 0
    with Path("own/own.csv").open("a") as file:
        file.write("c8,c0.wav,one more,sad,s0,0\n")
    done = run(*HUBERT, "--budget", "4")
    assert done.exit_code == 0, done.output
    assert (
        "hubert was started with batches of 2.5; its missing utterances are encoded in batches of 4, as requested"
        in done.output
    )
    assert "was started" not in run(*HUBERT, "--budget", "8").output, "nothing is missing"


@pytest.mark.usefixtures("here")
def test_an_interrupted_feature_keeps_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    put, left = FeatureWriter.put, 3

    def stopping(writer: FeatureWriter, *utterance: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        put(writer, *utterance)

    monkeypatch.setattr(FeatureWriter, "put", stopping)
    assert run(*HUBERT, "--budget", "2").exit_code == 130
    assert run(*HUBERT).exit_code == 0
    assert budget_of("own.h5") == 2.0


@pytest.mark.usefixtures("here")
def test_a_clip_that_never_fits_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_memory(monkeypatch, int(1.7 * 16000))
    done = run(*HUBERT, "--encoder", "logmel")
    assert done.exit_code == 1
    assert "c7: audio: does not fit in the memory of cpu" in done.output
    with FeatureStore("own.h5") as store:
        assert len(store.feature("hubert").ids) == 7
        assert len(store.feature("logmel").ids) == 8


@pytest.mark.usefixtures("here")
def test_an_error_while_writing_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from emofuse.common.errors import DataError

    def full(*_: Any) -> None:
        raise DataError("no room in this test")

    with monkeypatch.context() as patched:
        patched.setattr(FeatureWriter, "put", full)
        done = run(*HUBERT, "--budget", "1")
        assert done.exit_code == 3
        assert "no room in this test" in done.output
    assert not Path("own.h5").exists()
    assert run(*HUBERT).exit_code == 0
    assert len(values("own.h5", "hubert")) == 8


@pytest.mark.usefixtures("here")
def test_the_difference_of_bf16_is_measured_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    from emofuse.extract.plan import compute_precision

    monkeypatch.setattr(compute_precision, "_MEASURED", {})
    done = run(*HUBERT, "--precision", "bf16", "--views", "frames,mean")
    assert done.exit_code == 0, done.output
    assert "hubert: bf16 differs from fp32 by at most" in done.output
    assert run(*HUBERT, "--name", "exact").exit_code == 0
    with FeatureStore("own.h5") as store:
        difference = store.feature("hubert").provenance["precision_difference"]
        assert store.feature("hubert-mean").provenance["precision_difference"] == difference
        assert "precision_difference" not in store.feature("exact").provenance
    reduced, exact = values("own.h5", "hubert"), values("own.h5", "exact")
    apart = [np.abs(reduced[id] - exact[id]).max() / np.abs(exact[id]).max() for id in exact]
    assert difference["utterances"] == 8
    assert 1e-4 < difference["largest"] < 0.2
    assert max(apart) == pytest.approx(difference["largest"], rel=0.5)
    with Path("own/own.csv").open("a") as file:
        file.write("c8,c0.wav,one more,sad,s0,0\n")
    assert "differs from fp32" not in run(*HUBERT, "--precision", "bf16").output
    with FeatureStore("own.h5") as store:
        assert store.feature("hubert").provenance["precision_difference"] == difference
