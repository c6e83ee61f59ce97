"""The methods that `benchmarks/extract.py` compares: each extracts a whole corpus into a folder."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import torch

from emofuse.extract.audio.torchaudio_compat import import_torchaudio
from emofuse.extract.encoders.hf_audio import HfAudio
from emofuse.extract.encoders.hf_text import HfText
from emofuse.extract.encoding.loop import run_jobs
from emofuse.extract.plan.budget import with_budgets
from emofuse.extract.plan.job import FeatureJob
from emofuse.extract.plan.passes import plan_pass

RANDOM_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is extracted: our job, whose encoder, clips and texts the other methods use too."""

    job: FeatureJob
    raw: Any
    """The unchanged model of transformers, without our masked norm; None for log-Mel."""

    @property
    def items(self) -> list[tuple[str, Path | str]]:
        """Ids, each with the path of its clip or its text, in the corpus's order."""
        if self.job.encoder.modality == "text":
            return [(u.id, u.text) for u in self.job.manifest.utterances if u.text is not None]
        utterances = (u for u in self.job.manifest.utterances if u.id in self.job.clips)
        return [(u.id, self.job.root / str(u.audio)) for u in utterances]


class Method(Protocol):
    """Extracts a case into `folder`."""

    def __call__(self, case: Case, folder: Path) -> None: ...


def ours(case: Case, folder: Path) -> None:
    """emofuse: decoding, encoding, writing, the store committed."""
    from dataclasses import replace

    job = replace(case.job, store=folder / "ours.h5", budget=None)
    run_jobs(with_budgets([job]), quiet=True)


def one_by_one(case: Case, folder: Path) -> None:
    """The usual lab loop: batch 1, fp32, one .npy per utterance (EmoBox, MERBench)."""
    for id, item in case.items:
        np.save(folder / f"{id}.npy", _raw(case, [_read(item)])[0])


def random_batches(case: Case, folder: Path) -> None:
    """Batches of 16 in random order, padded to their longest (s3prl)."""
    items = list(case.items)
    random.Random(0).shuffle(items)
    for first in range(0, len(items), RANDOM_BATCH):
        some = items[first : first + RANDOM_BATCH]
        for (id, _), values in zip(some, _raw(case, [_read(item) for _, item in some]), strict=True):
            np.save(folder / f"{id}.npy", values)


def lhotse_batches(case: Case, folder: Path) -> None:
    """lhotse's batched extraction to its own HDF5 store, cuts of similar length together."""
    from lhotse import CutSet, Fbank, FbankConfig, FeatureExtractor, MonoCut, NumpyHdf5Writer, Recording
    from lhotse.utils import compute_num_frames

    encode = _raw

    class Extractor(FeatureExtractor):
        name, config_type = "bench", dict
        frame_shift = 1 / float(case.job.encoder.frame_rate or 1)

        def __init__(self) -> None:
            pass

        def feature_dim(self, sampling_rate: int) -> int:
            return case.job.encoder.dimension

        def extract(self, samples: Any, sampling_rate: int) -> Any:
            return self.extract_batch([samples], sampling_rate)[0]

        def extract_batch(self, samples: Any, sampling_rate: int, lengths: Any = None) -> Any:
            waveforms = [np.asarray(s, np.float32).reshape(-1) for s in samples]
            # lhotse expects the frames of the duration; HuBERT gives that many only for slightly longer clips.
            wanted = [compute_num_frames(len(w) / sampling_rate, self.frame_shift, sampling_rate) for w in waveforms]
            sizes = [max(0, 400 + (n - 1) * 320 - len(w)) for n, w in zip(wanted, waveforms, strict=True)]
            padded = [np.pad(w, (0, size)) for w, size in zip(waveforms, sizes, strict=True)]
            return [values[:n] for n, values in zip(wanted, encode(case, padded), strict=True)]

    cuts = [
        MonoCut(id=id, start=0, duration=recording.duration, channel=0, recording=recording)
        for id, path in case.items
        for recording in [Recording.from_file(path, recording_id=id)]
    ]
    budget = case.job.budget or 60.0
    # For log-Mel, lhotse's own: 26 static bands every 10 ms.
    extractor = Extractor() if isinstance(case.job.encoder, HfAudio) else Fbank(FbankConfig(num_mel_bins=26))
    CutSet.from_cuts(cuts).sort_by_duration().compute_and_store_features_batch(
        extractor, folder / "lhotse", batch_duration=budget, num_workers=0, storage_type=NumpyHdf5Writer
    )


