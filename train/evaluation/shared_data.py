"""What the tested utterances share with what the run was trained on: audio, texts, utterances, the encoders' data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.store import Feature, FeatureStore
from emofuse.train.evaluation.same_corpus import sentences_of, training_corpora
from emofuse.train.evaluation.task import EvaluationTask
from emofuse.train.evaluation.training_store import TrainingStore
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.extract_commands import command_that_made
from emofuse.train.resolve.features.joined_store import stored_features
from emofuse.train.resolve.leaks.checks import SharedMaterial
from emofuse.train.resolve.leaks.leakage import find_leaks
from emofuse.train.resolve.leaks.near_duplicates import NearDuplicate
from emofuse.train.runs.finished_run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedData:
    """What was found and allowed."""

    audio: tuple[str, ...] = ()
    """Ids of tested utterances whose audio is in a store that the run was trained on."""
    unchecked: tuple[str, ...] = ()
    """Stores of the run that are not at hand, so that their audio could not be compared."""
    material: SharedMaterial = field(default_factory=SharedMaterial)
    """Audio that is nearly the same, and texts that are also in training."""
    remarks: tuple[str, ...] = ()
    """Training without labels on tested utterances, which is allowed, and what was not looked for."""


def check_shared_data(
    run: Run,
    store: FeatureStore,
    features: Mapping[str, Feature | CombinedFeature],
    task: EvaluationTask,
    *,
    allow_duplicates: bool,
) -> SharedData:
    """Refuse to test on what the run, or an encoder, was trained on.

    On the corpus of the run only the encoders are checked: each fold tests what it has held out, and shares with
    training what the run has recorded.

    Raises:
        UsageError: Tested utterances whose audio is in the stores of the run, a store that is one of them under another
            name, or utterances that an encoder was trained on with their labels; lists all reasons.
    """
    problems, remarks = Problems(), []
    for feature in [stored for f in features.values() for stored in stored_features(store, f)]:
        with problems.collecting():
            command = command_that_made(store, feature)
            leaks, allowed = find_leaks(feature.name, feature.provenance, store.corpus, task.folds, command)
            remarks += allowed
            if leaks:
                raise UsageError("an encoder was trained on what would be tested:\n    " + "\n    ".join(leaks))
    found = SharedData(material=_recorded_material(run, task))
    if not task.same_corpus:
        audio = stored_features(store, features["audio"])[0] if "audio" in features else None
        found = _compared(run, store, audio, task, problems, allow_duplicates=allow_duplicates)
    problems.raise_all()
    return replace(found, remarks=tuple(dict.fromkeys([*remarks, *found.remarks])))


def _compared(
    run: Run,
    store: FeatureStore,
    feature: Feature | None,
    task: EvaluationTask,
    problems: Problems,
    *,
    allow_duplicates: bool,
) -> SharedData:
    """What another corpus shares with the stores that the run was trained on, as far as they are at hand."""
    corpora = training_corpora(run)
    paths = {corpus: path for corpus, path in run.config.get("stores", {}).items() if corpus in corpora}
    unchecked = tuple(path for path in paths.values() if not Path(path).is_file())
    audio, near, remarks, sentences = list[str](), list[NearDuplicate](), list[str](), set[str]()
    for corpus, path in paths.items():
        if path in unchecked:
            continue
        with problems.collecting(), FeatureStore(path) as trained:
            compared = TrainingStore(run, trained, store, task)
            compared.refuse_same_corpus(corpus)
            audio += compared.shared_audio(allowed=allow_duplicates)
            pairs, reason = compared.near_duplicates(feature)
            near += pairs
            remarks += [reason] if reason else []
            sentences |= compared.sentences()
    complete = bool(paths) and not unchecked  # else a text may be in a store that is not at hand
    texts = _repeated(store, task, sentences) if complete else {}
    return SharedData(
        audio=tuple(audio),
        unchecked=unchecked,
        material=SharedMaterial(near_duplicates=tuple(near), texts=texts),
        remarks=tuple(remarks),
    )


def _recorded_material(run: Run, task: EvaluationTask) -> SharedMaterial:
    """What the run says that its test sides share with training, of the utterances that are tested again."""
    yes_no = {u["id"]: u.get("text_in_training", "") for u in run.utterances}
    texts = {fold.number: {u.id: yes_no[u.id] == "yes" for u in fold.test if yes_no.get(u.id)} for fold in task.folds}
    ids = {u.id for u in task.utterances}
    near = [NearDuplicate(**pair) for pair in run.metrics.get("near_duplicates", []) if pair["test"] in ids]
    return SharedMaterial(near_duplicates=tuple(near), texts=texts)


def _repeated(store: FeatureStore, task: EvaluationTask, trained: set[str]) -> dict[int, dict[str, bool]]:
    """Number of the only fold -> id of each tested utterance with a text -> whether it is one of the trained ones."""
    sentences = sentences_of(store)
    (fold,) = task.folds
    return {fold.number: {u.id: sentences[u.id] in trained for u in fold.test if u.id in sentences}}
