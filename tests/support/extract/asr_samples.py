"""Two tiny recognisers: one like Whisper with RANDOM weights, and one for CTC that knows three tones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from emofuse.extract.audio.torchaudio_compat import import_transformers

TONES = {"a": 300.0, "o": 900.0, "u": 2700.0}
"""Word -> Hz."""


def tone(words: list[str], seed: int = 0, seconds: float = 0.2) -> np.ndarray:
    """A tone for each word, with silence around it, at 16 kHz."""
    rng, silence = np.random.default_rng(seed), np.zeros(1600)
    time = np.arange(round(seconds * 16000)) / 16000
    pieces = [silence]
    for word in words:
        pieces += [0.3 * np.sin(2 * np.pi * TONES[word] * time), silence]
    sound = np.concatenate(pieces)
    return (sound + rng.normal(0, 0.005, len(sound))).astype(np.float32)


def save_whisper(folder: Path, seed: int = 0, languages: tuple[str, ...] = ()) -> Path:
    """Random weights: its texts mean nothing, but are always the same.

    Args:
        folder: To be created.
        seed: Of the weights.
        languages: Codes of languages, whose tokens only the tokenizer knows, as in many fine-tuned models; none makes
            a model without any token of a language or a task.
    """
    transformers = import_transformers()
    import torch

    folder.mkdir(parents=True)
    pieces = [chr(n) for n in range(33, 127)]
    special = ["<|endoftext|>", "<|startoftranscript|>"]
    if languages:
        special += [*(f"<|{code}|>" for code in languages), "<|translate|>", "<|transcribe|>"]
        special += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    vocab = {piece: n for n, piece in enumerate([*pieces, *special])}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = transformers.WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    end, start = vocab["<|endoftext|>"], vocab["<|startoftranscript|>"]
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, num_mel_bins=16, max_source_positions=100, vocab_size=len(vocab),
        max_target_positions=16, pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=start,
        suppress_tokens=[], begin_suppress_tokens=[], init_std=0.5,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config.max_length = 12
    if languages:
        tokenizer.add_special_tokens({"additional_special_tokens": special[2:]})
        model.generation_config.is_multilingual, model.generation_config._from_model_config = True, False
    model.save_pretrained(folder)
    extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    transformers.WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


def save_ctc(folder: Path, steps: int = 300) -> Path:
    """Fitted in a few seconds to recognise words by their tones."""
    transformers = import_transformers()
    import torch

    folder.mkdir(parents=True)
    letters = sorted({c for word in TONES for c in word})
    vocab = {piece: n for n, piece in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *letters])}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    config = transformers.Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48, conv_dim=[24] * 5,
        conv_kernel=[10, 5, 5, 3, 3], conv_stride=[5, 4, 4, 2, 2], num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2, vocab_size=len(vocab), pad_token_id=0, apply_spec_augment=False,
        hidden_dropout=0.0, attention_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0, final_dropout=0.0,
        activation_dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model: Any = transformers.Wav2Vec2ForCTC(config).train()
    rng, words = np.random.default_rng(0), list(TONES)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        spoken = [[str(w) for w in rng.choice(words, 1 + step % 4)] for _ in range(8)]
        sound = [tone(s, int(rng.integers(1 << 30))) for s in spoken]
        inputs = extractor(sound, sampling_rate=16000, return_tensors="pt", padding=True)
        labels = tokenizer([" ".join(s) for s in spoken], return_tensors="pt", padding=True)
        ids = labels.input_ids.masked_fill(labels.attention_mask == 0, -100)
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 10)
        loss = model(inputs.input_values, labels=ids).loss / 8
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    model.eval().save_pretrained(folder)
    return folder
