"""The views `last` and `pooled` of a text encoder, from the command line; the model is tiny and has RANDOM weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extract_samples import OWN, corpus, extract
from tiny_text_models import declare_pooling, save

from emofuse.store import FeatureStore

__all__ = ["corpus"]
BERT = ("--encoder", "bert", "--weights", "bert", "--dtype", "fp32", "--quiet", "--device", "cpu")


@pytest.fixture
def here(corpus: Path) -> Path:
    folder = save(corpus / "bert", "bert")
    declare_pooling(folder, {"pooling_mode": "mean"}, "Dense", "Normalize")
    return corpus


def run(folder: Path, *options: str) -> Any:
    done = extract(folder, *OWN, *BERT, *options)
    assert done.returncode == 0, done.stderr
    return done


def test_views_of_a_text_encoder_are_features_of_one_call(here: Path) -> None:
    run(here, "--layers", "1,2", "--views", "frames,mean,last,pooled")
    with FeatureStore(here / "own.h5") as store:
        recorded = {f.name: (f.view, f.layers, f.dimension) for f in store.features.values()}
        frames, last, pooled = (store["bert"], store["bert-last"], store["bert-pooled"])
        for id in store.manifest.ids:
            assert np.array_equal(last[id], frames[id][-1:])
            assert pooled[id].shape == (1, 20)
            assert np.linalg.norm(pooled[id]) == pytest.approx(1, abs=1e-5)
        assert store.feature("bert-pooled").fingerprint["pooling"][0] == "mean"
    assert recorded == {
        "bert": ("frames", (1, 2), 32),
        "bert-mean": ("mean", (0, 1, 2, 3), 32),
        "bert-last": ("last", (1, 2), 32),
        "bert-pooled": ("pooled", (), 20),
    }
    # Made with another choice of layers, the pooled vector is the same feature.
    assert "nothing to do" in run(here, "--views", "pooled").stdout
    assert "Traceback" not in run(here, "--views", "pooled", "--name", "half", "--precision", "bf16").stderr


def test_an_encoder_without_a_pooling_is_refused(here: Path) -> None:
    done = extract(here, *OWN, "--encoder", "hashed", "--views", "frames,pooled", "--quiet")
    assert done.returncode == 2
    assert "encoder hashed has no pooling of its own; valid views for it: frames, mean, last, statistics" in done.stderr
    (here / "bert" / "modules.json").unlink()
    done = extract(here, *OWN, *BERT, "--views", "pooled")
    assert done.returncode == 2
    assert "declares no pooling" in done.stderr
    assert not (here / "own.h5").exists()


def test_a_model_too_large_for_fp32_is_not_compared_with_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emofuse.extract.plan.compute_precision.free_memory", lambda: 1000.0)
    done = run(here, "--views", "frames,pooled", "--precision", "bf16")
    assert "how bf16 differs from fp32 is not measured: the weights in fp32 need" in done.stderr
    with FeatureStore(here / "own.h5") as store:
        for name in ("bert", "bert-pooled"):
            assert "does not have free" in store.feature(name).provenance["precision_difference"]["not_measured"]
