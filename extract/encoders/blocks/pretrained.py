"""What the encoders with pre-trained weights share: loading, layers, precision, identity."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from emofuse.common.errors import DataError, UnknownNameError, UsageError
from emofuse.extract.corpus.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import Array, EncoderOptions
from emofuse.extract.encoders.blocks.compiled import compile_layers
from emofuse.extract.encoders.weights.locate import MARK, Weights, WeightsSource, resolve

if TYPE_CHECKING:
    import torch

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
# Parts that no feature passes through; a checkpoint may leave them out.
_UNUSED = ("pooler.", "masked_spec_embed", "decoder.")
# Heads of self-supervised training, transcription or translation; under any other, emotion labels may have been used.
_UNLABELLED = ("Model", "ForPreTraining", "ForMaskedLM", "ForCTC", "ForConditionalGeneration", "LMHeadModel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Which layers are stored: 0 is the input of the first transformer layer, the highest number the model's output."""

    numbers: tuple[int, ...]
    mean: bool = False

    @property
    def axis(self) -> tuple[int, ...]:
        """The layers along the layer axis; empty where there is none."""
        return () if self.mean or len(self.numbers) == 1 else self.numbers

    @property
    def identity(self) -> str | list[int]:
        """For the fingerprint: the same for `last` and for that layer's number."""
        return f"mean of 0 to {self.numbers[-1]}" if self.mean else list(self.numbers)


def choose_layers(words: str, depth: int) -> Layers:
    """Read `last`, `all`, `mean` or `6,9,12` for a model of `depth` layers.

    Raises:
        UsageError: Anything else, a layer that the model lacks, or one named twice.
    """
    every = tuple(range(depth + 1))
    if words in ("last", "all", "mean"):
        return Layers(numbers=every[-1:] if words == "last" else every, mean=words == "mean")
    parts = [part.strip() for part in words.split(",")]
    if not all(re.fullmatch(r"[0-9]+", part) and int(part) <= depth for part in parts) or len({*map(int, parts)}) < len(
        parts
    ):
        raise UsageError(
            f"--layers is {words!r}, expected last, all, mean or different numbers from 0 to {depth}, such as 0,{depth}"
        )
    return Layers(numbers=tuple(int(part) for part in parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A checkpoint on its device, and all that its features depend on."""

    encoder: str
    model: Any
    whole: Any
    """What the checkpoint holds: the model, or that of which it is the encoder half."""
    config: Any
    weights: Weights
    digest: str
    """Of the weights."""
    source: WeightsSource
    layers: Layers
    options: EncoderOptions
    compiled: bool = False
    """Whether its layers went through `torch.compile`: values differ by some 1e-6, as between batches."""

    def tensor(self, values: np.ndarray[Any, Any]) -> torch.Tensor:
        """`values` on the model's device; floats in its precision."""
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(values))
        if self.options.device.startswith("cuda"):  # from pinned memory the copy waits for nobody
            tensor = tensor.pin_memory().to(self.options.device, non_blocking=True)
        return tensor.to(self.options.device, self.model.dtype if tensor.is_floating_point() else None)

    def run(self, **inputs: torch.Tensor) -> Array:
        """The chosen layers, float32 [B, T, D], or [B, T, L, D] where there is a layer axis."""
        return self.start(**inputs)()

    def start(self, **inputs: torch.Tensor) -> Callable[[], Array]:
        """As `run`, but a GPU is only set to work: what is returned waits for it, on whatever thread that may be."""
        import torch

        last_alone = self.layers.numbers == (depth(self.config),) and not self.layers.mean
        # TF32 convolutions round by shape, so that a feature would depend on its batch.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact, warnings.catch_warnings():
            # WavLM in transformers hands torch masks of two kinds; torch says so at every first call.
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask", UserWarning)
            output = self.model(**inputs, output_hidden_states=not last_alone)
            if last_alone:
                chosen = output.last_hidden_state.float()
            else:
                # Libraries differ on whether the final norm is in the last hidden state; here it always is.
                states = [*output.hidden_states[:-1], output.last_hidden_state]
                picked = torch.stack([states[n].float() for n in self.layers.numbers], dim=2)
                chosen = picked.mean(dim=2) if self.layers.mean else picked.squeeze(2)
            return _fetch(chosen)

    def identity(self) -> dict[str, Any]:
        """Weights, settings, layers and precision."""
        return {
            "model_type": self.config.model_type,
            "weights": self.digest,
            "config": self.weights.settings_digest("config.json"),
            "layers": self.layers.identity,
            "precision": self.options.precision,
        }

    def provenance(self) -> dict[str, Any]:
        """Versions, where the weights came from, and what they saw."""
        own, said = self.weights.repository == self.source.repository is not None, self.weights.said()
        if "fitted_on" not in said and MARK in self.weights.settings("config.json"):
            about = "another program saved the checkpoint again, without what emofuse said in it"
            said = {**said, "fitted_on": [{"corpus": "unknown", "labels": True, "about": about}]}
        held = (
            "" if own else f", if {self.weights.repository or self.weights.folder.name} holds {self.source.repository}"
        )
        return {
            "libraries": {name: _version(name) for name in ("torch", "torchaudio", "transformers", "tokenizers")},
            "repository": self.weights.repository,
            "revision": self.weights.revision,
            "pretrained_on": f"{self.source.pretrained_on}{held}"
            if self.source.repository
            else "not stated: the weights are the user's",
            "fitted_on": self._fitted_on(),
            **said,
            "device": self.options.device,
            **({"compiled": True} if self.compiled else {}),
        }

    def _fitted_on(self) -> list[dict[str, Any]]:
        """What the weights were fitted on with labels, as far as the checkpoint tells; `fit` refuses an unknown."""
        import transformers

        if self.weights.repository == self.source.repository is not None and self.source.fitted_on:
            return [dict(entry) for entry in self.source.fitted_on]
        heads = self.weights.settings("config.json").get("architectures") or ["none"]
        odd = [head for head in heads if not (head.endswith(_UNLABELLED) and hasattr(transformers, head))]
        return [{"corpus": "unknown", "labels": True, "about": f"the checkpoint's head is {odd[0]}"}] if odd else []


def _fetch(values: torch.Tensor) -> Callable[[], Array]:
    """What brings float32 `values` to the host: the copy begins now, and is waited for later."""
    import torch

    if values.device.type != "cuda":
        return values.cpu().numpy
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(values.device))

    def fetch() -> Array:
        copied.synchronize()
        return np.asarray(host.numpy())

    return fetch


