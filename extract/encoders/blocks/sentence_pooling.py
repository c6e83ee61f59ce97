"""How a sentence-transformers checkpoint makes one vector of a text: its pooling and what follows it.

`modules.json` lists the modules of such a checkpoint in order: Transformer, Pooling, then any number of Dense and
Normalize. The pooling modes are those of Reimers and Gurevych (EMNLP 2019) and of later versions of their library; all
of them include special tokens and a prefix.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.encoders.base import Array
from emofuse.extract.encoders.weights.file_formats import READERS, kind_of
from emofuse.extract.encoders.weights.locate import read_settings

MODULES = "modules.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Keys of the settings of versions before 6, in the order in which several pooled vectors are concatenated."""


def _weighted_mean(tokens: Array) -> Array:
    return np.asarray(np.average(tokens, axis=0, weights=np.arange(1, len(tokens) + 1)))


_POOL: dict[str, Callable[[Array], Array]] = {
    "cls": lambda tokens: tokens[0],
    "max": lambda tokens: tokens.max(axis=0),
    "mean": lambda tokens: tokens.mean(axis=0),
    "mean_sqrt_len_tokens": lambda tokens: tokens.sum(axis=0) / np.sqrt(len(tokens)),
    "weightedmean": _weighted_mean,
    "lasttoken": lambda tokens: tokens[-1],
}
"""Mode -> the vector [D] of the tokens [T, D] of a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A module after the pooling."""

    name: str
    """For the fingerprint; includes a digest of its weights."""
    dimension: int | None
    """The size of its output; None where it is that of its input."""
    apply: Callable[[Array], Array]
    """Vector [D] -> vector [D']."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePooling:
    """The declared pooling of a checkpoint."""

    modes: tuple[str, ...]
    steps: tuple[Step, ...]
    dimension: int
    """D' of the final vector."""

    def pool(self, windows: list[Array]) -> Array:
        """The vector [D'], float32, of a text from the tokens [T, D] of its windows, special tokens included.

        Each window is pooled as a text is. The mean over the windows, weighted by their tokens, goes through the
        modules after the pooling; for the mode `mean` it is the mean over all tokens.
        """
        pooled = [np.concatenate([_POOL[mode](w.astype(np.float64)) for mode in self.modes]) for w in windows]
        vector = np.average(pooled, axis=0, weights=[len(w) for w in windows]).astype(np.float32)
        for step in self.steps:
            vector = step.apply(vector)
        return vector

    def identity(self) -> dict[str, Any]:
        """What the fingerprint says of it."""
        return {
            "pooling": [*self.modes, *(step.name for step in self.steps)],
            "pooled_long_text": "mean of the windows, weighted by their tokens",
        }


def read_pooling(folder: Path, hidden_size: int, prefix: str = "") -> SentencePooling:
    """The pooling that the modules.json of a checkpoint declares.

    Args:
        folder: The checkpoint.
        hidden_size: D of its tokens.
        prefix: What the encoder puts before every text.

    Raises:
        UsageError: There is no modules.json, a file that it names is missing, or it declares what is not known here.
        DataError: A file is damaged, or does not match the model.
    """
    modules = _modules(folder)
    _refuse_other_texts(folder, prefix)
    settings = read_settings(folder / modules[1][1], "config.json")
    modes = _modes(folder / modules[1][1] / "config.json", settings)
    declared = settings.get("embedding_dimension", settings.get("word_embedding_dimension", hidden_size))
    if declared != hidden_size:
        raise DataError(f"{folder / modules[1][1]} pools vectors of {declared!r}, but the model's have {hidden_size}")
    dimension, steps = hidden_size * len(modes), []
    for kind, path in modules[2:]:
        step = _NORMALIZE if kind == "Normalize" else _dense(folder / path, dimension)
        dimension = step.dimension or dimension
        steps.append(step)
    return SentencePooling(modes=modes, steps=tuple(steps), dimension=dimension)


