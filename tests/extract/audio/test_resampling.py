"""Resampling: exact lengths, torchaudio's values, and filters of bounded size."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from emofuse.extract.audio import resampling
from emofuse.extract.audio.decoding import AudioError
from emofuse.extract.audio.resampling import resample, resampled_length
from emofuse.extract.audio.torchaudio_compat import import_torchaudio


@pytest.mark.parametrize(
    ("samples", "old"), [(1, 44100), (441, 44100), (442, 44100), (14_640_001, 48000), (50_000_001, 44100)]
)
def test_lengths_are_exact_however_long_the_clip(samples: int, old: int) -> None:
    assert resampled_length(samples, old, 16000) == -(-Fraction(samples * 16000, old) // 1)


def test_a_long_clip_is_not_one_sample_short() -> None:
    # 6_300_001 samples at 48 kHz are 2_100_000 1/3 at 16 kHz, which float32 rounds down.
    assert len(resample(np.zeros(6_300_001, dtype=np.float32), 48000, 16000)) == 2_100_001


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000, 384000])
@pytest.mark.parametrize("samples", [1, 100, 5000, 32767, 32768, 100_003])
def test_resampling_is_torchaudios(rate: int, samples: int) -> None:
    torchaudio = import_torchaudio()
    import torch

    waveform = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    padded = torch.from_numpy(np.pad(waveform, (0, 2 * rate // math.gcd(rate, 16000))))
    expected = torchaudio.functional.resample(padded, rate, 16000, **resampling.KAISER_BEST).numpy()
    ours = resample(waveform, rate, 16000)
    assert len(ours) == resampled_length(samples, rate, 16000)
    expected = expected[: len(ours)]
    if samples < resampling._LONG_CLIP:
        np.testing.assert_array_equal(ours, expected)
    else:  # The same bits with AVX2 and AVX-512; kernels for older processors may add in another order.
        assert np.abs(ours - expected).max() <= 3e-6 * np.abs(expected).max()


def test_filters_are_computed_once_and_stay_small_at_extreme_rates() -> None:
    resampling._filters.cache_clear()
    for samples in (40_000, 50_000, 60_000):
        resample(np.zeros(samples, dtype=np.float32), 48000, 16000)
    assert resampling._filters.cache_info().misses == 1
    resample(np.zeros(40_000, dtype=np.float32), 16_000_000, 16000)
    assert resampling._filters(1000, 1, 1)[0].shape[0] == 1
    assert resampling._filters.cache_info().misses == 2, "the one that the long clip took"


@pytest.mark.parametrize("rate", [11025, 44100, 48000, 15000])
@pytest.mark.parametrize("samples", [1, 100, 5000, 40_001])
def test_sample_by_sample_gives_what_blocks_give(rate: int, samples: int) -> None:
    waveform = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    factor = math.gcd(rate, 16000)
    one_by_one = resampling._resample_by_sample(waveform, rate // factor, 16000 // factor)
    blocks = resample(waveform, rate, 16000)
    assert len(one_by_one) == len(blocks)
    # torchaudio computes its filters in float32.
    assert np.abs(one_by_one - blocks).max() <= 3e-5 * np.abs(waveform).max()


@pytest.mark.parametrize("rate", [24414, 15999])  # 24414 Hz is TESS
def test_a_tone_survives_rates_with_hardly_a_common_factor(rate: int) -> None:
    seconds = np.arange(rate) / rate
    ours = resample(np.sin(2 * np.pi * 1000 * seconds).astype(np.float32), rate, 16000)
    assert len(ours) == 16000
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert np.abs(ours - expected)[200:-200].max() < 1e-4


def test_a_rate_whose_filters_would_not_fit_in_memory_is_refused() -> None:
    with pytest.raises(AudioError, match="15999999 Hz, which cannot be resampled"):
        resample(np.zeros(100, dtype=np.float32), 15_999_999, 16000)
