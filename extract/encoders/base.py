"""What every encoder is: the contract between the encoders and the one extraction loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import complain
from emofuse.common.registry import Registry

Modality = Literal["audio", "text"]
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderOptions:
    """What a user may choose about an encoder."""

    corpus: str = ""
    """Name of the corpus, where a paper's settings depend on it."""
    weights: str | None = None
    """A local folder or file, or `ORG/NAME[@revision]` in the hub's cache; none: the encoder's own default."""
    layers: str = "last"
    """`last`, `all`, `mean` (over all) or numbers such as `6,9,12`; 0 is the input of the first transformer layer."""
    device: str = "cpu"
    precision: str = "fp32"
    """What the encoder computes in: fp32, bf16 or fp16."""
    compile: bool = False
    """Whether a transformer's layers go through `torch.compile`."""


class Encoder(Protocol):
    """A frozen encoder, ready to run.

    Features never depend on the batch: an utterance alone and the same one among strangers give the same array (fp32:
    max|difference| / max|value| at most 1e-5), and padding is never returned.
    """

    @property
    def modality(self) -> Modality:
        """What it reads: waveforms or texts."""

    @property
    def dimension(self) -> int:
        """D, the width of a frame."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers along the layer axis; empty where frames have none (one layer, or a mean over layers)."""

    @property
    def frame_rate(self) -> float | None:
        """Frames per second; none for text."""

    @property
    def sample_rate(self) -> int | None:
        """Hz of the waveforms it wants (mono, float32 in -1..1); none for text."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes the output, JSON-ready; compared as the feature's fingerprint."""

    def provenance(self) -> dict[str, Any]:
        """What is recorded but not compared: library versions, revision, what it was pre-trained or fitted on."""

    def length(self, item: int | str) -> int:
        """T, the number of frames that `encode` will return: from samples at `sample_rate` (audio) or from a text."""

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One float32 array [T_i, D], or [T_i, L, D] where `layers` is not empty, per waveform [samples] or text.

        An encoder may also have `begin(items)`, which sets a GPU to work and returns a function that waits for these
        arrays; the loop then goes on to the next batch, and another thread waits.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """A registered encoder: what it reads, what its feature is called by default, and how to build it."""

    modality: Modality
    feature: str
    pretrained: bool
    """Whether it has weights, and with them a choice of layers and of precision; others refuse such options."""
    build: Callable[[EncoderOptions], Encoder]
    tunable: bool = False
    """Whether `finetune` can fit its weights further: what it builds has a method `tuning`."""


def refuse_pretrained_options(encoder: str, options: EncoderOptions) -> None:
    """Refuse the options that an encoder without weights cannot honour.

    Raises:
        UsageError: Weights, layers or another precision than fp32 was asked for; names every one.
    """
    problems = [
        f"{option} was {value!r}, but {encoder} has {lack}"
        for option, value, default, lack in (
            ("weights", options.weights, None, "no weights"),
            ("layers", options.layers, "last", "no layers"),
            ("precision", options.precision, "fp32", "fp32 alone"),
            ("compile", options.compile, False, "nothing to compile"),
        )
        if value != default
    ]
    complain(problems, f"encoder {encoder} takes no such option")


ENCODERS: Registry[EncoderSpec] = Registry("encoder", "emofuse.encoders", EncoderSpec)
