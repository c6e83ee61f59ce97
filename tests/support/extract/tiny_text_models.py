"""Tiny text transformers of RANDOM weights with tiny tokenizers, saved as checkpoints are, for the tests of stage 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emofuse.extract.audio.torchaudio_compat import import_transformers

TEXTS = [
    "I am so happy!",
    "no",
    "well, the train left an hour ago and nobody told me anything about it",
    "Why?",
    "ünïcode 中 🙂",
]


CORPUS = [*TEXTS, "he is glad", "she is sad about the train", "what a lovely day", "nobody knows why he left"] * 4


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.2,
}


T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4, "decoder_start_token_id": 0}


DISTIL = {
    "dim": 32,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
}


DISTIL_CLASSIFIER = "DistilBertForSequenceClassification"


DEBERTA = {
    **SMALL,
    "max_position_embeddings": 40,
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "type_vocab_size": 0,
}
"""As deberta-v3-base is configured."""


DECODER = {**SMALL, "num_key_value_heads": 2, "max_position_embeddings": 40}


GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 40, "initializer_range": 0.2}


# encoder, model, settings, kind of tokenizer, special tokens around a text, positions the model has
CASES: dict[str, tuple[str, str, dict[str, Any], str, int, int]] = {
    "bert": ("bert", "BertModel", {**SMALL, "max_position_embeddings": 40}, "wordpiece", 2, 40),
    "minilm": ("minilm", "BertModel", {**SMALL, "max_position_embeddings": 40}, "wordpiece", 2, 40),
    "roberta": ("roberta", "RobertaModel", {**SMALL, "max_position_embeddings": 42}, "bytes", 2, 40),
    "mpnet": ("mpnet", "MPNetModel", {**SMALL, "max_position_embeddings": 42}, "bytes", 2, 40),
    "deberta": ("deberta", "DebertaV2ForMaskedLM", DEBERTA, "spm", 2, 40),
    "e5": ("e5", "BertModel", {**SMALL, "max_position_embeddings": 40}, "wordpiece", 2, 40),
    "e5-multilingual": (
        "e5-multilingual",
        "XLMRobertaModel",
        {**SMALL, "max_position_embeddings": 42},
        "bytes",
        2,
        40,
    ),
    "bge": ("bge", "BertModel", {**SMALL, "max_position_embeddings": 40}, "wordpiece", 2, 40),
    "t5": ("t5", "T5ForConditionalGeneration", T5, "sentencepiece", 1, 512),
    "bert-goemotions": (
        "bert-goemotions",
        "BertForSequenceClassification",
        {**SMALL, "max_position_embeddings": 40},
        "wordpiece",
        2,
        40,
    ),
    "distilbert-goemotions": ("distilbert-goemotions", DISTIL_CLASSIFIER, DISTIL, "wordpiece", 2, 40),
    "distilbert": ("hf-text", "DistilBertModel", DISTIL, "wordpiece", 2, 40),
    "gpt2": ("hf-text", "GPT2Model", GPT2, "bare", 0, 40),
    "llama": ("hf-text", "LlamaForCausalLM", {**DECODER, "tie_word_embeddings": True}, "begin", 1, 40),
    "qwen2": ("hf-text", "Qwen2ForCausalLM", DECODER, "bare", 0, 40),
}  # fmt: skip


def save_tokenizer(folder: Path, kind: str) -> int:
    """Train and save a tiny tokenizer; returns its size."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    if kind == "sentencepiece":
        import sentencepiece

        (folder / "corpus.txt").write_text("\n".join(CORPUS), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "corpus.txt"), model_prefix=str(folder / "spiece"), vocab_size=80,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 0}')
        return 120
    if kind == "spm":
        import sentencepiece

        (folder / "corpus.txt").write_text("\n".join(CORPUS), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "corpus.txt"), model_prefix=str(folder / "spm"), vocab_size=80, hard_vocab_limit=False,
            pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]",
            unk_piece="[UNK]", minloglevel=2,
        )  # fmt: skip
        (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
        return 120
    if kind == "wordpiece":
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        letters = sorted(set("".join(CORPUS)) - {" "})
        pieces = [*names, *letters, *(f"##{letter}" for letter in letters), "happy", "train", "##body", "left"]
        tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        pad, unk, begin, end = names[:4]
    else:
        names = ["<s>", "<pad>", "</s>", "<unk>"]
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
        tokenizer.train_from_iterator(CORPUS, trainer)
        begin, pad, end, unk = names
    special = {"pad_token": pad, "unk_token": unk, "cls_token": begin, "sep_token": end}
    if kind == "bare":
        special = {"eos_token": end}
    elif kind == "begin":  # as LLaMA's: no padding token
        special = {"bos_token": begin, "eos_token": end}
        ids = [(begin, tokenizer.token_to_id(begin))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=ids)
    else:
        ids = [(name, tokenizer.token_to_id(name)) for name in (begin, end)]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A {end}", special_tokens=ids)
    # As all-MiniLM-L6-v2 is published: truncation and padding in the file must not reach the features.
    tokenizer.enable_truncation(12)
    tokenizer.enable_padding(length=12, pad_id=tokenizer.token_to_id(pad), pad_token=pad)
    import_transformers().PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def save(folder: Path, case: str, seed: int = 0) -> Path:
    transformers = import_transformers()
    import torch

    _, name, settings, kind, _, _ = CASES[case]
    folder.mkdir(exist_ok=True)
    size = save_tokenizer(folder, kind)
    kind_of_model = getattr(transformers, name)
    pad = {"wordpiece": 0, "bytes": 1, "sentencepiece": 0, "spm": 0}.get(kind)
    config = kind_of_model.config_class(**settings, vocab_size=size, pad_token_id=pad)
    torch.manual_seed(seed)
    kind_of_model(config).save_pretrained(folder)
    return folder


def declare_pooling(folder: Path, modes: dict[str, Any], *after: str) -> Path:
    """Write a `modules.json` with a pooling, and the modules after it with RANDOM weights."""
    import torch
    from safetensors.torch import save_file

    kinds = ["Transformer", "Pooling", *after]
    paths = ["", *(f"{n}_{kind}" for n, kind in enumerate(kinds[1:], 1))]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    for kind, path in zip(kinds[1:], paths[1:], strict=True):
        (folder / path).mkdir(exist_ok=True)
        if kind == "Dense":
            width = 32 * max(1, sum(value is True for value in modes.values()))
            settings = {
                "in_features": width,
                "out_features": 20,
                "bias": True,
                "activation_function": "torch.nn.modules.activation.Tanh",
            }
            torch.manual_seed(3)
            save_file(
                {"linear.weight": torch.randn(20, width), "linear.bias": torch.randn(20)},
                folder / path / "model.safetensors",
            )
            (folder / path / "config.json").write_text(json.dumps(settings))
        elif kind == "Pooling":
            (folder / path / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    return folder
