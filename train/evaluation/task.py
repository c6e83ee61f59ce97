"""What an evaluation tests: the utterances of the store, their classes in the run, and which models may test each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emofuse.common.disk import run_folder
from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.problems import Problems
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.names.spellings import NameRules
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.manifests.targets.target import Target, recorded_target
from emofuse.manifests.targets.truth import truth_problems
from emofuse.store import Feature, FeatureStore
from emofuse.train.evaluation.config import EvaluateConfig
from emofuse.train.evaluation.label_map import LabelMap, map_labels
from emofuse.train.evaluation.same_corpus import holds_training_corpus, training_corpora
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.protocol_selection import select_protocol
from emofuse.train.runs.finished_run import METRICS, PREDICTIONS, Run

NO_LABELS = LabelMap(labels={}, left_out={}, absent=())
UNITS = ("speaker", "session", "dialogue")
"""What the utterances of a new corpus may be grouped by, the first that all have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTask:
    """What is tested."""

    protocol: Protocol
    """The classes of the run, with the labels of the store."""
    trained_on: str
    """The corpora of the run, joined by `+`."""
    same_corpus: bool
    """Whether the run was trained on the store's corpus: then each fold's models test what that fold has tested."""
    folds: tuple[Fold, ...]
    """With test sides only; one fold of all utterances where the corpus is another one."""
    utterances: tuple[Utterance, ...]
    excluded: Mapping[str, str]
    """Id -> reason, of utterances with a class but without a feature."""
    missing: tuple[Utterance, ...]
    """Those of them that would be tested, which count as wrong in the scores over all utterances."""
    label_map: LabelMap
    untested: int = 0
    """On the same corpus: utterances with a class that the run has not tested, which are left out."""


def evaluation_task(
    run: Run, store: FeatureStore, features: Mapping[str, Feature | CombinedFeature], config: EvaluateConfig
) -> EvaluationTask:
    """The utterances of a store that have a class of a run and every feature.

    Raises:
        UsageError: Options that have no effect here, labels that cannot be mapped, or nothing is left to test.
    """
    record, training = run.config["run"]["protocol"], training_corpora(run)
    same_corpus = holds_training_corpus(run, store)
    if same_corpus:
        _refuse_on_same_corpus(run, store, config, several=record.get("joint") is not None)
    theirs = recorded_protocol(record) if same_corpus else _their_protocol(store, config.protocol)
    classes = tuple(run.metrics["classes"])
    if same_corpus and theirs:
        label_map, protocol = _of_run(store, run, theirs, config), theirs
    elif "target" in run.metrics:
        label_map, protocol = NO_LABELS, _with_same_target(store, theirs, target_of(run.metrics))
    else:
        label_map = map_labels(store.manifest.utterances, classes, theirs, config.map, config.ignore)
        protocol = _protocol_of(store, theirs, record, classes, label_map)
    labelled = protocol.with_one_spelling([u for u in store.manifest.utterances if protocol.has(u)])
    raise_problems(truth_problems(protocol.target, labelled), f"{store.path} does not match protocol {protocol.name}")
    excluded = _without_feature(store, labelled, features)
    usable = tuple(u for u in labelled if u.id not in excluded)
    missing = tuple(u for u in labelled if u.id in excluded)
    if same_corpus:
        names = _fold_names(run, config.fold)
        folds = _tested_folds(run, names, usable)
        missing = tuple(u for u in missing if _group(protocol, u) in names.values())
    else:
        folds = [_test_side(config.fold or 1, store.corpus, usable)]
    tested = {u.id for fold in folds for u in fold.test}
    utterances = tuple(u for u in usable if u.id in tested)
    if not utterances:
        raise UsageError(
            f"nothing to test: {store.path} has {len(labelled)} utterances of the run's classes, {len(excluded)} of "
            "them without a feature" + (", and the run has tested none of the others" if same_corpus else "")
        )
    return EvaluationTask(
        protocol=protocol,
        trained_on="+".join(training),
        same_corpus=same_corpus,
        folds=tuple(folds),
        utterances=utterances,
        excluded=excluded,
        missing=missing,
        label_map=label_map,
        untested=len(usable) - len(utterances),
    )


def _of_run(store: FeatureStore, run: Run, theirs: Protocol, config: EvaluateConfig) -> LabelMap:
    """What the labels of the run's own corpus mean; nothing where it predicts more than one class."""
    if "target" in run.metrics:
        return NO_LABELS
    return map_labels(store.manifest.utterances, tuple(run.metrics["classes"]), theirs, config.map, config.ignore)


def _with_same_target(store: FeatureStore, theirs: Protocol | None, target: Target) -> Protocol:
    """A protocol of another corpus that predicts what the run predicts.

    Raises:
        UsageError: It predicts something else.
    """
    if theirs is None:
        raise UsageError(
            f"the run predicts {target.kind}: {target.described}; corpus {store.corpus} of {store.path} has no "
            "protocol that says where these are: pass a --protocol with this target (that of the run, if the "
            "columns have the same names)"
        )
    if (theirs.target.kind, theirs.target.described) != (target.kind, target.described):
        raise UsageError(
            f"the run predicts {target.kind}: {target.described}; protocol {theirs.name} {theirs.target.kind}: "
            f"{theirs.target.described}: pass a --protocol whose target is the same"
        )
    tested = [u for u in store.manifest.utterances if theirs.has(u)]
    unit = next((unit for unit in UNITS if all(getattr(u, unit) for u in tested)), "split")
    return replace(theirs, fold_by=unit, fold_groups=(), fold_parts=0, disjoint=(), expected=None)


