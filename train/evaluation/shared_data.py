"""What the tested utterances share with what the run was trained on: audio, utterances, and the encoders' data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emofuse.common.console import plural
from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.store import Feature, FeatureStore
from emofuse.train.evaluation.task import EvaluationTask
from emofuse.train.resolve.extract_commands import command_that_made
from emofuse.train.resolve.leaks.leakage import find_leaks
from emofuse.train.runs.finished_run import Run

IDS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedData:
    """What was found and allowed."""

    audio: tuple[str, ...] = ()
    """Ids of tested utterances whose audio is in a store that the run was trained on."""
    unchecked: tuple[str, ...] = ()
    """Stores of the run that are not at hand, so that their audio could not be compared."""
    remarks: tuple[str, ...] = ()
    """Training without labels on tested utterances, which is allowed."""


def check_shared_data(
    run: Run, store: FeatureStore, features: Mapping[str, Feature], task: EvaluationTask, *, allow_duplicates: bool
) -> SharedData:
    """Refuse to test on what the run, or an encoder, was trained on.

    On the corpus of the run only the encoders are checked: each fold tests what it has held out.

    Raises:
        UsageError: Tested utterances whose audio or ids are in the stores of the run, or that an encoder was trained
            on with their labels; lists all reasons.
    """
    problems, remarks = Problems(), []
    for feature in features.values():
        with problems.collecting():
            command = command_that_made(store, feature)
            leaks, allowed = find_leaks(feature.name, feature.provenance, store.corpus, task.folds, command)
            remarks += allowed
            if leaks:
                raise UsageError("an encoder was trained on what would be tested:\n    " + "\n    ".join(leaks))
    audio: list[str] = []
    unchecked: list[str] = []
    if not task.same_corpus:
        for corpus, path in run.config.get("stores", {}).items():
            if not Path(path).is_file():
                unchecked.append(path)
                continue
            with problems.collecting():
                audio += _shared_audio(Path(path), corpus, task, allow_duplicates=allow_duplicates)
    problems.raise_all()
    return SharedData(audio=tuple(audio), unchecked=tuple(unchecked), remarks=tuple(dict.fromkeys(remarks)))


def _shared_audio(path: Path, corpus: str, task: EvaluationTask, *, allow_duplicates: bool) -> list[str]:
    """Ids of the tested utterances whose audio is in a store of the run."""
    with FeatureStore(path) as trained:
        digests = {u.audio_digest for u in trained.manifest.utterances if u.audio_digest}
        ids = set(trained.manifest.ids)
    same_ids = [u.id for u in task.utterances if u.id in ids]
    if 2 * len(same_ids) >= len(task.utterances):  # by chance, two corpora share a few ids, never half
        raise UsageError(
            f"{len(same_ids)} of {plural(len(task.utterances), 'tested utterance')} have ids that are in {path} too, "
            f"which the run was trained on as corpus {corpus}: it seems to be the same corpus under another name"
        )
    shared = [u.id for u in task.utterances if u.audio_digest in digests]
    if shared and not allow_duplicates:
        shown = ", ".join(shared[:IDS_SHOWN]) + (", ..." if len(shared) > IDS_SHOWN else "")
        raise UsageError(
            f"the audio of {plural(len(shared), 'tested utterance')} is in {path}, which the run was trained on: "
            f"{shown}; leave them out of the store, or continue with --allow-duplicates, which every output will say"
        )
    return shared
