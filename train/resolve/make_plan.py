"""From the options of a call to its plan: every choice is resolved and checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from emofuse.common.output.console import plural
from emofuse.common.problems import Problems
from emofuse.manifests.folds.cross_validation import Fold, build_folds, limit_folds, select_folds
from emofuse.manifests.metrics.scores import METRICS, VALUE_METRICS, check_metrics
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.train.models.base import ModelSpec
from emofuse.train.models.config import Config, SequenceConfig, with_settings
from emofuse.train.models.registry import MODELS, variant
from emofuse.train.resolve.config import FitConfig, names_of
from emofuse.train.resolve.device import find_device
from emofuse.train.resolve.dialogues import context_remarks, dialogue_turns
from emofuse.train.resolve.features.augmented_copies import select_copies
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.feature_selection import select_features
from emofuse.train.resolve.features.joined_store import AnyFeature, AnyStore, JoinedStore, member_stores
from emofuse.train.resolve.features.per_fold_feature import PerFoldFeature
from emofuse.train.resolve.fit_plan import FitPlan, title_of
from emofuse.train.resolve.leaks.checks import check_test_sides
from emofuse.train.resolve.protocol_selection import select_protocol
from emofuse.train.resolve.speakers import check_speakers, speaker_clips
from emofuse.train.resolve.target_conflicts import target_conflicts
from emofuse.train.resolve.task_selection import TaskSelection, select_task
from emofuse.train.resolve.training_conflicts import training_conflicts


def resolve(store: AnyStore, config: FitConfig) -> FitPlan:
    """Resolve a call of `fit` against its store, or its joined stores.

    Raises:
        UsageError: Lists everything that is wrong with the options; if nothing is, what is wrong with the data.
    """
    choices = _resolve_options(store, config)
    task = select_task(store, choices.protocol, choices.features, config.allow_missing)
    selection = _select_folds(config, choices.protocol, task)
    dialogues = dialogue_turns(choices.spec, title_of(choices.model, choices.ablation), selection.utterances)
    check_speakers(choices.settings, {u.id: u for fold in selection.folds for u in fold.train}.values())
    features = _features_for_folds(choices.features, selection.folds, choices.protocol)
    copies = select_copies(store, features, config.augmented)
    shared, shared_remarks = check_test_sides(
        store,
        features,
        choices.protocol,
        selection.folds,
        selection.utterances,
        allow_duplicates=config.allow_duplicates,
    )
    remarks = [
        *choices.remarks,
        *_copy_remarks(copies, selection.folds),
        *selection.remarks,
        *context_remarks(choices.spec, choices.settings, dialogues, selection.folds, store.manifest.utterances),
        *shared_remarks,
        *task.remarks,
        *_store_remarks(store),
        *_unused_split_remarks(choices.protocol, task, selection.used),
    ]
    by_speaker, standardised = config.standardise == "speaker", _standardised(choices.spec, choices.settings, features)
    return FitPlan(
        config=config,
        model=choices.model,
        ablation=choices.ablation,
        protocol=choices.protocol,
        spec=choices.spec,
        settings=choices.settings,
        preset=choices.preset,
        stores={s.corpus: str(s.path) for s in member_stores(store)},
        features=features,
        dialogues=dialogues,
        copies=copies,
        standardised=() if by_speaker else standardised,
        speaker_standardised=standardised if by_speaker else (),
        speaker_clips=speaker_clips(store.manifest.utterances, selection.utterances) if by_speaker else {},
        utterances=selection.utterances,
        truth=choices.protocol.truth(selection.utterances),
        folds=selection.folds,
        task=task,
        shared=shared,
        device=choices.device,
        remarks=tuple(remarks),
        manifest_digest=store.manifest.digest(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choices:
    """What follows from the options and the stores, without the utterances."""

    model: str
    ablation: str | None
    spec: ModelSpec
    settings: Config
    preset: Config
    protocol: Protocol
    features: dict[str, AnyFeature]
    device: torch.device
    remarks: list[str]


def _resolve_options(store: AnyStore, config: FitConfig) -> _Choices:
    """Model, protocol, features, settings and device; every mistake in the options is in one message."""
    problems = Problems()
    model, ablation = config.model, config.ablation
    spec: ModelSpec | None = None
    protocol: Protocol | None = None
    settings: Config | None = None
    preset: Config | None = None
    features: dict[str, AnyFeature] = {}
    remarks: list[str] = []
    device = torch.device("cpu")
    with problems.collecting():
        model, ablation, spec = variant(config.model, config.ablation)
    with problems.collecting():
        protocol = select_protocol(store, config.protocol)
    with problems.collecting():
        device = find_device(config.device)
    if spec is not None:
        requested = {m: names_of(value) for m, value in (("audio", config.audio), ("text", config.text))}
        weighted = config.layers == "weighted"
        features, remarks = select_features(
            store, title_of(model, ablation), spec, requested, problems, weighted=weighted
        )
        if features and config.combine != "concatenate" and all(len(names) < 2 for names in requested.values()):
            problems.add(f"--combine {config.combine} has no effect: no modality has several features")
        with problems.collecting():
            preset = _preset(spec, ablation, store.manifest.corpus)
            settings = _settings(config, spec, ablation, preset, tuple(features) or spec.modalities)
            if config.standardise == "speaker" and features and not _standardised(spec, settings, features):
                problems.add(
                    "--standardise speaker has no effect, since no feature is standardised: add --set "
                    f"{' or '.join(f'standardise_{m}=on' for m in features)}, or leave it out"
                )
        _check_score_without(config, model, ablation, spec, problems)
    if protocol is not None and settings is not None:
        for line in target_conflicts(config, settings, protocol.target):
            problems.add(line)
    _check_scores(config, problems)
    _check_combinations(config, device, problems)
    _check_final(config, features, problems)
    _check_copies(config, features, problems)
    _check_shuffle(config, features, problems)
    problems.raise_all()
    assert spec is not None
    assert protocol is not None
    assert settings is not None
    assert preset is not None
    return _Choices(
        model=model,
        ablation=ablation,
        spec=spec,
        settings=settings,
        preset=preset,
        protocol=protocol,
        features=features,
        device=device,
        remarks=remarks,
    )


def _preset(spec: ModelSpec, ablation: str | None, corpus: str) -> Config:
    """The model's preset for a corpus, with the changes of the ablation."""
    return replace(spec.preset(corpus), **(spec.ablations[ablation].settings if ablation else {}))


