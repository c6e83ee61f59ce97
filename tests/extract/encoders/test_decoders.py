"""Decoder language models through `hf-text`: families of transformers, tiny and with RANDOM weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_text_models import DECODER, TEXTS, save, save_tokenizer

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Mistral": {"sliding_window": 8},
    "Qwen2": {"tie_word_embeddings": True},
    "Qwen3": {"head_dim": 8},
    "Gemma2": {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
}
"""Family -> settings beside those of `DECODER`."""


def save_decoder(folder: Path, family: str, **options: Any) -> Path:
    """As such models are published: with a head for the next token, in bf16."""
    transformers = import_transformers()
    import torch

    folder.mkdir()
    size = save_tokenizer(folder, "bare" if family.startswith("Qwen") else "begin")
    config = getattr(transformers, f"{family}Config")(**{**DECODER, **FAMILIES[family]}, vocab_size=size)
    torch.manual_seed(0)
    getattr(transformers, f"{family}ForCausalLM")(config).bfloat16().save_pretrained(folder, **options)
    return folder


def built(folder: Path, **options: str) -> Any:
    return ENCODERS["hf-text"].build(EncoderOptions(weights=str(folder), **options))


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_the_librarys_alone_and_in_a_batch(family: str, tmp_path: Path) -> None:
    import torch

    folder = save_decoder(tmp_path / family, family)
    encoder = built(folder, layers="all")
    assert type(encoder.pretrained.model).__name__ == f"{family}Model"
    model = import_transformers().AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    texts = [TEXTS[0], TEXTS[3], TEXTS[2][:30]]
    for text, frames in zip(texts, encoder.encode(texts), strict=True):
        ids = encoder.tokens.tokenizer(text, return_tensors="pt", padding=False, truncation=False)["input_ids"]
        with torch.inference_mode():
            output = model(input_ids=ids, output_hidden_states=True)
            # The head reads the last layer, so that this is the one after the final norm.
            logits = model.lm_head(torch.from_numpy(frames[:, 3]))
        special = 0 if family.startswith("Qwen") else 1
        assert frames.shape == (ids.shape[1] - special, 4, 32)
        for layer in range(4):
            assert relative(frames[:, layer], output.hidden_states[layer][0, special:].numpy()) <= 1e-5
        if family != "Gemma2":  # whose logits are capped afterwards
            assert relative(logits.numpy(), output.logits[0, special:].numpy()) <= 1e-5


def test_a_frame_depends_on_the_tokens_before_it_alone(tmp_path: Path) -> None:
    encoder = built(save_decoder(tmp_path / "llama", "Llama"))
    short, long = encoder.encode(["he is glad", "he is glad about the train"])
    assert relative(long[: len(short)], short) <= 1e-5


def add_token(folder: Path, **special: str) -> None:
    """Add a special token to the tokenizer alone, as many fine-tuned models have it: the weights have no row for it."""
    tokenizer = import_transformers().AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens(special)
    tokenizer.save_pretrained(folder)


def test_a_padding_token_without_weights_changes_no_frame(tmp_path: Path) -> None:
    folder = save_decoder(tmp_path / "llama", "Llama")
    before = built(folder).encode(TEXTS)
    add_token(folder, pad_token="[LATER]")
    encoder = built(folder)
    assert encoder.tokens.tokenizer.pad_token_id >= encoder.pretrained.config.vocab_size
    assert all(relative(b, a) <= 1e-5 for a, b in zip(before, encoder.encode(TEXTS), strict=True))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = save_decoder(tmp_path / "llama", "Llama")
    add_token(folder, unk_token="glad")
    with pytest.raises(UsageError, match=r"gives token number \d+, but the model there has \d+ tokens"):
        built(folder).encode(["he is glad"])


def test_sharded_weights_are_the_same_features(tmp_path: Path) -> None:
    whole = save_decoder(tmp_path / "whole", "Qwen2")
    shards = save_decoder(tmp_path / "shards", "Qwen2", max_shard_size="20KB")
    assert not (shards / "model.safetensors").exists()
    files = sorted(shards.glob("model-*.safetensors"))
    assert len(files) > 2
    one, several = built(whole), built(shards)
    assert len(several.pretrained.weights.files) == len(files)
    for a, b in zip(one.encode(TEXTS), several.encode(TEXTS), strict=True):
        assert np.array_equal(a, b)
    files[1].rename(tmp_path / "away")
    with pytest.raises(UsageError, match=rf"does not contain {files[1].name}, which model\.safetensors\.index\.json"):
        built(shards)
    files[1].write_bytes((tmp_path / "away").read_bytes()[:100])
    with pytest.raises(DataError, match="is damaged"):
        built(shards)


def test_weights_are_loaded_in_the_precision_of_the_computation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    folder = save_decoder(tmp_path / "llama", "Llama")
    asked: list[Any] = []
    kind = import_transformers().AutoModel
    loading = kind.from_pretrained
    monkeypatch.setattr(kind, "from_pretrained", lambda *a, **k: asked.append(k["dtype"]) or loading(*a, **k))
    coarse, fine = built(folder, precision="bf16"), built(folder)
    assert asked == [torch.bfloat16, torch.float32]
    model = coarse.pretrained.model
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.rotary_emb.inv_freq.dtype == torch.float32
    a, b = fine.encode(TEXTS[2:3])[0], coarse.encode(TEXTS[2:3])[0]
    assert 1e-5 < relative(b, a) < 0.1


def test_the_whole_context_of_a_decoder_is_one_window(tmp_path: Path) -> None:
    folder = save_decoder(tmp_path / "llama", "Llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 131072}))
    encoder = built(folder)
    assert encoder.tokens.window == 131072
    assert len(encoder.tokens.windows(["nobody left the train " * 200])) == 1


def test_a_head_for_the_next_token_has_seen_no_labels(tmp_path: Path) -> None:
    assert built(save_decoder(tmp_path / "llama", "Llama")).provenance()["fitted_on"] == []


def test_a_model_of_several_modalities_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "several", "bert")
    (folder / "config.json").write_text(json.dumps({"model_type": "gemma3"}))
    with pytest.raises(UsageError, match="of type 'gemma3' that is made of several models"):
        built(folder)
