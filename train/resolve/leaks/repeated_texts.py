"""Test texts that are also on the training side, with the same words: scripted dialogues, corpora of a few sentences.

A model can learn such a text by heart, also one of audio alone: its sounds are the same. Equal are texts with the same
words, without regard to case and punctuation (`Utterance.sentence`), also where only digests of the texts are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from emofuse.manifests.folds.cross_validation import Fold

RepeatedTexts = Mapping[str, bool]
"""Id of each test utterance that has a text -> whether that text is also on the training side of its fold."""


def repeated_texts(folds: Iterable[Fold]) -> dict[int, RepeatedTexts]:
    """For each fold, by its number, which of its test texts are also on its training side; empty without texts."""
    sentences: dict[str, str | None] = {}
    found: dict[int, RepeatedTexts] = {}
    for fold in folds:
        for utterance in (*fold.train, *fold.test):
            if utterance.id not in sentences:
                sentences[utterance.id] = utterance.sentence
        trained = {sentences[u.id] for u in fold.train}
        found[fold.number] = {u.id: sentence in trained for u in fold.test if (sentence := sentences[u.id]) is not None}
    return found
