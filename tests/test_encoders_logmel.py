"""Log-Mel filter banks against Kaldi's own code, and deltas and pooling against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emofuse.common.errors import UsageError
from emofuse.extract import audio
from emofuse.extract.encoders.logmel import LogMel, pool_mean
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

NAMES = ["logmel", "logmel-mcfn", "logmel-smcn"]


def build(name: str, corpus: str = "iemocap") -> LogMel:
    encoder = ENCODERS[name].build(EncoderOptions(corpus=corpus))
    assert isinstance(encoder, LogMel)
    return encoder


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def kaldi(waveform: np.ndarray, bands: int) -> np.ndarray:
    fbank = pytest.importorskip("kaldi_native_fbank")
    options = fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = 16000
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = bands
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = 8000.0
    options.use_energy = False
    computer = fbank.OnlineFbank(options)
    computer.accept_waveform(16000, (waveform * 32768).tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


@pytest.mark.parametrize("bands", [26, 40])
def test_static_bands_are_kaldis(bands: int, shared: Path) -> None:
    encoder = LogMel(bands=bands, deltas=False, pool=1)
    clips = [audio.load(p, 16000) for p in sorted((shared / "data/emodb/wav").glob("*.wav"))[:5]] + [noise(5000)]
    for waveform in clips:
        ours, reference = encoder.encode([waveform])[0], kaldi(waveform, bands)
        assert ours.shape == reference.shape
        assert np.abs(ours - reference).max() < 2e-3  # on values from 0 to 25; float32 FFTs differ


def _deltas(frames: np.ndarray) -> np.ndarray:
    """Regression over two frames to either side, edges repeated: HTK book eq. 5.16."""
    padded = np.pad(frames, ((2, 2), (0, 0)), mode="edge").astype(np.float64)
    size = len(frames)
    return sum(n * (padded[2 + n : 2 + n + size] - padded[2 - n : 2 - n + size]) for n in (1, 2)) / 10


@pytest.mark.parametrize("name", ["logmel", "logmel-smcn"])
def test_deltas_run_over_time_before_pooling(name: str) -> None:
    waveform = noise(9000) * np.linspace(0.1, 1, 9000, dtype=np.float32)
    static = LogMel(bands=26, deltas=False, pool=1).encode([waveform])[0]
    delta = _deltas(static)
    expected = pool_mean(np.concatenate([static, delta, _deltas(delta)], axis=1).astype(np.float32), 5)
    np.testing.assert_allclose(build(name).encode([waveform])[0], expected, atol=1e-4)


def test_louder_by_a_constant_factor_moves_the_static_bands_alone() -> None:
    waveform = noise(16000)
    soft, loud = build("logmel").encode([waveform, 0.5 * waveform])
    np.testing.assert_allclose(soft[:, :26] - loud[:, :26], 2 * np.log(2), atol=1e-3)
    np.testing.assert_allclose(soft[:, 26:], loud[:, 26:], atol=1e-3)


@pytest.mark.parametrize(("frames", "width"), [(1, 5), (4, 5), (5, 5), (6, 5), (11, 4), (12, 4), (7, 1)])
def test_the_last_pooling_window_averages_what_it_has(frames: int, width: int) -> None:
    values = noise(frames * 3).reshape(frames, 3)
    pooled = pool_mean(values, width)
    expected = [values[i : i + width].mean(axis=0) for i in range(0, frames, width)]
    np.testing.assert_allclose(pooled, np.stack(expected), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("corpus", ["iemocap", "meld", ""])
@pytest.mark.parametrize("samples", [1, 399, 400, 401, 559, 560, 1039, 1040, 1200, 1201, 16000, 80000])
def test_length_tells_what_encode_returns(name: str, corpus: str, samples: int) -> None:
    encoder = build(name, corpus)
    frames = encoder.encode([noise(samples)])[0]
    assert frames.shape == (encoder.length(samples), encoder.dimension)
    assert frames.dtype == np.float32
    assert np.isfinite(frames).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_does_not_matter_and_silence_is_finite(name: str) -> None:
    encoder = build(name)
    clips = [noise(5000, 1), noise(16000, 2), np.zeros(2000, dtype=np.float32)]
    for clip, batched in zip(clips, encoder.encode(clips), strict=True):
        np.testing.assert_array_equal(encoder.encode([clip])[0], batched)
        assert np.isfinite(batched).all()
    assert encoder.encode([]) == []


def test_the_papers_settings() -> None:
    smcn, meld, mcfn = build("logmel-smcn"), build("logmel-smcn", "meld"), build("logmel-mcfn")
    assert (smcn.dimension, smcn.frame_rate, smcn.sample_rate) == (78, 20.0, 16000)
    assert (meld.dimension, meld.frame_rate) == (78, 25.0)
    assert (mcfn.dimension, mcfn.frame_rate) == (40, 100.0)
    assert len(smcn.encode([noise(400000)])[0]) == 500  # SMCN: 500 frames are 25 s
    assert [ENCODERS[n].feature for n in NAMES] == ["logmel", "logmel-mcfn", "logmel"]
    identities = [e.identity() for e in (smcn, meld, mcfn)]
    assert identities[0] == build("logmel", "savee").identity()
    assert all(a != b for i, a in enumerate(identities) for b in identities[:i])


@pytest.mark.parametrize("name", NAMES)
def test_options_without_effect_are_refused_all_at_once(name: str) -> None:
    with pytest.raises(UsageError, match=r"(?s)weights was 'x'.*layers was '3'.*precision was 'bf16'"):
        ENCODERS[name].build(EncoderOptions(weights="x", layers="3", precision="bf16"))