def _settings(
    config: FitConfig, spec: ModelSpec, ablation: str | None, preset: Config, modalities: Sequence[str]
) -> Config:
    """The preset with the changes of the call."""
    durations = {"steps": config.steps, "epochs": config.epochs}
    given = [f"{key}={value}" for key, value in durations.items() if value is not None]
    fixed = spec.ablations[ablation].settings if ablation else {}
    conflicts = partial(training_conflicts, config, spec)
    return with_settings(preset, [*given, *config.settings], modalities, ablation, fixed, conflicts)


def _check_score_without(
    config: FitConfig, model: str, ablation: str | None, spec: ModelSpec, problems: Problems
) -> None:
    required = [m for m in config.score_without if m not in spec.optional]
    if required:
        others = [e.name for e in MODELS if e.value.optional and e.name != model]
        problems.add(
            f"--score-without {' and '.join(required)}: model {title_of(model, ablation)} needs all its modalities; "
            f"models that do not: {', '.join(others) or 'no other'}"
        )


def _check_scores(config: FitConfig, problems: Problems) -> None:
    check_metrics(config.metrics, [*METRICS, *VALUE_METRICS], problems)
    if config.calibrate != "none" and config.select == "last":
        problems.add(
            f"--calibrate {config.calibrate} fits on the validation side, and with --select last there is none: "
            "leave one of the two out"
        )


def _check_combinations(config: FitConfig, device: torch.device, problems: Problems) -> None:
    if config.precision == "tf32" and device.type != "cuda":
        problems.add(f"--precision tf32 needs a GPU, and the device is {device}; valid: fp32, bf16")
    if config.jobs not in (None, 1) and config.scheduler:
        problems.add("--jobs and --scheduler exclude each other: pass one")
    if config.ensemble and config.seeds == 1:
        problems.add("--ensemble averages the models of several seeds, and one is trained: give --seeds 3, for example")
    if config.seeds < 1 or config.allow_missing < 0:
        problems.add("--seeds must be at least 1 and --allow-missing at least 0")