def _modules(folder: Path) -> list[tuple[str, str]]:
    """The kind and the folder of each module, in order."""
    path = folder / MODULES
    if not path.is_file():
        raise UsageError(
            f"{folder} declares no pooling: it has no {MODULES} of sentence-transformers; take another view: mean, "
            "last, statistics or frames"
        )
    try:
        modules = [(str(m["type"]).rpartition(".")[2], str(m["path"])) for m in json.loads(path.read_bytes())]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} does not list modules with type and path; download it again") from None
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not {*kinds[2:]} <= {"Dense", "Normalize"}:
        raise UsageError(
            f"{path} lists {', '.join(kinds) or 'nothing'}; the view pooled knows Transformer, Pooling, then Dense and "
            "Normalize; take another view: mean, last, statistics or frames"
        )
    return modules


def _refuse_other_texts(folder: Path, prefix: str) -> None:
    """Refuse a checkpoint that pools other texts than those that the encoder reads."""
    path = folder / "config_sentence_transformers.json"
    settings = read_settings(folder, path.name) if path.is_file() else {}
    prompt = (settings.get("prompts") or {}).get(settings.get("default_prompt_name"), "")
    if prompt not in ("", prefix):
        raise UsageError(f"{path} puts {prompt!r} before every text, which the view pooled does not do")
    path = folder / "sentence_bert_config.json"
    if path.is_file() and read_settings(folder, path.name).get("do_lower_case"):
        raise UsageError(f"{path} converts texts to lower case, which the view pooled does not do")


def _modes(path: Path, settings: dict[str, Any]) -> tuple[str, ...]:
    named = settings.get("pooling_mode")
    if named is None:
        named = [mode for key, mode in _KEYS.items() if settings.get(key)] or ["mean"]
    modes = (named,) if isinstance(named, str) else tuple(map(str, named))
    unknown = [mode for mode in modes if mode not in _POOL]
    if unknown:
        raise UsageError(f"{path} names the pooling {unknown[0]!r}; known: {', '.join(_POOL)}")
    return modes


def _normalized(vector: Array) -> Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)


_NORMALIZE = Step(name="normalize", dimension=None, apply=_normalized)


def _dense(folder: Path, dimension: int) -> Step:
    """A linear layer and its activation; the weights are read without running any code of the checkpoint."""
    import torch

    settings = read_settings(folder, "config.json")
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise UsageError(f"{folder} has no {' or '.join(_WEIGHTS)}: download the whole folder of the checkpoint")
    try:
        tensors = READERS[kind_of(weights) or ""](weights)
        matrix = torch.from_numpy(np.asarray(tensors["linear.weight"].read(), np.float32))
        bias = torch.from_numpy(np.asarray(tensors["linear.bias"].read(), np.float32)) if settings.get("bias") else None
    except Exception as error:  # of whichever library reads the format
        raise DataError(f"{weights} is damaged ({type(error).__name__}: {error}); download it again") from None
    if matrix.ndim != 2 or matrix.shape[1] != dimension:
        raise DataError(f"{weights} takes vectors of {matrix.shape[-1]}, but it is given {dimension}")
    if settings.get("use_residual") or settings.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise UsageError(f"{folder} is a Dense module with a residual or another input, which the view pooled lacks")
    path = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    kind = getattr(torch.nn, path.rpartition(".")[2], None)
    if not path.startswith("torch.nn.") or not isinstance(kind, type) or not issubclass(kind, torch.nn.Module):
        raise UsageError(f"{folder / 'config.json'} names the activation {path!r}; expected one of torch.nn")
    activation = kind()

    def apply(vector: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(activation(torch.nn.functional.linear(torch.from_numpy(vector), matrix, bias)).numpy())

    digest = xxhash.xxh3_128_hexdigest(weights.read_bytes())
    return Step(name=f"dense {kind.__name__} {digest}", dimension=int(matrix.shape[0]), apply=apply)
