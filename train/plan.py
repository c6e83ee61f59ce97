"""From what a user asked to what will be done: every choice resolved and checked before anything is trained."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emofuse.common.errors import EmofuseError, UnknownNameError, UsageError
from emofuse.manifests import protocol as protocols
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature, Store
from emofuse.train.choose import choose
from emofuse.train.config import FitConfig
from emofuse.train.folds import Fold, build, encoder_leaks
from emofuse.train.models.base import ModelSpec
from emofuse.train.models.config import Config, SequenceConfig, settings_of, with_settings
from emofuse.train.models.registry import MODELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A fit, resolved."""

    config: FitConfig
    protocol: Protocol
    spec: ModelSpec
    settings: Config
    features: dict[str, Feature]
    """By modality."""
    standardised: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    """Those of the task that have every feature."""
    labels: NDArray[np.int64]
    """The class of each utterance."""
    folds: tuple[Fold, ...]
    """The folds asked for."""
    excluded: tuple[str, ...]
    """Utterances of the task that lack a feature, the known gaps of the release left aside."""
    device: torch.device
    remarks: tuple[str, ...] = ()
    manifest_digest: str = ""

    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers, JSON-ready; a half-done run is continued only by an equal one."""
        return {
            "model": self.config.model,
            "settings": settings_of(self.settings, self.features),
            "class_weights": self.config.class_weights,
            "select": self.config.select,
            "optimism": self.config.optimism,
            "seed": self.config.seed,
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


@dataclass(slots=True)
class _Problems:
    found: list[EmofuseError] = field(default_factory=list)

    @contextmanager
    def noting(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            self.found.append(error)

    def stop(self) -> None:
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            raise UsageError("\n  - ".join(["several things are wrong:", *map(str, self.found)]))


def resolve(store: Store, config: FitConfig) -> Plan:
    """Resolve a call of `fit` against a store.

    Raises:
        UsageError: All that is wrong with the options, in one message; then what is wrong with the data.
    """
    problems = _Problems()
    spec: ModelSpec | None = None
    protocol: Protocol | None = None
    settings: Config | None = None
    features: dict[str, Feature] = {}
    remarks: list[str] = []
    device = torch.device("cpu")
    with problems.noting():
        spec = MODELS[config.model]
    with problems.noting():
        protocol = _protocol(store, config.protocol)
    with problems.noting():
        device = find_device(config.device)
    if spec is not None:
        wanted = {"audio": config.audio, "text": config.text}
        features, remarks = choose(store, config.model, spec, wanted, problems.found)
        with problems.noting():
            settings = _settings(config, spec, store.manifest.corpus, tuple(features) or spec.modalities)
    if config.seeds < 1 or config.allow_missing < 0:
        problems.found.append(UsageError("--seeds is at least 1 and --allow-missing at least 0"))
    problems.stop()
    assert spec is not None
    assert protocol is not None
    assert settings is not None
    utterances, excluded, gaps = _utterances(store, protocol, features, config.allow_missing)
    folds = _chosen(build(protocol, utterances, config.select), config.folds)
    remarks += _encoders(features, protocol, folds)
    remarks += gaps
    if protocol.fold_by == "split" and config.select == "last":
        remarks.append("the official dev split is left unused (--select last)")
    classes = {c: i for i, c in enumerate(protocol.classes)}
    return Plan(
        config=config,
        protocol=protocol,
        spec=spec,
        settings=settings,
        features=features,
        standardised=_standardised(spec, settings, features),
        utterances=utterances,
        labels=np.array([classes[protocol.class_of(u) or ""] for u in utterances], np.int64),
        folds=tuple(folds),
        excluded=excluded,
        device=device,
        remarks=tuple(remarks),
        manifest_digest=store.manifest.digest(),
    )


def _protocol(store: Store, name: str | None) -> Protocol:
    corpus = store.manifest.corpus
    protocol = protocols.default_for(corpus) if name is None else protocols.load(name)
    if protocol.corpus != corpus:
        fitting = ", ".join(protocols.names(corpus)) or "none; write one (--protocol PATH.toml)"
        raise UsageError(
            f"protocol {protocol.name} is for corpus {protocol.corpus}, but {store.path} holds {corpus}; "
            f"valid: {fitting}"
        )
    return protocol


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


def _settings(config: FitConfig, spec: ModelSpec, corpus: str, modalities: Sequence[str]) -> Config:
    steps = [] if config.steps is None else [f"steps={config.steps}"]
    return with_settings(spec.preset(corpus), [*steps, *config.settings], modalities)


def _standardised(spec: ModelSpec, settings: Config, features: dict[str, Feature]) -> tuple[str, ...]:
    if not isinstance(settings, SequenceConfig):
        return tuple(features) if spec.pool == "mean+deviation" else ()
    choice = {"audio": settings.standardise_audio, "text": settings.standardise_text}
    return tuple(
        m for m, f in features.items() if choice[m] == "on" or (choice[m] == "auto" and f.encoder.startswith("logmel"))
    )


def _utterances(
    store: Store, protocol: Protocol, features: dict[str, Feature], allowed: int
) -> tuple[tuple[Utterance, ...], tuple[str, ...], list[str]]:
    task = [u for u in store.manifest.utterances if protocol.class_of(u) is not None]
    if not task:
        labels = sorted({str(u.label) for u in store.manifest.utterances})
        raise UsageError(
            f"no utterance of {store.path} has a label of protocol {protocol.name}; it has: {', '.join(labels)}"
        )
    held = {m: set(f.position) - set(f.stale) for m, f in features.items()}
    available = set.intersection(*held.values())
    gaps = set(protocol.expected.without_audio) if protocol.expected else set()
    lacking = [u.id for u in task if u.id not in available]
    excluded = tuple(i for i in lacking if i not in gaps)
    differences = protocol.differences(task, available)
    off = max(_off(protocol, task, available), len(excluded))
    if off > allowed or (differences and not off):
        lines = [*differences, *_lacking(held, excluded)]
        raise UsageError(
            f"the counts of protocol {protocol.name} do not come out of {store.path} "
            f"(off by {off}, allowed {allowed}):\n  - "
            + "\n  - ".join(lines)
            + f"\nFinish or repair the extraction, or go on without them: --allow-missing {off}"
        )
    known = [f"known gaps of the release, without features: {', '.join(sorted(set(lacking) & gaps))}"]
    kept = tuple(u for u in task if u.id in available)
    return kept, excluded, known if set(lacking) & gaps else []


def _off(protocol: Protocol, task: Sequence[Utterance], available: set[str]) -> int:
    """By how many utterances the counts are off, in the total or class by class, whichever is more."""
    if protocol.expected is None:
        return 0
    counted = [u for u in task if u.id in available or u.id in protocol.expected.without_audio]
    classes = Counter(str(protocol.class_of(u)) for u in counted)
    by_class = sum(abs(classes[c] - n) for c, n in protocol.expected.classes.items())
    return max(abs(len(counted) - protocol.expected.total), by_class)


def _lacking(held: dict[str, set[str]], excluded: Sequence[str]) -> list[str]:
    found = []
    for modality, ids in held.items():
        absent = [i for i in excluded if i not in ids]
        if absent:
            found.append(f"without an up-to-date {modality} feature: {len(absent)} ({', '.join(absent[:3])}, ...)")
    return found


def _chosen(folds: list[Fold], asked: str) -> list[Fold]:
    if asked == "all":
        return folds
    by_number = {str(f.number): f for f in folds}
    numbers = [n.strip() for n in asked.split(",")]
    for number in numbers:
        if number not in by_number:
            raise UnknownNameError("fold", number, by_number, "Several: --folds 1,3.")
    return [f for f in folds if str(f.number) in numbers]


def _encoders(features: dict[str, Feature], protocol: Protocol, folds: Sequence[Fold]) -> list[str]:
    refused, remarks = [], []
    for feature in features.values():
        bad, said = encoder_leaks(feature.name, feature.provenance, protocol.corpus, folds)
        refused += bad
        remarks += said
    if refused:
        raise UsageError(
            "these folds would be tested on what an encoder has learned from:\n  - "
            + "\n  - ".join(refused)
            + "\nLeave those folds out (--folds) or take a feature whose encoder was not fitted on them."
        )
    return remarks


def with_seed(plan: Plan, seed: int) -> Plan:
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
    return found
