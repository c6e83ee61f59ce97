"""Log-Mel filter banks against Kaldi's own code and torchaudio's, deltas and pooling against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emofuse.common.errors import UsageError
from emofuse.extract.audio.clips import load
from emofuse.extract.audio.torchaudio_compat import import_torchaudio
from emofuse.extract.encoders.blocks import kaldi_fbank
from emofuse.extract.encoders.logmel import LogMel
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
    clips = [load(p, 16000) for p in sorted((shared / "data/emodb/wav").glob("*.wav"))[:5]] + [noise(5000)]
    for waveform in clips:
        ours, reference = encoder.encode([waveform])[0], kaldi(waveform, bands)
        assert ours.shape == reference.shape
        assert np.abs(ours - reference).max() < 2e-3  # on values from 0 to 25; float32 FFTs differ


def pool_mean(frames: np.ndarray, width: int) -> np.ndarray:
    return np.stack([frames[i : i + width].mean(axis=0, dtype=np.float64) for i in range(0, len(frames), width)])


def _torchaudios(waveform: np.ndarray, encoder: LogMel) -> np.ndarray:
    """One clip by the library's own functions."""
    torchaudio = import_torchaudio()
    import torch
    from torchaudio.compliance import kaldi

    filled = np.pad(waveform, (0, max(0, 400 - len(waveform))))
    settings = {name: value for name, value in encoder.identity()["fbank"].items() if name in kaldi_fbank.FBANK}
    frames = kaldi.fbank(torch.from_numpy(filled)[None] * 32768, num_mel_bins=encoder.bands, **settings)
    if encoder.deltas:
        delta = torchaudio.functional.compute_deltas(frames.T, win_length=5)
        frames = torch.cat([frames.T, delta, torchaudio.functional.compute_deltas(delta, win_length=5)]).T
    return pool_mean(frames.numpy(), encoder.pool)


def _hard() -> list[np.ndarray]:
    """Offsets that hide the signal, silence, pure tones, quantisation noise, rectangles."""
    tone = np.sin(0.05 * np.arange(16000), dtype=np.float32)
    clips = [0.6 + 1e-3 * noise(16000), np.full(9000, 0.5), np.zeros(5000), 0.9 * tone, np.sign(tone), 1e-20 * tone]
    return [c.astype(np.float32) for c in [*clips, np.round(30 * noise(16000)) / 32768]]


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_has_the_values_of_torchaudios_clip_by_clip(name: str, shared: Path) -> None:
    encoder = build(name)
    clips = [load(p, 16000) for p in sorted((shared / "data/emodb/wav").glob("*.wav"))[:5]]
    clips += [*_hard(), *(noise(n, n) for n in (1, 2, 399, 400, 560, 719, 720, 1201))]
    for clip, ours in zip(clips, encoder.encode(clips), strict=True):
        expected = _torchaudios(clip, encoder)
        assert ours.shape == expected.shape
        assert np.abs(ours - expected).max() <= 1e-6 * np.abs(expected).max()


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
    expected = pool_mean(np.concatenate([static, delta, _deltas(delta)], axis=1), 5)
    np.testing.assert_allclose(build(name).encode([waveform])[0], expected, atol=1e-4)


def test_louder_by_a_constant_factor_moves_the_static_bands_alone() -> None:
    waveform = noise(16000)
    soft, loud = build("logmel").encode([waveform, 0.5 * waveform])
    np.testing.assert_allclose(soft[:, :26] - loud[:, :26], 2 * np.log(2), atol=1e-3)
    np.testing.assert_allclose(soft[:, 26:], loud[:, 26:], atol=1e-3)


@pytest.mark.parametrize(("frames", "width"), [(1, 5), (4, 5), (5, 5), (6, 5), (11, 4), (12, 4), (7, 1)])
def test_the_last_pooling_window_averages_what_it_has(frames: int, width: int) -> None:
    waveform = noise(240 + 160 * frames)
    static = LogMel(bands=26, deltas=False, pool=1).encode([waveform])[0]
    pooled = LogMel(bands=26, deltas=False, pool=width).encode([noise(3000), waveform, noise(700)])[1]
    assert len(static) == frames
    np.testing.assert_allclose(pooled, pool_mean(static, width), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("corpus", ["iemocap", "meld", ""])
@pytest.mark.parametrize("samples", [0, 1, 399, 400, 401, 559, 560, 1039, 1040, 1200, 1201, 16000, 80000])
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


@pytest.mark.parametrize("name", NAMES)
def test_batch_and_order_change_no_bit(name: str) -> None:
    encoder = build(name)
    clips = [noise(n, n) for n in (1, 90000, 400, 401, 16000, 559, 560, 0, 41000, 2000, 719)]
    alone = [encoder.encode([clip])[0] for clip in clips]
    assert all(frames.base is None for frames in alone), "an utterance does not keep its batch in memory"
    for order in (np.arange(11), np.arange(11)[::-1], np.random.default_rng(0).permutation(11), np.array([4] * 9)):
        for i, frames in zip(order, encoder.encode([clips[i] for i in order]), strict=True):
            np.testing.assert_array_equal(frames, alone[i])


@pytest.mark.parametrize("name", NAMES)
def test_blocks_bound_what_is_transformed_at_once_and_change_no_value(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    encoder = build(name)
    clips = [noise(200_000, 1), noise(1000, 2), noise(30_000, 3)]
    whole = encoder.encode(clips)
    shapes, rfft = set(), torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda values: (shapes.add(tuple(values.shape)), rfft(values))[1])
    encoder.encode(clips)
    assert shapes == {(kaldi_fbank.BLOCK, 512)}
    monkeypatch.setattr(kaldi_fbank, "BLOCK", 7)
    for frames, expected in zip(encoder.encode(clips), whole, strict=True):
        np.testing.assert_allclose(frames, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


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
    reasons = (
        rf"(?s)encoder {name} has no weights: leave out --weights x.*encoder {name} has no layers: leave out --layers 3"
        rf".*encoder {name} computes in fp32 only: leave out --precision bf16"
    )
    with pytest.raises(UsageError, match=reasons):
        ENCODERS[name].build(EncoderOptions(weights="x", layers="3", precision="bf16"))
