"""The contract between the encoders and the extraction loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from emofuse.common.problems import Problems
from emofuse.common.registry import Registry
from emofuse.extract.encoders.weights.locate import WeightsSource
from emofuse.manifests.schema import Modality

__all__ = [
    "ENCODERS",
    "Array",
    "Encoder",
    "EncoderDefaults",
    "EncoderOptions",
    "EncoderSpec",
    "Modality",
    "SpanFinder",
    "Spans",
    "refuse_pretrained_options",
]

Array = NDArray[np.float32]
Spans = list[tuple[int, int]]
"""One (start, end) per frame of a text: the characters that the frame is of; (0, 0) where it is of none."""
SpanFinder = Callable[[Sequence[str]], list[Spans]]
"""The spans of each of some texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderOptions:
    """The user's choices for an encoder."""

    corpus: str = ""
    """Name of the corpus, for encoders whose published settings depend on it."""
    weights: str | None = None
    """A local folder or file, or `ORG/NAME[@revision]` on the hub; None means the encoder's default weights."""
    layers: str = "last"
    """`last`, `all`, `mean` (over all layers) or numbers such as `6,9,12`; 0 is the input of the first layer."""
    device: str = "cpu"
    precision: str = "fp32"
    """Floating-point type of the computation: fp32, bf16 or fp16."""
    compile: bool = False
    """Whether a transformer's layers are compiled with `torch.compile`."""
    window: str | None = None
    """What the encoder reads at a time, where it offers a choice; None means its usual window."""


class Encoder(Protocol):
    """A frozen encoder on its device.

    Features do not depend on the batch: an utterance encoded alone and the same utterance in any batch give the same
    array (fp32: max|difference| / max|value| at most 1e-5), and padding is never returned.

    Your own encoder can inherit `EncoderDefaults`, which implements `begin`, `with_all_layers` and `select_layers`.
    """

    @property
    def modality(self) -> Modality:
        """Whether it reads waveforms (`audio`) or texts (`text`)."""

    @property
    def dimension(self) -> int:
        """D, the number of values per frame and layer."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The L layer numbers along the layer axis; empty where frames have no such axis (one layer, or a mean)."""

    @property
    def frame_rate(self) -> float | None:
        """Frames per second; None for text."""

    @property
    def sample_rate(self) -> int | None:
        """Sampling rate in Hz of the waveforms it reads (mono, float32 in -1..1); None for text."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes the output, JSON-ready; part of the feature's fingerprint, which is compared."""

    def provenance(self) -> dict[str, Any]:
        """What is recorded but not compared: library versions, revision, pre-training and fine-tuning data."""

    def length(self, item: int | str) -> int:
        """T, the number of frames that `encode` returns for a waveform of `item` samples or for a text."""

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """Encode a batch.

        Args:
            items: Waveforms [samples] at `sample_rate`, or texts.

        Returns:
            One float32 array per item: [T_i, D], or [T_i, L, D] where `layers` is not empty.
        """

    def begin(self, items: Sequence[Array] | Sequence[str]) -> Callable[[], list[Array]]:
        """Start to encode a batch.

        On a GPU this only queues the computation, so that the caller can prepare the next batch meanwhile.

        Returns:
            A function that waits for the arrays that `encode(items)` returns; any thread may call it.
        """

    def with_all_layers(self) -> Encoder:
        """This model, on the same weights, with every layer on the layer axis; itself where that is impossible."""

    def select_layers(self, values: Array) -> Array:
        """This encoder's own layers, [T, D] or [T, L, D], from the output of `with_all_layers()`, [T, all layers, D].

        Where `with_all_layers()` returned the encoder itself, these are the values themselves.
        """


class EncoderDefaults:
    """The optional methods of `Encoder` for encoders that compute at once and whose layers cannot be stacked."""

    __slots__ = ()

    def begin(self: Encoder, items: Sequence[Array] | Sequence[str]) -> Callable[[], list[Array]]:
        """Encode the batch at once; the returned function hands over the arrays."""
        values = self.encode(items)
        return lambda: values

    def with_all_layers(self: Encoder) -> Encoder:
        """The encoder itself."""
        return self

    def select_layers(self, values: Array) -> Array:
        """The values themselves."""
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """A registered encoder."""

    modality: Modality
    feature: str
    """Default name of its feature in a store."""
    pretrained: bool
    """Whether it has weights, and so a choice of layers and precision; other encoders refuse these options."""
    build: Callable[[EncoderOptions], Encoder]
    tunable: bool = False
    """Whether `finetune` can train it: the built encoder is a `blocks.tuning.Tunable`."""
    stored_as: Literal["fp16", "fp32"] = "fp16"
    """What a store holds its values in, unless `--dtype` says otherwise."""
    source: WeightsSource | None = None
    """Where its weights are published; None for an encoder without weights."""
    windows: tuple[str, ...] = ()
    """What `--window` may be; empty for an encoder that offers no choice."""
    token_spans: Callable[[str | None, Mapping[str, Any]], SpanFinder] | None = None
    """Of an encoder of texts: what finds the characters of each frame, without its weights and without a network.

    It is called with the weights, as `EncoderOptions.weights`, and the fingerprint of a feature that the encoder made,
    and raises `UsageError` where the tokenizer is not at hand or is not that of the feature. None: it cannot be said.
    """


def refuse_pretrained_options(encoder: str, options: EncoderOptions) -> None:
    """Refuse the options that have no effect on an encoder without weights.

    Raises:
        UsageError: Weights, layers, compilation or a precision other than fp32 was asked for; lists each of them.
    """
    problems = Problems()
    for option, value, default, reason in (
        (f"--weights {options.weights}", options.weights, None, "has no weights"),
        (f"--layers {options.layers}", options.layers, "last", "has no layers"),
        (f"--precision {options.precision}", options.precision, "fp32", "computes in fp32 only"),
        ("--compile", options.compile, False, "has nothing to compile"),
    ):
        if value != default:
            problems.add(f"encoder {encoder} {reason}: leave out {option}")
    problems.raise_all()


ENCODERS: Registry[EncoderSpec] = Registry("encoder", "emofuse.encoders", EncoderSpec)