def recorded_protocol(record: Mapping[str, Any]) -> Protocol:
    """The protocol of one corpus as config.json records it; without the expected counts."""
    declared = record.get("declared_target")
    return Protocol(
        name=record["name"],
        corpus=record["corpus"],
        source=record["source"],
        classes=tuple(record["classes"]),
        labels=record["labels"],
        label_field=record["label_field"],
        fold_by=record["fold_by"],
        disjoint=tuple(record["disjoint"]),
        metrics=tuple(record["metrics"]),
        fold_groups=tuple(map(tuple, record["fold_groups"])),
        fold_parts=record.get("fold_parts", 0),
        expected=None,
        names={
            attribute: NameRules(same=rules["same"], distinct=tuple(map(tuple, rules["distinct"])))
            for attribute, rules in record.get("names", {}).items()
        },
        where={key: tuple(values) for key, values in record.get("where", {}).items()},
        declared_target=recorded_target(declared, record["classes"]) if declared else None,
    )


def _refuse_on_same_corpus(run: Run, store: FeatureStore, config: EvaluateConfig, *, several: bool) -> None:
    problems, what = Problems(), f"{run.folder} was trained on {store.corpus}, which {store.path} holds"
    if several:
        problems.add(f"{what}, among other corpora: evaluate it on a corpus that it was not trained on")
    if config.refit:
        problems.add(f"{what}: --refit would test a model on what it was trained on; leave it out")
    given = {"--map": config.map, "--ignore": config.ignore, "--protocol": config.protocol}
    without_effect = [option for option, value in given.items() if value]
    if without_effect:
        problems.add(f"{what}: its own protocol applies; leave {' and '.join(without_effect)} out")
    problems.raise_all()


def _their_protocol(store: FeatureStore, name: str | None) -> Protocol | None:
    """The protocol that the user names, or the corpus's default one, if there is one."""
    if name is not None:
        return select_protocol(store, name)
    try:
        return select_protocol(store, None)
    except UsageError:
        return None


def _protocol_of(
    store: FeatureStore, theirs: Protocol | None, record: Mapping[str, Any], classes: Sequence[str], labels: LabelMap
) -> Protocol:
    """The task of the run on the corpus of the store."""
    field = theirs.label_field if theirs else "label"
    protocol = Protocol(
        name=theirs.name if theirs else store.corpus,
        corpus=store.corpus,
        source=theirs.source if theirs else f"the labels of {store.corpus}",
        classes=tuple(classes),
        labels=dict(labels.labels),
        label_field=field,
        fold_by="split",
        fold_groups=(),
        disjoint=(),
        metrics=tuple(record["metrics"]),
        expected=None,
        names=theirs.names if theirs else {},
    )
    tested = [u for u in store.manifest.utterances if protocol.has(u)]
    unit = next((unit for unit in UNITS if all(getattr(u, unit) for u in tested)), "split")
    return replace(protocol, fold_by=unit)


def _without_feature(
    store: FeatureStore, labelled: Sequence[Utterance], features: Mapping[str, Feature | CombinedFeature]
) -> dict[str, str]:
    """Id -> reason, of utterances without an up-to-date value of some feature."""
    recorded = {(e.id, e.modality): e.reason for e in store.manifest.excluded}
    excluded: dict[str, str] = {}
    for modality, feature in features.items():
        usable = set(feature.position) - set(feature.stale)
        for utterance in labelled:
            if utterance.id not in usable:
                reason = recorded.get((utterance.id, modality)) or recorded.get((utterance.id, None))
                excluded.setdefault(utterance.id, reason or f"no up-to-date {modality} feature")
    return excluded


def _fold_names(run: Run, only: int | None) -> dict[int, str]:
    """Number -> name of the folds of a run, or of one of them."""
    seed_folder = next(iter(run.seed_folders.values()))
    folds = run_folder.read_json(seed_folder / METRICS)["folds"]
    return {fold["fold"]: fold["name"] for fold in folds if only in (None, fold["fold"])}


def _tested_folds(run: Run, names: Mapping[int, str], utterances: Sequence[Utterance]) -> list[Fold]:
    """The folds of a run, each with those of `utterances` that it has tested."""
    tested_by = {row["id"]: int(row["fold"]) for row in run_folder.read_csv(run.folder / PREDICTIONS)}
    members = {number: [u for u in utterances if tested_by.get(u.id) == number] for number in names}
    return [_test_side(number, names[number], side) for number, side in members.items() if side]


def _group(protocol: Protocol, utterance: Utterance) -> str | None:
    """The name of the fold that tests an utterance; None if no fold does."""
    try:
        return protocol.group_of(utterance)
    except UsageError:
        return None


def _test_side(number: int, name: str, utterances: Sequence[Utterance]) -> Fold:
    return Fold(number=number, name=name, validated=None, train=(), validation=(), test=tuple(utterances))
