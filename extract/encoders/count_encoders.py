"""Counts every encoder for `emofuse encoders`; as a script it writes `encoder_list.json` again.

Networks are made without values (torch's device `meta`), with the settings of the published checkpoints: no weights are
needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from emofuse.common.output.console import json_text
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders import vggish, yamnet
from emofuse.extract.encoders.blocks.audioset_logmel import FrontEnd
from emofuse.extract.encoders.encoder_list import FILE, EncoderSize
from emofuse.extract.encoders.networks.beats_network import BeatsNetwork
from emofuse.extract.encoders.networks.emotion2vec_network import Emotion2vecNetwork
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

_HZ = 16000
_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
_BERT: tuple[str, Mapping[str, Any]] = ("Bert", {})
_TRANSFORMERS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "hubert": ("Hubert", {}),
    "hubert-large": ("Hubert", {**_LARGE, "conv_bias": True}),
    "wav2vec2": ("Wav2Vec2", {}),
    "xlsr": ("Wav2Vec2", {**_LARGE, "conv_bias": True}),
    "wavlm": ("WavLM", {}),
    "wavlm-large": ("WavLM", _LARGE),
    "unispeech-sat": ("UniSpeechSat", {}),
    "data2vec-audio": ("Data2VecAudio", {}),
    "bert": _BERT,
    "bert-goemotions": _BERT,
    "bge": _BERT,
    "e5": _BERT,
    "minilm": ("Bert", {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}),
    "roberta": ("Roberta", {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}),
    "e5-multilingual": ("XLMRoberta", {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1}),
    "mpnet": ("MPNet", {"vocab_size": 30527, "max_position_embeddings": 514}),
    "distilbert-goemotions": ("DistilBert", {}),
    "deberta": (
        "DebertaV2",
        {
            "vocab_size": 128100,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
    ),
}
"""Encoders of transformers -> the model, and the settings of its checkpoint that are not the library's defaults."""


def counted_sizes() -> dict[str, EncoderSize]:
    """The size of every encoder of emofuse whose size does not depend on the user's weights."""
    plain = {entry.name: _plain(entry.name) for entry in ENCODERS if not entry.value.pretrained and not entry.package}
    hub = {name: _transformer(*model) for name, model in _TRANSFORMERS.items()}
    return dict(sorted({**plain, **hub, **_halves(), **_own_networks()}.items()))


def _plain(name: str) -> EncoderSize:
    """An encoder without weights, as it is built."""
    encoder = ENCODERS[name].build(EncoderOptions())
    return EncoderSize(dimension=encoder.dimension, frame_rate=encoder.frame_rate, layers=None, parameters=0)


def _transformer(model: str, settings: Mapping[str, Any]) -> EncoderSize:
    import torch

    transformers = import_transformers()
    config = getattr(transformers, f"{model}Config")(**settings)
    strides = getattr(config, "conv_stride", None)
    with torch.device("meta"):
        network = getattr(transformers, f"{model}Model")(config)
    return EncoderSize(
        dimension=config.hidden_size,
        frame_rate=_HZ / math.prod(strides) if strides else None,
        layers=config.num_hidden_layers,
        parameters=_parameters(network),
    )


def _halves() -> dict[str, EncoderSize]:
    """Encoders that use one half of a model."""
    import torch

    transformers = import_transformers()
    sizes = {"layers": 6, "attention_heads": 8, "ffn_dim": 2048}
    whisper = {"d_model": 512, **{f"{half}_{k}": n for half in ("encoder", "decoder") for k, n in sizes.items()}}
    t5 = {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12, "d_kv": 64, "vocab_size": 32128}
    with torch.device("meta"):
        encoder = transformers.WhisperModel(transformers.WhisperConfig(**whisper)).encoder
        texts = transformers.T5EncoderModel(transformers.T5Config(**t5))
        audio = transformers.ClapAudioModelWithProjection(transformers.ClapAudioConfig(patch_embeds_hidden_size=96))
    return {
        "whisper": EncoderSize(dimension=512, frame_rate=50.0, layers=6, parameters=_parameters(encoder)),
        "t5": EncoderSize(dimension=768, layers=12, parameters=_parameters(texts)),
        "clap": EncoderSize(
            dimension=audio.config.hidden_size, frame_rate=0.1, layers=None, parameters=_parameters(audio)
        ),
    }


def _own_networks() -> dict[str, EncoderSize]:
    """Encoders whose networks are written in emofuse."""
    channels = (1, *vggish.CONVOLUTIONS)
    kernels = [9 * a * b + b for a, b in pairwise(channels)]
    widths = (vggish.FLAT, *vggish.DENSE)
    kernels += [a * b + b for a, b in pairwise(widths)]
    sizes = {
        "yamnet": _patches(yamnet.WIDTHS[-1], yamnet.FRONT_END, yamnet.OUTPUTS.layers, _values(yamnet.shapes())),
        "vggish": _patches(vggish.DENSE[-1], vggish.FRONT_END, vggish.OUTPUTS.layers, sum(kernels)),
    }
    for name, network in (("beats", BeatsNetwork()), ("emotion2vec", Emotion2vecNetwork())):
        sizes[name] = EncoderSize(
            dimension=network.dimension,
            frame_rate=_HZ / network.frame_samples,
            layers=network.depth,
            parameters=_values(network.shapes()),
        )
    return sizes


def _patches(dimension: int, front_end: FrontEnd, layers: int, parameters: int) -> EncoderSize:
    rate = round(front_end.frame_rate, 4)
    return EncoderSize(dimension=dimension, frame_rate=rate, layers=layers, parameters=parameters)


def _values(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _parameters(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


if __name__ == "__main__":
    counted = {name: asdict(size) for name, size in counted_sizes().items()}
    FILE.write_text(json_text(counted, indent=2) + "\n", encoding="utf-8")
