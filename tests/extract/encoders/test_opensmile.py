"""openSMILE's feature sets: their sizes, their frames, and short or silent clips."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

opensmile = pytest.importorskip("opensmile")
SETS = {"egemaps": 88, "egemaps-lld": 25, "compare2016": 6373, "compare2016-lld": 65}


def speech(samples: int, pitch: float = 150.0) -> np.ndarray:
    """A buzz with formants that comes and goes."""
    time = np.arange(samples) / 16000
    buzz = sum(np.sin(2 * np.pi * pitch * n * time) / n for n in range(1, 20))
    return (0.2 * buzz * (0.6 + 0.4 * np.sin(5 * time))).astype(np.float32)


@pytest.fixture(scope="module", params=SETS)
def encoder(request: pytest.FixtureRequest) -> Any:
    return ENCODERS[request.param].build(EncoderOptions())


def test_every_length_gives_the_frames_that_are_announced(encoder: Any) -> None:
    clips = [speech(samples) for samples in (1, 500, 959, 960, 961, 1119, 1120, 4000, 16001)]
    for clip, frames in zip(clips, encoder.encode(clips), strict=True):
        assert frames.shape == (encoder.length(len(clip)), encoder.dimension)
        assert frames.dtype == np.float32
        assert np.isfinite(frames).all()
        np.testing.assert_array_equal(frames, encoder.encode([clip])[0])
    assert np.isfinite(encoder.encode([np.zeros(8000, np.float32)])[0]).all()
    assert encoder.dimension == SETS[encoder.name]


def test_the_values_are_those_of_the_package() -> None:
    clip, found = speech(16000), ENCODERS["egemaps"].build(EncoderOptions()).encode([speech(16000)])[0][0]
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    wanted = smile.process_signal(clip, 16000)
    np.testing.assert_array_equal(found, wanted.to_numpy()[0])
    # 150 Hz lies 29.37 semitones above 27.5 Hz.
    assert found[list(smile.feature_names).index("F0semitoneFrom27.5Hz_sma3nz_amean")] == pytest.approx(29.37, abs=0.2)


def test_what_a_store_records(encoder: Any) -> None:
    assert encoder.frame_rate == (100.0 if encoder.name.endswith("-lld") else None)
    assert encoder.identity()["opensmile"] == opensmile.__version__
    assert "commercial use needs a licence" in encoder.identity()["licence"]
    wide = ENCODERS[encoder.name].stored_as
    assert wide == ("fp16" if encoder.name.endswith("-lld") else "fp32")


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs the package opensmile: pip install 'emofuse\[opensmile\]'"):
        ENCODERS["egemaps"].build(EncoderOptions())
    with pytest.raises(UsageError, match="egemaps has no weights"):
        ENCODERS["egemaps"].build(EncoderOptions(weights="x"))
