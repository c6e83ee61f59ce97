"""A transformers checkpoint on its device: loading, the forward pass, identity and provenance."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import Array, EncoderOptions
from emofuse.extract.encoders.blocks.compiled import compile_layers
from emofuse.extract.encoders.blocks.layer_choice import LayerChoice, choose_layers, depth
from emofuse.extract.encoders.blocks.options import PRECISIONS, check_options
from emofuse.extract.encoders.weights.locate import MARK, Weights, WeightsSource, resolve
from emofuse.extract.encoders.weights.messages import first_line

if TYPE_CHECKING:
    import torch

# Modules that no feature passes through; a checkpoint may omit their weights.
_UNUSED = ("pooler.", "masked_spec_embed", "decoder.")
# Heads for self-supervised training, transcription, translation or the next token; any other head may have seen emotion
# labels.
_UNLABELLED = (
    "Model",
    "ForPreTraining",
    "ForMaskedLM",
    "ForCausalLM",
    "ForCTC",
    "ForConditionalGeneration",
    "LMHeadModel",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A loaded checkpoint with everything that its features depend on."""

    encoder: str
    """Name of the registered encoder, for messages."""
    model: Any
    """The model that computes features."""
    whole: Any
    """The model of the checkpoint: `model` itself, or the encoder-decoder model that `model` is the encoder half of."""
    config: Any
    weights: Weights
    digest: str
    """xxh3_128 of the weight files."""
    source: WeightsSource
    layers: LayerChoice
    options: EncoderOptions
    compiled: bool = False
    """Whether the layers are compiled; their values then differ by about 1e-6, as they do between batch sizes."""

    def tensor(self, values: np.ndarray[Any, Any]) -> torch.Tensor:
        """An array as a tensor of the same shape on the model's device; floats in the model's precision."""
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(values))
        if self.options.device.startswith("cuda"):  # only a copy from pinned memory is asynchronous
            tensor = tensor.pin_memory().to(self.options.device, non_blocking=True)
        return tensor.to(self.options.device, self.model.dtype if tensor.is_floating_point() else None)

    def run(self, **inputs: Any) -> Array:
        """The chosen layers, float32 [B, T, D], or [B, T, L, D] with a layer axis, of the model's inputs."""
        return self.start(**inputs)()

    def start(self, **inputs: Any) -> Callable[[], Array]:
        """Queue the computation of `run`; the returned function waits for its result and may run on any thread."""
        import torch

        only_last = self.layers.numbers == (depth(self.config),) and not self.layers.mean
        # TF32 convolutions round depending on the shape, so that a feature would depend on its batch.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact, warnings.catch_warnings():
            # WavLM in transformers passes two mask types to torch, which warns about it.
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask", UserWarning)
            output = self.model(**inputs, output_hidden_states=not only_last)
            if only_last:
                chosen = output.last_hidden_state.float()
            else:
                # Models differ in whether the last hidden state includes the final norm; here it always does.
                states = [*output.hidden_states[:-1], output.last_hidden_state]
                picked = torch.stack([states[n].float() for n in self.layers.numbers], dim=2)
                chosen = picked.mean(dim=2) if self.layers.mean else picked.squeeze(2)
            return _copy_to_host(chosen)

    def with_all_layers(self) -> Pretrained:
        """The same checkpoint with every layer chosen."""
        return replace(self, layers=choose_layers("all", depth(self.config)))

    def with_last_layer(self) -> Pretrained:
        """The same checkpoint with its last layer chosen."""
        return replace(self, layers=choose_layers("last", depth(self.config)))

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
        """Library versions, origin of the weights, and the data that they were trained on."""
        card = self.weights.card()
        if "fitted_on" not in card and MARK in self.weights.settings("config.json"):
            about = "another program saved the checkpoint again, without what emofuse said in it"
            card = {**card, "fitted_on": [_unknown_corpus(about)]}
        return {
            "libraries": {name: _version(name) for name in ("torch", "torchaudio", "transformers", "tokenizers")},
            "repository": self.weights.repository,
            "revision": self.weights.revision,
            "pretrained_on": self._pretrained_on(),
            "fitted_on": self._fitted_on(),
            **card,
            "device": self.options.device,
            **({"compiled": True} if self.compiled else {}),
        }

    @property
    def _published(self) -> bool:
        """Whether the weights come from the encoder's own repository."""
        return self.weights.repository == self.source.repository is not None

    def _pretrained_on(self) -> str:
        if not self.source.repository:
            return "not stated: the weights are the user's"
        if self._published:
            return self.source.pretrained_on
        name = self.weights.repository or self.weights.folder.name
        return f"{self.source.pretrained_on}, if {name} holds {self.source.repository}"

    def _fitted_on(self) -> list[dict[str, Any]]:
        """Corpora whose labels the weights may have seen, as far as config.json tells; `fit` refuses unknown ones."""
        import transformers

        if self._published and self.source.fitted_on:
            return [dict(entry) for entry in self.source.fitted_on]
        heads = self.weights.settings("config.json").get("architectures") or ["none"]
        unknown = [head for head in heads if not (head.endswith(_UNLABELLED) and hasattr(transformers, head))]
        return [_unknown_corpus(f"the checkpoint's head is {unknown[0]}")] if unknown else []