def load(
    encoder: str, source: WeightsSource, options: EncoderOptions, expected_type: str | None, kind: str
) -> Pretrained:
    """Load the encoder's checkpoint and put it on its device.

    Args:
        encoder: The encoder's name, for messages.
        source: Where its own weights are published.
        options: What the user chose.
        expected_type: The model type that the checkpoint must have; none: any.
        kind: transformers' class that loads it; a text type that `AutoModelForTextEncoding` lacks takes `AutoModel`.

    Raises:
        UsageError: An option that cannot work, or a checkpoint of another kind.
        DataError: Damaged weights.
    """
    check_options(options)
    weights = resolve(encoder, options.weights, source)
    found_type = weights.settings("config.json").get("model_type")
    if expected_type is not None and found_type != expected_type:
        raise UsageError(
            f"{weights.folder} holds a model of type {found_type!r}, but encoder {encoder} expects {expected_type!r}"
        )
    if options.precision == "fp16" and "t5" in str(found_type):
        raise UsageError(f"encoder {encoder}: T5 overflows in fp16; use --precision bf16, or fp32")
    transformers = import_transformers()
    import torch

    try:
        config = transformers.AutoConfig.from_pretrained(weights.folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(
            f"{weights.folder}: transformers {transformers.__version__} cannot read it: {_first_line(error)}"
        ) from None
    if getattr(config, "add_adapter", False):
        config.add_adapter = False  # a head for translation that halves the frame rate again
    layers = choose_layers(options.layers, depth(config))
    text_types = transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
    if kind == "AutoModelForTextEncoding" and type(config) not in text_types:
        kind = "AutoModel"
    model = whole = load_model(getattr(transformers, kind), weights, config, torch.float32)
    if config.is_encoder_decoder and hasattr(model, "get_encoder"):
        model = model.get_encoder()
    model = model.eval().requires_grad_(False).to(options.device, getattr(torch, PRECISIONS[options.precision]))
    return Pretrained(
        encoder=encoder,
        model=model,
        whole=whole,
        config=config,
        weights=weights,
        digest=weights.digest(),
        source=source,
        layers=layers,
        options=options,
        compiled=options.compile and compile_layers(model, options.device),
    )


def load_model(kind: Any, weights: Weights, config: Any, dtype: torch.dtype) -> Any:
    """The model of class `kind` with all of its weights.

    Raises:
        UsageError: transformers cannot load the folder.
        DataError: The weights are damaged, pickled code, or belong to another config.json.
    """
    from safetensors import SafetensorError

    try:
        model, report = kind.from_pretrained(
            weights.folder,
            config=config,
            dtype=dtype,
            trust_remote_code=False,
            weights_only=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except pickle.UnpicklingError:
        raise DataError(f"{weights.files[0]} holds pickled code or is damaged; only plain tensors are read") from None
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{weights.files[0]} is damaged or belongs to another config.json: {_first_line(error)}"
        ) from None
    except (ValueError, OSError) as error:
        raise UsageError(f"{weights.folder} cannot be loaded: {_first_line(error)}") from None
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(_UNUSED))
    if missing:
        raise DataError(
            f"{weights.files[0]} lacks {len(missing)} tensors of its model, {missing[0]} among them; download it again"
        )
    return model


def depth(config: Any) -> int:
    """Transformer layers of the (encoder half of the) model."""
    encoder_layers = getattr(config, "encoder_layers", None)
    return int(config.num_hidden_layers if encoder_layers is None else encoder_layers)


def check_options(options: EncoderOptions) -> None:
    """Refuse a precision or a device that there is not.

    Raises:
        UsageError: Says which there are.
    """
    import torch

    if options.precision not in PRECISIONS:
        raise UnknownNameError("precision", options.precision, PRECISIONS)
    try:
        device = torch.device(options.device)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device {options.device!r} cannot be used here: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
