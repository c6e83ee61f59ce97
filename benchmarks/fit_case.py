"""What `benchmarks/fit.py` fits: stores of the papers' features at IEMOCAP's real lengths, and the training methods."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import fit_peer
import numpy as np
import torch
from torch.utils.data import DataLoader

from emofuse.extract.audio.scan import read_dataset, scan_corpus
from emofuse.manifests.schema import Manifest
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.train.data.loader import Loader
from emofuse.train.dataset import UtteranceDataset
from emofuse.train.fitting.fold import side_indices
from emofuse.train.fitting.loop import predict
from emofuse.train.fitting.step import Stepper
from emofuse.train.models.blocks import layers
from emofuse.train.models.config import SequenceConfig
from emofuse.train.models.listing.cost import FEATURE_SIZES, cost
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.fit_context import model_recipe, resolved

FIXED = ("smcn",)
"""Models that their papers pad to fixed lengths; the others are padded to the longest of a batch."""


def write_case(root: Path, model: str, path: Path) -> None:
    """A store of `model`'s own features: real utterances, labels and lengths, random values."""
    manifest, where = read_dataset("iemocap", root)
    manifest = scan_corpus(manifest, where, {"audio"}, quiet=True)[0]
    features = {name: _chance(manifest, modality, name) for modality, name in MODELS[model].features.items()}
    write_store(path, manifest, features)


def _chance(manifest: Manifest, modality: str, name: str) -> FeatureData:
    width, rate = FEATURE_SIZES[name]
    pool = np.random.default_rng(0).standard_normal((1 << 14, width)).astype(np.float16)
    spoken = [u for u in manifest.utterances if u.audio is not None and u.text]
    frames = {u.id: max(1, round((u.seconds or 0) * rate)) if rate else len(u.text.split()) + 2 for u in spoken}
    return FeatureData(
        modality=modality,
        arrays={id: pool[7 * n % 8192 : 7 * n % 8192 + count] for n, (id, count) in enumerate(frames.items())},
        encoder=name,
        frame_rate=rate,
    )


def _plain_recurrence(x: torch.Tensor, lengths: torch.Tensor, grus: Sequence[layers.BiGRU]) -> list[torch.Tensor]:
    return [gru.forward_torch(x, lengths) for gru in grus]


