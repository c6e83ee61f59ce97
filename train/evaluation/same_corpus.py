"""Whether a store holds the corpus that a run was trained on: by what it contains, as custom corpora share one name."""

from __future__ import annotations

from pathlib import Path

from emofuse.manifests.schema import Utterance
from emofuse.store import FeatureStore
from emofuse.train.runs.finished_run import Run


def training_corpora(run: Run) -> list[str]:
    """The corpora that a run was trained on."""
    record = run.config["run"]["protocol"]
    return list(record["joint"]["by"]) if record.get("joint") else [record["corpus"]]


def holds_training_corpus(run: Run, store: FeatureStore) -> bool:
    """Whether a store has the name of a corpus of the run and at least one of its utterances.

    An utterance with a known id counts, unless the training store, where it is at hand, has another audio or text.
    """
    if store.corpus not in training_corpora(run):
        return False
    path = run.config.get("stores", {}).get(store.corpus)
    if path is None or not Path(path).is_file():
        tested = {row["id"] for row in run.utterances}
        unknown = not tested or bool(run.config["run"]["protocol"].get("joint"))  # ids of joint tasks are others
        return unknown or any(u.id in tested for u in store.manifest.utterances)
    with FeatureStore(path) as trained:
        return bool(equal_utterances(store, trained, store.manifest.utterances))


def equal_utterances(store: FeatureStore, trained: FeatureStore, utterances: tuple[Utterance, ...]) -> list[Utterance]:
    """Those `utterances` of a store whose id is in `trained` too, with the same audio or text, as far as is known."""
    sentences, others = sentences_of(store), sentences_of(trained)
    by_id = {u.id: u for u in trained.manifest.utterances}
    return [
        u for u in utterances if u.id in by_id and _may_be_equal(u, by_id[u.id], sentences.get(u.id), others.get(u.id))
    ]


def sentences_of(store: FeatureStore) -> dict[str, str]:
    """Id -> the digest of its words, of utterances with a text; equal for a store with texts and one without."""
    return {u.id: u.sentence for u in store.manifest.without_text().utterances if u.sentence}


def _may_be_equal(one: Utterance, other: Utterance, sentence: str | None, other_sentence: str | None) -> bool:
    """Whether two utterances of one id have the same audio or text, or nothing that shows a difference."""
    both = [
        (a, b) for a, b in ((one.audio_digest, other.audio_digest), (sentence, other_sentence)) if None not in (a, b)
    ]
    return not both or any(a == b for a, b in both)
