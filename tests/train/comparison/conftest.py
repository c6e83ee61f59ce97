"""Real small runs that the tests of `compare` share."""

from __future__ import annotations

from pathlib import Path

import pytest
import train_samples as samples
from train_samples import config, quietly

from emofuse.store import FeatureData


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs by session with two speakers each: a concat of one seed, audio and text of two, linear on two features."""
    folder = tmp_path_factory.mktemp("compare")
    frames = {
        "logmel": samples.frames(samples.utterances(), 0),
        "rough": samples.frames(samples.utterances(), 0, seed=1),
    }
    features = {
        name: FeatureData(modality="audio", arrays=arrays, encoder="logmel-smcn", frame_rate=20.0)
        for name, arrays in frames.items()
    }
    features["bert"] = FeatureData(
        modality="text", arrays=samples.frames(samples.utterances(), 1, dimension=5), encoder="bert"
    )
    samples.store(folder / "tiny.h5", features=features)
    samples.protocol_file(folder)
    quietly(config(folder, "concat", steps=40, report=True))
    quietly(config(folder, "audio", "audio", seeds=2, steps=10))
    quietly(config(folder, "text", "text", seeds=2, steps=10))
    for name, feature, lr in (("logmel", "logmel", 0.03), ("rough", "rough", 0.03), ("slow", "logmel", 0.001)):
        settings = {"lr": lr, "batch": 16}
        quietly(config(folder, f"linear-{name}", "linear", audio=feature, text="bert", steps=4, settings=settings))
    return folder
