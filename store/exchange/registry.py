"""Every exchange format by name: an explicit list, nothing is scanned."""

from __future__ import annotations

from emofuse.common.registry import Registry
from emofuse.store.exchange.formats import emotion2vec, lhotse, mmsa, npy, parquet
from emofuse.store.exchange.records import Format

FORMATS: Registry[Format] = Registry("exchange format")

FORMATS.add(
    "npy",
    "A folder with one .npy file per utterance; the file name is the id, with %XX for what a name cannot contain.",
    npy.NPY,
)
FORMATS.add("emobox", "EmoBox's dump folder: CORPUS-ID.npy, [T, D] or [L, T, D].", npy.EMOBOX)
FORMATS.add("merbench", "MERBench's FEATURE-UTT or FEATURE-FRA folder: NAME.npy, [D] or [T, D].", npy.MERBENCH)
FORMATS.add(
    "emotion2vec",
    "emotion2vec's PREFIX.npy, .lengths and .emo (or .tsv), for whole corpora.",
    emotion2vec.EMOTION2VEC,
)
FORMATS.add("mmsa", "MMSA's pickle with train, valid and test; read without running its code.", mmsa.MMSA)
FORMATS.add("lhotse", "lhotse's features or cuts, with supervisions, as .jsonl(.gz) manifests.", lhotse.LHOTSE)
FORMATS.add(
    "parquet",
    "Parquet, one row per utterance; Hugging Face's load_dataset('parquet') reads it.",
    parquet.PARQUET,
)
FORMATS.add(
    "huggingface",
    "A folder written by save_to_disk of Hugging Face's datasets (read-only).",
    parquet.HUGGINGFACE,
)
