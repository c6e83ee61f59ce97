"""A store that a run was trained on, beside the store of another corpus that is tested: what the two share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emofuse.common.errors import UsageError
from emofuse.common.output.console import plural
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.names.joint import joined_name, own_name
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature, FeatureStore
from emofuse.train.evaluation.match_features import equal_feature
from emofuse.train.evaluation.same_corpus import equal_utterances, sentences_of
from emofuse.train.evaluation.task import EvaluationTask, recorded_protocol
from emofuse.train.resolve.features.joined_feature import JoinedFeature
from emofuse.train.resolve.leaks.near_duplicates import NearDuplicate, find_near_duplicates
from emofuse.train.runs.finished_run import Run

IDS_SHOWN = 5
TESTED = " (tested)"
"""Added to the name of the tested corpus where the trained one has the same."""
NOT_LOOKED_FOR = "copies of audio at another gain, cut or encoding were not looked for"


class TrainingStore:
    """A store that a run was trained on, beside the store of another corpus that is tested."""

    def __init__(self, run: Run, trained: FeatureStore, store: FeatureStore, task: EvaluationTask) -> None:
        self._run, self._trained, self._store, self._task = run, trained, store, task

    def refuse_same_corpus(self, name: str) -> None:
        """Refuse a corpus of the run under another name: half of the ids are equal, and so is what they stand for."""
        same = equal_utterances(self._store, self._trained, self._task.utterances)
        if 2 * len(same) >= len(self._task.utterances):  # by chance, two corpora share a few ids, never half
            raise UsageError(
                f"{len(same)} of {plural(len(self._task.utterances), 'tested utterance')} have ids that are in "
                f"{self._trained.path} too, which the run was trained on as corpus {name}, and no other text and "
                "audio: it seems to be the same corpus under another name; if it is another one, give it other ids"
            )

    def shared_audio(self, *, allowed: bool) -> list[str]:
        """Ids of the tested utterances whose audio is in this store."""
        digests = {u.audio_digest for u in self._trained.manifest.utterances if u.audio_digest}
        shared = [u.id for u in self._task.utterances if u.audio_digest in digests]
        if shared and not allowed:
            shown = ", ".join(shared[:IDS_SHOWN]) + (", ..." if len(shared) > IDS_SHOWN else "")
            raise UsageError(
                f"the audio of {plural(len(shared), 'tested utterance')} is in {self._trained.path}, which the run was "
                f"trained on: {shown}; leave them out of the store, or continue with --allow-duplicates, which every "
                "output will say"
            )
        return shared

    def near_duplicates(self, feature: Feature | None) -> tuple[list[NearDuplicate], str]:
        """Tested and trained utterances whose audio is nearly the same, as in `fit`; and why it was not looked for.

        The ids of the trained ones name their corpus.
        """
        if feature is None:
            return [], ""
        own = equal_feature(self._trained, feature)
        if own is None:
            return [], f"{NOT_LOOKED_FOR}: {self._trained.path} does not have feature {feature.name} any more"
        tested_corpus = self._store.corpus
        if tested_corpus == self._trained.corpus:  # two custom corpora
            tested_corpus += TESTED
        joined = JoinedFeature({self._trained.corpus: own, tested_corpus: feature})
        known = {u.audio_digest for u in self._trained.manifest.utterances if u.audio_digest}
        train = _joined(self._trained.corpus, own, self._training_utterances())
        tested = [u for u in self._task.utterances if u.audio_digest not in known]
        (fold,) = self._task.folds
        sides = Fold(
            number=fold.number,
            name=fold.name,
            validated=None,
            train=train,
            validation=(),
            test=_joined(tested_corpus, feature, tested),
        )
        pairs, reason = find_near_duplicates(joined, [sides], set()) if sides.train and sides.test else ((), "")
        found = [replace(pair, test=own_name(pair.test)) for pair in pairs]
        return found, f"{NOT_LOOKED_FOR}: {reason}" if reason else ""

    def sentences(self) -> set[str]:
        """The words of all texts that the run was trained on, as digests."""
        sentences = sentences_of(self._trained)
        return {sentences[u.id] for u in self._training_utterances() if u.id in sentences}

    def _training_utterances(self) -> list[Utterance]:
        protocol = recorded_protocol(self._run.config["run"]["protocol"])
        return [u for u in self._trained.manifest.utterances if protocol.has(u)]


def _joined(corpus: str, feature: Feature, utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
    """Those of the utterances that have the feature, under joined ids."""
    usable = set(feature.position) - set(feature.stale)
    return tuple(replace(u, id=joined_name(corpus, u.id)) for u in utterances if u.id in usable)
