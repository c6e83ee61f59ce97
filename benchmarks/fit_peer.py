"""A peer's trainer on the same features: MMSA's MulT and LMF, for `benchmarks/fit.py`; `pip install MMSA`.

Its own model, data set and training loop (MMSA 2.2.1), with the settings that it has for CMU-MOSI, classifying. Its
input format: one pickle of arrays padded to one length (500 frames and 50 words, as in its own features) and three
modalities; here the third is one frame of one zero.
"""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.store import FeatureStore
from emofuse.train.resolve.fit_plan import FitPlan

FRAMES, WORDS = 500, 50
SAMPLE = 640
"""Utterances to train on: its arrays of all 5531 would take 9 GB, and a step costs the same."""

SETTINGS = {
    "mult": ("width=50", "heads=10", "feedforward=200", "cross_layers=4", "self_layers=4", "kernel=5", "batch=16",
             f"max_frames={FRAMES}", f"max_words={WORDS}"),
    "lmf": ("hidden=128", "units=16", "rank=3", "batch=64", f"max_frames={FRAMES}", f"max_words={WORDS}"),
}  # fmt: skip
"""Our settings with the peer's values, where both have the setting."""


def installed() -> bool:
    """Whether the peer can be measured."""
    return find_spec("MMSA") is not None


class _EnoughError(Exception):
    """The requested number of steps is done."""


class _Some:
    """Batches of a DataLoader, one epoch after the other, until `steps` have been trained."""

    def __init__(self, loader: DataLoader[Any], steps: int) -> None:
        self.loader, self.steps = loader, steps

    def __iter__(self) -> Iterator[Any]:
        while True:
            for batch in self.loader:
                if not self.steps:
                    raise _EnoughError
                self.steps -= 1
                yield batch

    def __len__(self) -> int:
        return len(self.loader)


class Peer:
    """MMSA, ready to run steps."""

    def __init__(self, plan: FitPlan, rows: Sequence[int]) -> None:
        import_transformers()  # MMSA imports it, which fails without this where torchaudio does not match torch
        from easydict import EasyDict
        from MMSA.config import get_config_regression
        from MMSA.data_loader import MMDataset
        from MMSA.models import AMIO
        from MMSA.trains import ATIO

        mult: Any = import_module("MMSA.trains.singleTask.MULT")
        # MMSA passes `verbose` to a scheduler that no longer has this option in recent torch versions.
        usual = mult.ReduceLROnPlateau
        mult.ReduceLROnPlateau = lambda *given, verbose, **more: usual(*given, **more)
        rows = rows[:SAMPLE]
        args = get_config_regression(plan.model, "mosi")
        args.update(
            train_mode="classification",
            num_classes=len(plan.protocol.classes),
            device="cpu",
            cur_seed=1,
            seq_lens=[WORDS, FRAMES, 1],
            conv1d_kernel_size_v=1,
            feature_T="",
            feature_A="",
            feature_V="",
        )
        with tempfile.TemporaryDirectory(dir=".") as folder:
            args["custom_feature"] = str(Path(folder) / "features.pkl")
            Path(args["custom_feature"]).write_bytes(pickle.dumps({"train": _padded(plan, rows)}, protocol=4))
            data = MMDataset(args, mode="train")
        args = EasyDict(args)
        self.loader = DataLoader(data, batch_size=args.batch_size, shuffle=True)
        self.model, self.trainer = AMIO(args), ATIO().getTrain(args)

    def take(self, steps: int) -> list[float]:
        """Train `steps` batches with the peer's loop."""
        with contextlib.suppress(_EnoughError):
            self.trainer.do_train(self.model, {"train": _Some(self.loader, steps)})
        return []

    def flops(self) -> float:
        """Operations of one utterance's forward pass, padded as the peer pads."""
        batch = next(iter(self.loader))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.model(batch["text"], batch["audio"], batch["vision"])
        return counter.get_total_flops() / len(batch["text"])


def _padded(plan: FitPlan, rows: Sequence[int]) -> dict[str, Any]:
    """One side of the pickle."""
    side: dict[str, Any] = {"id": [plan.utterances[i].id for i in rows], "raw_text": [""] * len(rows)}
    with FeatureStore(plan.config.store) as store:
        for modality, longest in (("audio", FRAMES), ("text", WORDS)):
            feature = store.feature(plan.features[modality].name)
            ragged = feature.read(side["id"])
            values = [v[:longest] for v in np.split(ragged.values, np.cumsum(ragged.lengths)[:-1])]
            side[modality] = np.stack([np.pad(v, ((0, longest - len(v)), (0, 0))) for v in values]).astype(np.float32)
            side[f"{modality}_lengths"] = [len(v) for v in values]
    side["vision"] = np.zeros((len(rows), 1, 1), np.float32)
    side["vision_lengths"] = [1] * len(rows)
    side["regression_labels"] = plan.labels[list(rows)].astype(np.float32)
    return side