def _read(item: Path | str) -> Any:
    if isinstance(item, str):
        return item
    waveform, rate = soundfile.read(item, dtype="float32")
    assert rate == 16000, f"{item} has {rate} Hz; these loops do not resample"
    return waveform


def _raw(case: Case, items: Sequence[Any]) -> list[np.ndarray]:
    """The library's output: padded, with a mask, the last hidden state."""
    encoder = case.job.encoder
    with torch.inference_mode():
        if isinstance(encoder, HfText):
            given = encoder.tokenizer(list(items), padding=True, return_tensors="pt")
            states = case.raw(**given).last_hidden_state
            return [s[: int(n)].numpy() for s, n in zip(states, given["attention_mask"].sum(1), strict=True)]
        if isinstance(encoder, HfAudio):
            normalised = [(w - w.mean()) / np.sqrt(w.var() + 1e-7) for w in items]
            longest = max(map(len, normalised))
            padded = torch.from_numpy(np.stack([np.pad(w, (0, longest - len(w))) for w in normalised]))
            mask = torch.arange(longest) < torch.tensor([len(w) for w in normalised])[:, None]
            states = case.raw(padded, attention_mask=mask.long()).last_hidden_state
            return [s[: encoder.length(len(w))].numpy() for s, w in zip(states, normalised, strict=True)]
        import_torchaudio()
        from torchaudio.compliance import kaldi

        banks = (kaldi.fbank(torch.from_numpy(w)[None] * 32768, num_mel_bins=26, dither=0.0) for w in items)
        return [b.numpy() for b in banks]


def floor(case: Case) -> Callable[[], None]:
    """The bare forward passes over our batches, with all inputs already in memory and on the device."""
    items = {id: _read(item) for id, item in case.items}
    batches = [[items[id] for id in batch] for batch in plan_pass([case.job]).batches]
    encoder = case.job.encoder
    if not isinstance(encoder, HfAudio | HfText):
        return lambda: [encoder.encode(batch) for batch in batches] and None
    if isinstance(encoder, HfText):
        prepared = [(None, encoder._inputs(encoder.tokens.windows(batch))) for batch in batches]
    else:
        prepared = []
        for batch in batches:
            inputs = encoder._inputs([encoder._prepare(w) for w in batch])
            prepared.append((None if encoder.first_norm is None else encoder.first_norm.lengths, inputs))

    def forward() -> None:
        with torch.inference_mode():
            for lengths, inputs in prepared:
                if lengths is not None:
                    encoder.first_norm.lengths = lengths
                states = encoder.pretrained.model(**inputs).last_hidden_state
            if states.device.type == "cuda":
                torch.cuda.synchronize()

    return forward


def disk_floor(case: Case, folder: Path) -> None:
    """Read the bytes of every clip, write as many bytes as the feature has, and sync."""
    count = sum(plan_pass([case.job]).lengths.values()) * case.job.encoder.dimension * 2
    for _, item in case.items:
        if isinstance(item, Path):
            item.read_bytes()
    with (folder / "raw").open("wb") as file:
        file.write(bytes(count))
        os.fsync(file.fileno())


METHODS: dict[str, Method] = {
    "(a) emofuse": ours,
    "(b) batch 1, fp32, .npy each": one_by_one,
    "(c) random batches of 16, padded": random_batches,
    "(d) lhotse, batched, HDF5": lhotse_batches,
    "(f) disk": disk_floor,
}
FLOOR = "(e) bare forward passes"
__all__ = ["FLOOR", "METHODS", "Case", "floor"]