def _unknown_corpus(about: str) -> dict[str, Any]:
    return {"corpus": "unknown", "labels": True, "about": about}


def _copy_to_host(values: torch.Tensor) -> Callable[[], Array]:
    """Start the copy of a float32 tensor to the host; the returned function waits for the array."""
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
    encoder: str, source: WeightsSource, options: EncoderOptions, expected_type: str | None, model_class: str
) -> Pretrained:
    """Load an encoder's checkpoint and move it to its device.

    Args:
        encoder: Name of the registered encoder, for messages.
        source: Where the encoder's default weights are published.
        options: The user's choices.
        expected_type: The `model_type` that config.json must have; None accepts any.
        model_class: The class of transformers that loads it; `AutoModel` replaces `AutoModelForTextEncoding` for a
            text model that the latter does not know.

    Raises:
        UsageError: An option that cannot work, or a checkpoint of another model type.
        DataError: The weights are damaged.
    """
    check_options(options)
    weights = resolve(encoder, options.weights, source)
    _check_model_type(encoder, weights, options, expected_type)
    config = _read_config(weights)
    if not hasattr(config, "num_hidden_layers") and not hasattr(config, "encoder_layers"):
        raise UsageError(
            f"{weights.folder} holds a model of type {config.model_type!r} that is made of several models; encoder "
            f"{encoder} needs a model of one modality"
        )
    layers = choose_layers(options.layers, depth(config))
    transformers = import_transformers()
    import torch

    if model_class == "AutoModelForTextEncoding" and type(config) not in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:
        model_class = "AutoModel"
    dtype = getattr(torch, PRECISIONS[options.precision])
    model = whole = load_model(getattr(transformers, model_class), weights, config, dtype)
    if config.is_encoder_decoder and hasattr(model, "get_encoder"):
        model = model.get_encoder()
    # Converted while it is loaded, so that large models need no memory in fp32; the frequencies of rotary positions,
    # which are no weights, stay in fp32.
    model = model.eval().requires_grad_(False).to(options.device)
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


def _check_model_type(encoder: str, weights: Weights, options: EncoderOptions, expected: str | None) -> None:
    actual = weights.settings("config.json").get("model_type")
    if expected is not None and actual != expected:
        raise UsageError(
            f"{weights.folder} holds a model of type {actual!r}, but encoder {encoder} expects {expected!r}"
        )
    if options.precision == "fp16" and "t5" in str(actual):
        raise UsageError(f"encoder {encoder}: T5 overflows in fp16; use --precision bf16 or fp32")


def _read_config(weights: Weights) -> Any:
    transformers = import_transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(weights.folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(
            f"{weights.folder}: transformers {transformers.__version__} cannot read it: {first_line(error)}"
        ) from None
    if getattr(config, "add_adapter", False):
        config.add_adapter = False  # the adapter serves speech translation and halves the frame rate
    return config


def load_model(model_class: Any, weights: Weights, config: Any, dtype: torch.dtype) -> Any:
    """Load a model of `model_class` with all of its weights.

    Raises:
        UsageError: transformers cannot load the folder.
        DataError: The weights are damaged, contain pickled code, or do not match config.json.
    """
    from safetensors import SafetensorError

    try:
        model, report = model_class.from_pretrained(
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
            f"{weights.files[0]} is damaged or belongs to another config.json: {first_line(error)}"
        ) from None
    except (ValueError, OSError) as error:
        raise UsageError(f"{weights.folder} cannot be loaded: {first_line(error)}") from None
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(_UNUSED))
    if missing:
        raise DataError(
            f"{weights.files[0]} does not contain {len(missing)} of the model's tensors, for example {missing[0]}; "
            "download it again"
        )
    return model


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
