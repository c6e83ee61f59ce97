"""Tiny speech transformers of RANDOM weights, saved as checkpoints are, for the tests of stage 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emofuse.extract.audio.torchaudio_compat import import_transformers

SMALL = {
    # two groups, as oneDNN's bf16 convolution is wrong for groups of 8 channels, which no real checkpoint has
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "initializer_range": 0.2,
}  # fmt: skip


LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


WHISPER = {
    "d_model": 32, "encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_mel_bins": 16, "max_source_positions": 100, "vocab_size": 60,
    "max_target_positions": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip


# encoder, model, settings, do_normalize
CASES: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "hubert": ("hubert", "Hubert", SMALL, True),
    "hubert-large": ("hubert-large", "Hubert", {**SMALL, **LARGE}, True),
    "wav2vec2": ("wav2vec2", "Wav2Vec2", SMALL, True),
    "wavlm": ("wavlm", "WavLM", SMALL, False),
    "wavlm-large": ("wavlm-large", "WavLM", {**SMALL, **LARGE}, True),
    "xlsr": ("xlsr", "Wav2Vec2", {**SMALL, **LARGE}, True),
    "unispeech-sat": ("unispeech-sat", "UniSpeechSat", SMALL, True),
    "batch-normed-hubert": ("hf-audio", "Hubert", {**SMALL, "conv_pos_batch_norm": True}, True),
    "data2vec-audio": ("data2vec-audio", "Data2VecAudio", {**SMALL, "num_conv_pos_embeddings": 3}, True),
    "adapted-wav2vec2": ("hf-audio", "Wav2Vec2", {**SMALL, "add_adapter": True}, True),
    "whisper": ("whisper", "Whisper", WHISPER, True),
}


def save(folder: Path, case: str, seed: int = 0) -> Path:
    transformers = import_transformers()
    import torch

    _, family, settings, normalise = CASES[case]
    torch.manual_seed(seed)
    model = getattr(transformers, f"{family}Model")(getattr(transformers, f"{family}Config")(**settings))
    model.save_pretrained(folder)
    if family == "Whisper":
        transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=2).save_pretrained(folder)
    else:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    return folder