def _check_final(config: FitConfig, features: Mapping[str, AnyFeature], problems: Problems) -> None:
    per_fold = [f.name for f in features.values() if isinstance(f, PerFoldFeature)]
    if config.final and per_fold:
        problems.add(
            f"--final trains one model on all data, and {' and '.join(map(repr, per_fold))} is a separate feature for "
            "each fold: leave --final out, or use a feature that is the same for all folds"
        )


def _check_copies(config: FitConfig, features: Mapping[str, AnyFeature], problems: Problems) -> None:
    if config.augmented and isinstance(audio := features.get("audio"), CombinedFeature):
        problems.add(
            f"--augmented has copies of one feature as it is, and {audio.name!r} is "
            f"{'several features' if len(audio.members) > 1 else 'weighted by layers'}: give one of the two"
        )


def _check_shuffle(config: FitConfig, features: Mapping[str, AnyFeature], problems: Problems) -> None:
    unused = [what for what in config.shuffle if what != "labels" and features and what not in features]
    if unused:
        problems.add(f"--shuffle {' and '.join(unused)} has no effect: the model uses {' and '.join(features)} only")
    if "audio" in config.shuffle and config.augmented:
        problems.add("--augmented has no meaning with --shuffle audio: copies of a clip are of its own utterance")
    if config.shuffle and config.final:
        problems.add("--final is for use, and --shuffle makes a sanity run that nobody should use: give one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class _FoldSelection:
    """The requested folds and their utterances."""

    folds: tuple[Fold, ...]
    utterances: tuple[Utterance, ...]
    """Those that any fold of the protocol uses, also one that was not requested; fewer with `--limit`."""
    used: int
    """How many utterances the folds of the protocol use, without regard to `--limit`."""
    remarks: list[str]


def _select_folds(config: FitConfig, protocol: Protocol, task: TaskSelection) -> _FoldSelection:
    folds = build_folds(protocol, task.utterances, config.select)
    used = {u.id for fold in folds for side in fold.sides.values() for u in side}
    utterances = tuple(u for u in task.utterances if u.id in used)
    folds = select_folds(folds, config.folds)
    remarks = []
    if config.limit is not None:
        utterances, folds = limit_folds(utterances, folds, protocol, config.limit)
        remarks.append(
            f"short run: {plural(len(utterances), 'utterance')} (--limit {config.limit}), spread over folds and classes"
        )
    return _FoldSelection(folds=tuple(folds), utterances=utterances, used=len(used), remarks=remarks)


def _features_for_folds(
    features: Mapping[str, AnyFeature], folds: Sequence[Fold], protocol: Protocol
) -> dict[str, AnyFeature]:
    """The same features; a per-fold feature is reduced to the requested folds."""
    problems, selected = Problems(), dict(features)
    for modality, feature in features.items():
        if isinstance(feature, PerFoldFeature):
            with problems.collecting():
                selected[modality] = feature.for_folds(folds, protocol.grouping)
    problems.raise_all()
    return selected


def _store_remarks(store: AnyStore) -> list[str]:
    if not isinstance(store, JoinedStore):
        return []
    return [f"{s.corpus} from {s.path} ({option})" for option, s in store.options]


def _copy_remarks(copies: Sequence[AnyFeature], folds: Sequence[Fold]) -> list[str]:
    trained = {u.id for fold in folds for u in fold.train}
    without = trained - set().union(*(f.position.keys() - set(f.stale) for f in copies)) if copies else set()
    return [f"{plural(len(without), 'training utterance')} without an augmented copy"] if without else []


def _unused_split_remarks(protocol: Protocol, task: TaskSelection, used: int) -> list[str]:
    unused = len(task.utterances) - used
    split = f"the validation side of {protocol.fold_file.name}" if protocol.fold_file else "the official dev split"
    return [f"{split}, {plural(unused, 'utterance')}, is not used (--select last)"] if unused > 0 else []


def _standardised(spec: ModelSpec, settings: Config, features: Mapping[str, AnyFeature]) -> tuple[str, ...]:
    """The modalities that are standardised: as the settings say; with `auto`, log-mel features only."""
    if not isinstance(settings, SequenceConfig):
        return tuple(features) if spec.pool == "mean+deviation" else ()
    choice = {"audio": settings.standardise_audio, "text": settings.standardise_text}
    return tuple(
        m for m, f in features.items() if choice[m] == "on" or (choice[m] == "auto" and f.encoder.startswith("logmel"))
    )
