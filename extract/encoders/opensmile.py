"""openSMILE's hand-made voice features, by audEERING's package: what paralinguistic challenges start from.

`egemaps` (88) and `compare2016` (6373) are functionals: one frame, statistics over the whole clip. `egemaps-lld` (25)
and `compare2016-lld` (65) are the low-level descriptors behind them, every 10 ms in windows of 60 ms. A clip shorter
than such a window is zero-padded to it. No weights are needed. The package's licence allows research and education;
commercial use needs a licence of audEERING.

Papers: Eyben et al. 2016 (eGeMAPS v02), https://doi.org/10.1109/TAFFC.2015.2457417; Schuller et al. 2016 (ComParE),
https://doi.org/10.21437/Interspeech.2016-129
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import (
    ENCODERS,
    Array,
    EncoderDefaults,
    EncoderOptions,
    EncoderSpec,
    Modality,
    refuse_pretrained_options,
)

SAMPLE_RATE = 16000
"""Hz."""
WINDOW, SHIFT = 960, 160
"""Samples: the longest window (60 ms) and the step between windows (10 ms)."""
LICENCE = "openSMILE: free for research and education; commercial use needs a licence of audEERING"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSmile(EncoderDefaults):
    """One feature set of openSMILE at one level."""

    name: str
    feature_set: str
    """As the package names it."""
    functionals: bool
    """Whether one frame sums up the clip; else a frame every 10 ms."""
    dimension: int
    """The number of features."""
    smile: Any
    """The package's extractor."""

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def layers(self) -> tuple[int, ...]:
        """No layer axis."""
        return ()

    @property
    def frame_rate(self) -> float | None:
        """100 frames per second; None for functionals."""
        return None if self.functionals else SAMPLE_RATE / SHIFT

    @property
    def sample_rate(self) -> int:
        """16000 Hz."""
        return SAMPLE_RATE

    def identity(self) -> dict[str, Any]:
        """The feature set, its level, the package's version and licence, and the rule for short clips.

        The licence changes no value; it stands here because the fingerprint goes wherever the values go.
        """
        return {
            "encoder": self.name,
            "version": 1,
            "feature_set": self.feature_set,
            "level": "functionals" if self.functionals else "low-level descriptors",
            "opensmile": version("opensmile"),
            "licence": LICENCE,
            "short_clips": f"zeros up to {WINDOW} samples",
            "precision": "fp32",
        }

    def provenance(self) -> dict[str, Any]:
        """The version of the package; nothing is learned."""
        return {"libraries": {"opensmile": version("opensmile")}, "pretrained_on": None, "fitted_on": []}

    def length(self, item: int | str) -> int:
        """1 for functionals, else the number of frames of a waveform of `item` samples at 16 kHz."""
        return 1 if self.functionals else (max(cast(int, item), WINDOW) - WINDOW) // SHIFT + 2

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] per waveform [samples at 16 kHz, -1..1]."""
        padded = (np.pad(cast(Array, item), (0, max(0, WINDOW - len(item)))) for item in items)
        found = (self.smile.process_signal(waveform, SAMPLE_RATE) for waveform in padded)
        return [np.array(frames.to_numpy(), np.float32) for frames in found]


def _build(options: EncoderOptions, *, name: str, feature_set: str, functionals: bool, dimension: int) -> OpenSmile:
    refuse_pretrained_options(name, options)
    if importlib.util.find_spec("opensmile") is None:
        raise UsageError(f"encoder {name} needs the package opensmile: pip install 'emofuse[opensmile]' ({LICENCE})")
    import opensmile

    level = "Functionals" if functionals else "LowLevelDescriptors"
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set], feature_level=opensmile.FeatureLevel[level], num_workers=1
    )
    return OpenSmile(name=name, feature_set=feature_set, functionals=functionals, dimension=dimension, smile=smile)


for _name, _set, _functionals, _dimension, _about in (
    ("egemaps", "eGeMAPSv02", True, 88, "eGeMAPS: 88 functionals of a clip"),
    ("egemaps-lld", "eGeMAPSv02", False, 25, "eGeMAPS: 25 low-level descriptors every 10 ms"),
    ("compare2016", "ComParE_2016", True, 6373, "ComParE 2016: 6373 functionals of a clip"),
    ("compare2016-lld", "ComParE_2016", False, 65, "ComParE 2016: 65 low-level descriptors every 10 ms"),
):
    ENCODERS.add(
        _name,
        _about,
        EncoderSpec(
            modality="audio",
            feature=_name,
            pretrained=False,
            stored_as="fp32" if _functionals else "fp16",  # some functionals are far beyond what fp16 holds
            build=partial(_build, name=_name, feature_set=_set, functionals=_functionals, dimension=_dimension),
        ),
    )