class Method:
    """One training method, ready to run steps; each has its own process."""

    def __init__(self, config: FitConfig, threads: int, kind: str) -> None:
        torch.set_num_threads(threads)
        self.done = 0.0
        """Steps done, each weighted by the true lengths of its utterances: rounds are short, and some batches long."""
        self._opened = resolved(config)
        self.plan = self._opened.__enter__()
        self.fold = self.plan.folds[0]
        self.train, self.validation, _ = side_indices(self.plan, self.fold).values()
        self.stepper = Stepper(model_recipe(self.plan), self.plan.device, seed=0)
        self.take = (
            self._ours(shared=threads == 1) if kind == "ours" else self._plain() if kind == "plain" else self._peer()
        )
        longest = {m: int(f.lengths.max()) for m, f in self.plan.features.items()}
        self.flops = _flops_of(self.plan, {m: min(n, limits_of(self.plan)[m] or n) for m, n in longest.items()})
        sides_of = Loader(self.plan, shared=True).task_data(self.fold).modalities
        self.lengths = {m: side.lengths.numpy() for m, side in sides_of.items()}
        self.mean_work = float(self.work(self.train).mean())

    def work(self, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Operations for the true lengths of some utterances."""
        found: np.ndarray[Any, Any] = self.flops(*(self.lengths[m][indices] for m in ("audio", "text")))
        return found

    def _ours(self, *, shared: bool) -> Callable[[int], list[float]]:
        corpus = Loader(self.plan, shared=shared).task_data(self.fold).with_statistics_of(self.train)
        batches = corpus.training_batches(self.train, self.plan.settings.batch, np.random.default_rng(0))
        self.corpus = corpus

        def take(steps: int) -> list[float]:
            found = []
            for some in islice(batches, steps):
                self.done += float(self.work(some).mean() / self.mean_work)
                found.append(float(self.stepper.step(corpus, some, 0.5)))
            return found

        return take

    def _plain(self) -> Callable[[int], list[float]]:
        """A DataLoader over the store, padding, plain recurrences, default Adam."""
        plan, stepper, rows = self.plan, self.stepper, self.train
        layers.run_bigrus = _plain_recurrence
        sys.modules[stepper.model.__module__].__dict__.update(run_bigrus=_plain_recurrence)
        stepper.optimiser = torch.optim.Adam(stepper.model.parameters(), lr=plan.settings.lr)
        ids = [plan.utterances[i].id for i in rows]
        place = {u.id: i for i, u in enumerate(plan.utterances)}
        classes = {u.id: int(label) for u, label in zip(plan.utterances, plan.labels, strict=True)}
        names = {m: f.name for m, f in plan.features.items()}
        dataset = UtteranceDataset(plan.config.store, list(names.values()), ids, transform=lambda u: classes[u.id])
        limits = limits_of(plan)
        fixed = limits if plan.model in FIXED else dict.fromkeys(limits)

        def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
            rows = np.array([place[i["id"]] for i in items])
            batch: dict[str, Any] = {"labels": torch.tensor([i["target"] for i in items]), "rows": rows}
            for modality, name in names.items():
                values = [i[name][: limits[modality]] for i in items]
                batch[f"{modality}_lengths"] = torch.tensor([len(v) for v in values])
                time = fixed[modality] or max(len(v) for v in values)
                batch[modality] = torch.stack([torch.nn.functional.pad(v, (0, 0, 0, time - len(v))) for v in values])
            return batch

        statistics = Loader(plan).task_data(self.fold).with_statistics_of(rows).statistics or {}

        def passes() -> Iterator[dict[str, Any]]:
            while True:
                loader = DataLoader(dataset, plan.settings.batch, shuffle=True, drop_last=True, collate_fn=collate)
                yield from loader

        batches = passes()

        def step(batch: dict[str, Any]) -> float:
            self.done += float(self.work(batch["rows"]).mean() / self.mean_work)
            model = stepper.model.train()
            for modality, (mean, scale) in statistics.items():
                batch[modality] = (batch[modality] - mean) / scale
            inputs = [batch.get(k) for m in ("audio", "text") for k in (m, f"{m}_lengths")]
            frames, words = (0 if x is None else x.shape[1] for x in (inputs[0], inputs[2]))
            draws = model.draw(len(batch["labels"]), frames, words, stepper.generator)
            loss = model.loss(model(*inputs, draws=draws, progress=0.5), batch["labels"])
            stepper.optimiser.zero_grad()
            loss.backward()
            stepper.optimiser.step()
            return float(loss.detach())

        self.step, self.dataset, self.collate = step, dataset, collate
        return lambda steps: [step(batch) for batch in islice(batches, steps)]

    def _peer(self) -> Callable[[int], list[float]]:
        self.peer = fit_peer.Peer(self.plan, [int(i) for i in self.train])

        def take(steps: int) -> list[float]:
            self.done += steps  # padded to one length, a step always costs the same
            return self.peer.take(steps)

        return take

    def same_batches(self, steps: int) -> list[float]:
        """Losses of the plain method over the first batches of ours."""
        corpus = Loader(self.plan).task_data(self.fold)
        order = corpus.training_batches(self.train, self.plan.settings.batch, np.random.default_rng(0))
        place = {int(row): k for k, row in enumerate(self.train)}
        return [
            self.step(self.collate(self.dataset.__getitems__([place[int(i)] for i in some])))
            for some in islice(order, steps)
        ]


_HERE: dict[str, Method] = {}


def begin(config: FitConfig, threads: int, kind: str) -> None:
    """Set the method up in this process."""
    _HERE["method"] = Method(config, threads, kind)


def timed(steps: int) -> float:
    """Seconds for `steps` steps of mean length."""
    method = _HERE["method"]
    method.done, started = 0.0, time.perf_counter()
    method.take(steps)
    return (time.perf_counter() - started) * steps / method.done


def evaluation_seconds() -> float:
    """Seconds of one evaluation step."""
    method = _HERE["method"]
    started = time.perf_counter()
    predict(method.stepper.model, method.corpus, method.validation)
    return time.perf_counter() - started


def peer_network() -> float:
    """Operations of the peer's network divided by those of ours, both padded as the peer pads."""
    method = _HERE["method"]
    return method.peer.flops() / float(method.flops(fit_peer.FRAMES, fit_peer.WORDS))


def losses(steps: int, kind: str) -> list[float]:
    """The losses of the first steps, the same batches for both methods; in a fresh process."""
    method = _HERE["method"]
    return method.take(steps) if kind == "ours" else method.same_batches(steps)


def peak_megabytes() -> int:
    """Peak resident memory of this process, including shared memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def limits_of(plan: FitPlan) -> dict[str, int | None]:
    """The largest number of frames and words that the model uses."""
    cut = plan.settings if isinstance(plan.settings, SequenceConfig) else None
    limits = {"audio": cut.max_frames if cut else None, "text": cut.max_words if cut else None}
    return {m: limits[m] for m in plan.features}


def work_of(options: argparse.Namespace, config: FitConfig) -> dict[str, float]:
    """GFLOP of a step, for the true lengths and for those padded by the plain method; three forward passes each."""
    del options
    with resolved(config) as plan, FeatureStore(config.store) as store:
        rng, limits = np.random.default_rng(0), limits_of(plan)
        train = [u.id for u in plan.folds[0].train]
        lengths = {m: _lengths(store, f.name, train, limits[m]) for m, f in plan.features.items()}
        batch = plan.settings.batch
        flops = _flops_of(plan, {m: int(t.max()) for m, t in lengths.items()})
        true = flops(lengths["audio"], lengths["text"]).mean() * batch
        chosen = rng.permutation(len(train))[: len(train) // batch * batch].reshape(-1, batch)
        fixed = limits if plan.model in FIXED else {}
        longest = {m: t[chosen].max(1) if not fixed else np.array([fixed[m]]) for m, t in lengths.items()}
        padded = batch * flops(longest["audio"], longest["text"]).mean()
        steps = sum(plan.settings.total_steps(len(f.train)) for f in plan.folds)
    return {"true": 3e-9 * float(true), "padded": 3e-9 * float(padded), "steps": steps}


def _lengths(store: FeatureStore, name: str, ids: Sequence[str], limit: int | None) -> np.ndarray[Any, Any]:
    feature = store.feature(name)
    found = feature.lengths[[feature.position[i] for i in ids]]
    return found if limit is None else np.minimum(found, limit)


def _flops_of(plan: FitPlan, most: dict[str, int]) -> Callable[[Any, Any], Any]:
    """An utterance's forward pass as a function of its frames and words: a polynomial, from counts at some lengths."""
    rate = FEATURE_SIZES[plan.spec.features["audio"]][1] or 1.0
    points = [(round(most["audio"] * a), max(2, round(most["text"] * t))) for a in (0.1, 0.4, 1) for t in (0.1, 0.5, 1)]
    counts = [cost(plan.spec, plan.settings, len(plan.protocol.classes), a / rate, t).flops for a, t in points]

    def terms(frames: Any, words: Any) -> Any:
        a, t = np.asarray(frames, float), np.asarray(words, float)
        return np.stack([np.ones_like(a), a, t, a * a, t * t, a * t], axis=-1)

    weights = np.linalg.lstsq(terms(*zip(*points, strict=True)), np.array(counts, float), rcond=None)[0]
    return lambda frames, words: terms(frames, words) @ weights
