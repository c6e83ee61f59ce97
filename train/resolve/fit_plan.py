"""The plan of a fit: every choice that a call of `fit` leaves open, resolved and checked."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emofuse.common.cli.command_line import command_line
from emofuse.common.source_version import commit
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.manifests.targets.target import Truth, class_numbers, target_record
from emofuse.train.models.base import ModelSpec
from emofuse.train.models.config import Config, settings_of, shortened
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.dialogues import DialogueTurns
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.joined_store import AnyFeature
from emofuse.train.resolve.leaks.checks import SharedMaterial
from emofuse.train.resolve.repeated import options_of
from emofuse.train.resolve.task_selection import TaskSelection


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """What a call of `fit` trains: model, features, utterances and folds."""

    config: FitConfig
    """The options of the call."""
    model: str
    """The registered name of the trained model: the requested one, or the model its ablation selects."""
    ablation: str | None
    protocol: Protocol
    spec: ModelSpec
    settings: Config
    """The hyper-parameters: the preset with the changes of the ablation and of the call."""
    preset: Config
    """The hyper-parameters without the changes of the call."""
    stores: Mapping[str, str]
    """Corpus -> the path of its store."""
    features: dict[str, AnyFeature]
    """By modality."""
    standardised: tuple[str, ...]
    """The modalities that are standardised by the statistics of each fold's training side."""
    speaker_standardised: tuple[str, ...] = ()
    """The modalities that are standardised by the statistics of each speaker (`--standardise speaker`)."""
    speaker_clips: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Speaker -> the ids of all clips in the store, also those of other tasks; for `speaker_standardised`."""
    utterances: tuple[Utterance, ...]
    """The utterances of the task that have every feature and that some fold uses."""
    truth: Truth
    """What is predicted of each of `utterances`."""
    folds: tuple[Fold, ...]
    """The requested folds."""
    task: TaskSelection
    """How the utterances were counted, and which are missing."""
    device: torch.device
    dialogues: DialogueTurns | None = None
    """The dialogues of `utterances`; None for a model that reads each utterance alone."""
    copies: tuple[AnyFeature, ...] = ()
    """Augmented copies of the audio feature, for training sides alone."""
    shared: SharedMaterial = field(default_factory=SharedMaterial)
    """What the test sides share with training."""
    remarks: tuple[str, ...] = ()
    """Notes for the user."""
    manifest_digest: str = ""

    @property
    def title(self) -> str:
        """The model's name, with its ablation in brackets."""
        return title_of(self.model, self.ablation)

    @property
    def labels(self) -> NDArray[np.int64]:
        """[n], the class number of each of `utterances`; zeros where the target has not one class."""
        return class_numbers(self.protocol.target, self.truth)

    @property
    def shown_metrics(self) -> tuple[str, ...]:
        """The metrics of tables: those of `--metrics`, else the protocol's."""
        return self.config.metrics or self.protocol.metrics

    def training_steps(self, training: Sequence[Utterance]) -> int:
        """Training steps on some of the utterances; where a batch counts dialogues, an epoch is all dialogues."""
        return self.settings.total_steps(self._examples(training))

    def _examples(self, training: Sequence[Utterance]) -> int:
        """How many utterances, or dialogues, an epoch has."""
        if self.dialogues is None:
            return len(training)
        chosen = {u.id for u in training}
        return len(np.unique(self.dialogues.dialogue[[u.id in chosen for u in self.utterances]]))

    def reduced(self) -> dict[str, Any]:
        """How far the task falls short of the protocol's counts, JSON-ready; empty where the counts match."""
        if not self.task.differences:
            return {}
        assert self.protocol.expected is not None
        return {
            "found": self.task.counted,
            "expected": self.protocol.expected.total,
            "allow_missing": self.config.allow_missing,
            "differences": list(self.task.differences),
        }

    def short_training(self) -> dict[str, Any]:
        """By how much the model trains less than its preset; empty where it does not, or where nothing is trained."""
        training = max((fold.train for fold in self.folds), key=len)
        return shortened(self.settings, self.preset, self._examples(training)) if training else {}

    def record(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What config.json records once per run: its identity (`run`), the stores, and what is missing."""
        return {
            "run": run,
            "options": options_of(self.config, self.protocol.name, {m: f.name for m, f in self.features.items()}),
            "store": str(self.config.store),
            "stores": dict(self.stores),
            "provenance": {m: dict(f.provenance) for m, f in self.features.items()},
            "encoder_seconds": {
                m: round(seconds, 2)
                for m, f in self.features.items()
                if (seconds := f.encoder_seconds([u.id for u in self.utterances])) is not None
            },
            "dtypes": {
                m: f.dtype if isinstance(f, CombinedFeature) else f.spec.dtype for m, f in self.features.items()
            },
            "allow_missing": self.config.allow_missing,
            "differences": list(self.task.differences),
            "excluded": dict(self.task.excluded),
        }

    def call(self) -> dict[str, Any]:
        """What config.json records of each call: the command, when and where it started, and with which versions."""
        return call_record(self.device)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers, JSON-ready; only an equal plan resumes an unfinished run."""
        return {
            "model": self.model,
            "ablation": self.ablation,
            "settings": settings_of(self.settings, self.features),
            **({} if self.config.layers == "none" else {"layers": self.config.layers}),
            **({} if self.config.combine == "concatenate" else {"combine": self.config.combine}),
            "class_weights": self.config.class_weights,
            "select": self.config.select,
            "optimism": self.config.optimism,
            **({} if self.config.calibrate == "none" else {"calibrate": self.config.calibrate}),
            "score_without": list(self.config.score_without),
            "limit": self.config.limit,
            "seed": self.config.seed,
            **({"allow_duplicates": True} if self.config.allow_duplicates else {}),
            **({"shuffle": list(self.config.shuffle)} if self.config.shuffle else {}),
            **({} if self.config.precision == "fp32" else {"precision": self.config.precision}),
            "folds": [f.number for f in self.folds],
            "protocol": _protocol_identity(self.protocol),
            "corpus": self.protocol.corpus,
            "manifest": self.manifest_digest,
            "utterances": len(self.utterances),
            "features": {m: _feature_identity(f) for m, f in self.features.items()},
            "standardised": list(self.standardised),
            **({"speaker_standardised": list(self.speaker_standardised)} if self.speaker_standardised else {}),
            **({"augmented": len(self.copies), "copies": self._copy_identities()} if self.copies else {}),
        }

    def _copy_identities(self) -> dict[str, Any]:
        return {f"copy {k}": {"name": f.name, "fingerprint": dict(f.fingerprint)} for k, f in enumerate(self.copies, 1)}


def _feature_identity(feature: AnyFeature) -> dict[str, Any]:
    """Name, encoder, dimension and fingerprint of a feature; of several that are combined, also those of each."""
    identity = {
        "name": feature.name,
        "encoder": feature.encoder,
        "dimension": feature.dimension,
        "fingerprint": dict(feature.fingerprint),
    }
    if isinstance(feature, CombinedFeature) and len(feature.members) > 1:
        identity["members"] = [_feature_identity(member) for member in feature.members]
    return identity


_LATER_FIELDS = ("names", "where", "fold_source", "fold_file", "absent", "unassigned", "declared_target")


def _protocol_identity(protocol: Protocol) -> dict[str, Any]:
    """The protocol's fields; without those that older runs do not have, where they are empty."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(replace(protocol, fold_file=None)).items()}
    values["declared_target"] = target_record(protocol.declared_target) if protocol.declared_target else None
    values["fold_file"] = protocol.fold_file.digest if protocol.fold_file else ""
    return {k: v for k, v in values.items() if v or k not in _LATER_FIELDS}


def call_record(device: torch.device) -> dict[str, Any]:
    """The present call for config.json: its command, when and where it started, and with which versions."""
    return {
        "command": command_line(),
        "folder": str(Path.cwd()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": platform.node(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
        "commit": commit(),
    }


def title_of(model: str, ablation: str | None) -> str:
    """A model's name, with its ablation in brackets: `mmrbn (MMRBN_2)`."""
    return f"{model} ({ablation})" if ablation else model


def with_seed(plan: FitPlan, seed: int) -> FitPlan:
    """The same plan for one other seed."""
    return replace(plan, config=replace(plan.config, seed=seed, seeds=1))


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute; recorded only, never compared."""
    versions = {"python": sys.version.split()[0]}
    for name in ("emofuse", "torch", "numpy", "scikit-learn", "h5py"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed as a package"
    versions["torch"] = torch.__version__  # names the CUDA build, which the package's own version leaves out
    return versions
