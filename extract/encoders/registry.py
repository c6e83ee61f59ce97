"""All encoders, registered by an explicit list of modules."""

from __future__ import annotations

from emofuse.extract.encoders import (
    beats,
    clap,
    emotion2vec,
    hashed,
    hf_audio,
    hf_text,
    logmel,
    opensmile,
    prosody,
    trill,
    vggish,
    whisper,
    yamnet,
)
from emofuse.extract.encoders.base import ENCODERS, Encoder, EncoderOptions, EncoderSpec

__all__ = ["ENCODERS", "FAMILIES", "Encoder", "EncoderOptions", "EncoderSpec"]

FAMILIES = (
    logmel,
    opensmile,
    prosody,
    hf_audio,
    emotion2vec,
    beats,
    clap,
    whisper,
    yamnet,
    vggish,
    trill,
    hf_text,
    hashed,
)
"""The modules that fill `ENCODERS` when they are imported."""
