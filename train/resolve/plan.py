"""From what a user asked to what will be done: every choice resolved and checked before anything is trained."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.manifests.folds import Fold, build, chosen, limited
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.train.models.base import ModelSpec
from emofuse.train.models.config import Config, SequenceConfig, settings_of, with_settings
from emofuse.train.models.registry import MODELS, variant
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.feature_selection import select_features
from emofuse.train.resolve.joined_store import AnyFeature, AnyStore, JoinedStore, parts
from emofuse.train.resolve.leakage import encoder_remarks
from emofuse.train.resolve.per_fold_feature import PerFoldFeature
from emofuse.train.resolve.protocol_selection import select_protocol
from emofuse.train.resolve.task_selection import TaskSelection, select_task


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """A fit, resolved."""

    config: FitConfig
    model: str
    """The registered name of what is trained: the model asked for, or the one that its ablation is."""
    ablation: str | None
    protocol: Protocol
    spec: ModelSpec
    settings: Config
    stores: Mapping[str, str]
    """Corpus -> the path of its store."""
    features: dict[str, AnyFeature]
    """By modality."""
    standardised: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    """Those of the task that have every feature and that a fold uses."""
    labels: NDArray[np.int64]
    """The class of each utterance."""
    folds: tuple[Fold, ...]
    """The folds asked for."""
    task: TaskSelection
    """How the task was counted, and what is missing from it."""
    device: torch.device
    remarks: tuple[str, ...] = ()
    manifest_digest: str = ""

    @property
    def title(self) -> str:
        """What people call it: the model and its ablation."""
        return title_of(self.model, self.ablation)

    def reduced(self) -> dict[str, Any]:
        """How far the task falls short of the protocol's counts, JSON-ready; empty where it does not."""
        if not self.task.differences:
            return {}
        assert self.protocol.expected is not None
        return {
            "found": self.task.found,
            "expected": self.protocol.expected.total,
            "allow_missing": self.config.allow_missing,
            "differences": list(self.task.differences),
        }

    def record(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What config.json holds of every call: what was asked (`run`), from what, and what is missing."""
        return {
            "run": run,
            "store": str(self.config.store),
            "stores": dict(self.stores),
            "provenance": {m: dict(f.provenance) for m, f in self.features.items()},
            "allow_missing": self.config.allow_missing,
            "differences": list(self.task.differences),
            "excluded": dict(self.task.excluded),
        }

    def call(self) -> dict[str, Any]:
        """What config.json holds of each call: where and with what it ran."""
        return {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": platform.node(),
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }

    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers, JSON-ready; a half-done run is continued only by an equal one."""
        return {
            "model": self.model,
            "ablation": self.ablation,
            "settings": settings_of(self.settings, self.features),
            "class_weights": self.config.class_weights,
            "select": self.config.select,
            "optimism": self.config.optimism,
            "score_without": list(self.config.score_without),
            "limit": self.config.limit,
            "seed": self.config.seed,
            **({} if self.config.precision == "fp32" else {"precision": self.config.precision}),
            "folds": [f.number for f in self.folds],
            "protocol": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.protocol).items()},
            "corpus": self.protocol.corpus,
            "manifest": self.manifest_digest,
            "utterances": len(self.utterances),
            "features": {
                m: {"name": f.name, "encoder": f.encoder, "dimension": f.dimension, "fingerprint": dict(f.fingerprint)}
                for m, f in self.features.items()
            },
            "standardised": list(self.standardised),
        }


