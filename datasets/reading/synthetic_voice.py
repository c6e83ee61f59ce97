"""A small formant synthesiser in numpy, for the speech-like audio of the synthetic corpus.

A glottal pulse train (KLGLOTT88: Klatt and Klatt 1990) with jitter and breath noise goes through a cascade of four
second-order resonators that move between vowels (Klatt 1980). High arousal means a higher and livelier pitch, more
level, a flatter spectrum and a faster tempo; irony means a drawn-out, nasal last syllable whose pitch dips and rises.
There are no words: the syllables are random and independent of the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16000
STEP = 80
"""Samples between two updates of the resonators (5 ms)."""
BATCH = 160
"""Utterances that are filtered in parallel."""

# F1..F4 in Hz of a e i o u of male speakers (Peterson and Barney 1952), and of a nasal murmur
VOWELS = np.array(
    [
        [730, 1090, 2440, 3400],
        [530, 1840, 2480, 3500],
        [270, 2290, 3010, 3600],
        [570, 840, 2410, 3300],
        [300, 870, 2240, 3300],
    ],
    dtype=np.float64,
)
NASAL = np.array([280, 1100, 2150, 3000], dtype=np.float64)
BANDWIDTHS = np.array([70, 100, 140, 220], dtype=np.float64)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How one utterance is spoken."""

    pitch: float
    """The speaker's usual pitch in Hz."""
    tract: float
    """Formant frequencies relative to those of male speakers."""
    high: bool
    """High arousal."""
    ironic: bool
    noise_db: float
    """Level of the room noise in dB relative to full scale."""
    seed: tuple[int, ...]


def speak(deliveries: Sequence[Delivery]) -> list[NDArray[np.int16]]:
    """One 16 kHz mono clip [samples] per delivery, 0.8 to 1.8 s long, independent of the other clips."""
    clips: list[NDArray[np.int16]] = []
    for first in range(0, len(deliveries), BATCH):
        batch = deliveries[first : first + BATCH]
        sources, formants = zip(*(_articulate(d, np.random.default_rng(d.seed)) for d in batch), strict=True)
        voiced = _resonate(sources, formants)
        clips += [_record(v, d) for v, d in zip(voiced, batch, strict=True)]
    return clips


def _articulate(how: Delivery, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The excitation [samples] and the formants [steps, 4] of one utterance."""
    syllables = int(rng.integers(5, 8))
    last = 2.2 if how.ironic else 1.3
    lengths = rng.uniform(0.85, 1.15, syllables)
    lengths[-1] *= last
    rate = (6.2 if how.high else 4.7) * rng.lognormal(0, 0.04)
    seconds = float(np.clip(lengths.sum() / rate, 0.8, 1.8))
    steps = round(seconds * SAMPLE_RATE / STEP)
    at = np.linspace(0, 1, steps)
    edges = np.concatenate([[0], np.cumsum(lengths) / lengths.sum()])
    syllable = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, syllables - 1)
    within = np.clip((at - edges[syllable]) / np.diff(edges)[syllable], 0, 1)
    ending = np.where(syllable == syllables - 1, within, 0.0)

    # pitch in semitones relative to the speaker's usual one
    range_ = 3.0 if how.high else 1.0
    accents = range_ * rng.uniform(0.3, 1.0, syllables)
    pitch = (5.0 if how.high else -1.0) + rng.normal(0, 0.7) - 2.5 * at + accents[syllable] * np.sin(np.pi * within)
    pitch += -4 * np.sin(np.pi * ending) + 9 * ending**2 if how.ironic else -3 * ending
    pitch += rng.normal(0, 0.15, steps)

    centres = (edges[:-1] + edges[1:]) / 2
    targets = VOWELS[rng.integers(0, len(VOWELS), syllables)]
    formants = np.stack([np.interp(at, centres, targets[:, k]) for k in range(4)], axis=1)
    if how.ironic:
        nasal = np.clip(2 * ending, 0, 1)[:, None]
        formants = (1 - nasal) * formants + nasal * NASAL
    envelope = 0.12 + 0.88 * np.sin(np.pi * within) ** 0.7

    samples = np.arange(steps * STEP)
    grid = np.arange(steps) * STEP
    hertz = np.interp(samples, grid, how.pitch * 2 ** (pitch / 12))
    phase = (np.cumsum(hertz) / SAMPLE_RATE + rng.uniform()) % 1 / 0.6
    flow = np.where(phase < 1, 2 * phase - 3 * phase**2, 0.0)
    source = (flow + 0.03 * rng.standard_normal(len(samples))) * np.interp(samples, grid, envelope)
    return _low_pass(source, 3000.0 if how.high else 900.0), formants * how.tract


def _low_pass(source: Floats, cutoff: float) -> Floats:
    """The excitation with the spectral tilt of vocal effort: a one-pole low pass at `cutoff` Hz."""
    keep = np.exp(-2 * np.pi * cutoff / SAMPLE_RATE)
    response = (1 - keep) * keep ** np.arange(64)
    return np.convolve(source, response)[: len(source)]


def _resonate(sources: Sequence[Floats], formants: Sequence[Floats]) -> list[Floats]:
    """Filter utterances in parallel, in one loop over samples.

    Each resonator takes the previous sample of the one before it, so that all four advance in one operation; the
    cascade is three samples late, and otherwise exact.
    """
    steps, width = max(len(f) for f in formants), len(sources)
    excitation = np.zeros((steps * STEP, width))
    tracks = np.empty((steps, 4, width))
    for n, (source, track) in enumerate(zip(sources, formants, strict=True)):
        excitation[: len(source), n] = source
        tracks[:, :, n] = np.pad(track, ((0, steps - len(track)), (0, 0)), mode="edge")
    radius = np.exp(-np.pi * BANDWIDTHS / SAMPLE_RATE)[:, None]
    b = 2 * radius * np.cos(2 * np.pi * tracks / SAMPLE_RATE)
    c = np.broadcast_to(-(radius**2), (4, width))
    a = 1 - b - c
    # rows 1..4 of `now` hold the resonators' outputs, row 0 the excitation
    now, before, scratch = np.zeros((5, width)), np.zeros((4, width)), np.empty((4, width))
    fresh = np.empty((4, width))
    out = np.empty_like(excitation)
    for t in range(len(excitation)):
        k = t // STEP
        now[0] = excitation[t]
        np.multiply(a[k], now[:4], out=fresh)
        np.multiply(b[k], now[1:], out=scratch)
        fresh += scratch
        np.multiply(c, before, out=scratch)
        fresh += scratch
        before[:] = now[1:]
        now[1:] = fresh
        out[t] = fresh[3]
    return [out[: len(source), n] for n, source in enumerate(sources)]


def _record(voiced: Floats, how: Delivery) -> NDArray[np.int16]:
    """The clip at its level, with room noise, as 16-bit samples."""
    rng = np.random.default_rng((*how.seed, 1))
    level = (-19.0 if how.high else -27.0) + rng.normal(0, 1.5)
    clip = voiced * 10 ** (level / 20) / np.sqrt(np.mean(voiced**2))
    clip = clip + 10 ** (how.noise_db / 20) * rng.standard_normal(len(clip))
    samples: NDArray[np.int16] = np.round(np.clip(clip, -1, 1) * 32767).astype(np.int16)
    return samples