def resolve(store: AnyStore, config: FitConfig) -> FitPlan:
    """Resolve a call of `fit` against its store, or its stores as one.

    Raises:
        UsageError: All that is wrong with the options, in one message; then what is wrong with the data.
    """
    problems = Problems()
    model, ablation = config.model, config.ablation
    called = model
    spec: ModelSpec | None = None
    protocol: Protocol | None = None
    settings: Config | None = None
    features: dict[str, AnyFeature] = {}
    remarks: list[str] = []
    device = torch.device("cpu")
    with problems.noting():
        model, ablation, spec = variant(config.model, config.ablation)
        called = title_of(model, ablation)
    with problems.noting():
        protocol = select_protocol(store, config.protocol)
    with problems.noting():
        device = find_device(config.device)
    if spec is not None:
        wanted = {"audio": config.audio, "text": config.text}
        features, remarks = select_features(store, called, spec, wanted, problems.found)
        with problems.noting():
            settings = _settings(config, spec, ablation, store.manifest.corpus, tuple(features) or spec.modalities)
        needed = [m for m in config.score_without if m not in spec.optional]
        if needed:
            able = [e.name for e in MODELS if e.value.optional and e.name != model]
            problems.found.append(
                UsageError(
                    f"--score-without {' and '.join(needed)}: model {called} cannot be scored without; "
                    f"models that can: {', '.join(able) or 'none other'}"
                )
            )
    if config.precision == "tf32" and device.type != "cuda":
        problems.found.append(UsageError(f"--precision tf32 is a GPU's, and this is {device}; valid: fp32, bf16"))
    if config.jobs not in (None, 1) and config.scheduler:
        problems.found.append(UsageError("--jobs and --scheduler exclude each other: pass one"))
    if config.seeds < 1 or config.allow_missing < 0:
        problems.found.append(UsageError("--seeds is at least 1 and --allow-missing at least 0"))
    problems.stop()
    assert spec is not None
    assert protocol is not None
    assert settings is not None
    task = select_task(store, protocol, features, config.allow_missing)
    folds = build(protocol, task.utterances, config.select)
    used = {u.id for fold in folds for side in fold.sides.values() for u in side}
    utterances = tuple(u for u in task.utterances if u.id in used)
    folds = chosen(folds, config.folds)
    if config.limit is not None:
        utterances, folds = limited(utterances, folds, protocol, config.limit)
        remarks.append(
            f"short run: {len(utterances)} utterances (--limit {config.limit}), spread over folds and classes"
        )
    for modality, feature in features.items():
        if isinstance(feature, PerFoldFeature):
            with problems.noting():
                features[modality] = feature.serving(folds, protocol.grouping)
    problems.stop()
    remarks += encoder_remarks(store, features, protocol, folds)
    remarks += task.remarks
    if isinstance(store, JoinedStore):
        remarks += [f"{s.corpus} from {s.path} ({option})" for option, s in store.options]
    if len(used) < len(task.utterances):
        idle = len(task.utterances) - len(used)
        remarks.append(f"the official dev split, {idle} utterances, is left unused (--select last)")
    classes = {c: i for i, c in enumerate(protocol.classes)}
    return FitPlan(
        config=config,
        model=model,
        ablation=ablation,
        protocol=protocol,
        spec=spec,
        settings=settings,
        stores={s.corpus: str(s.path) for s in parts(store)},
        features=features,
        standardised=_standardised(spec, settings, features),
        utterances=utterances,
        labels=np.array([classes[protocol.class_of(u) or ""] for u in utterances], np.int64),
        folds=tuple(folds),
        task=task,
        device=device,
        remarks=tuple(remarks),
        manifest_digest=store.manifest.digest(),
    )


def title_of(model: str, ablation: str | None) -> str:
    """What people call a model under an ablation."""
    return f"{model} ({ablation})" if ablation else model


def find_device(name: str) -> torch.device:
    """`auto` (the first CUDA device where there is one), `cpu`, `cuda` or `cuda:1`.

    Raises:
        UsageError: No such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    count = torch.cuda.device_count()
    if name == "cpu" or (kind == "cuda" and (number or "0").isdigit() and int(number or 0) < count):
        return torch.device(name)
    valid = ", ".join(["auto", "cpu", *(f"cuda:{i}" for i in range(count))])
    raise UsageError(f"no device {name!r} here; valid: {valid}")


def _settings(
    config: FitConfig, spec: ModelSpec, ablation: str | None, corpus: str, modalities: Sequence[str]
) -> Config:
    lengths = {"steps": config.steps, "epochs": config.epochs}
    given = [f"{key}={value}" for key, value in lengths.items() if value is not None]
    fixed = spec.ablations[ablation].settings if ablation else {}
    preset = replace(spec.preset(corpus), **fixed)
    return with_settings(preset, [*given, *config.settings], modalities, ablation, fixed)


def _standardised(spec: ModelSpec, settings: Config, features: dict[str, AnyFeature]) -> tuple[str, ...]:
    if not isinstance(settings, SequenceConfig):
        return tuple(features) if spec.pool == "mean+deviation" else ()
    choice = {"audio": settings.standardise_audio, "text": settings.standardise_text}
    return tuple(
        m for m, f in features.items() if choice[m] == "on" or (choice[m] == "auto" and f.encoder.startswith("logmel"))
    )


def with_seed(plan: FitPlan, seed: int) -> FitPlan:
    """The same plan with another seed."""
    return replace(plan, config=replace(plan.config, seed=seed, seeds=1))


def versions() -> dict[str, str]:
    """What ran: recorded, never compared."""
    from importlib.metadata import version

    names = ("emofuse", "torch", "numpy", "scikit-learn", "h5py")
    found = {"python": sys.version.split()[0]}
    for name in names:
        try:
            found[name] = version(name)
        except ImportError:
            found[name] = "not installed as a package"
    found["torch"] = torch.__version__  # names the CUDA build, which the package's own version leaves out
    return found
