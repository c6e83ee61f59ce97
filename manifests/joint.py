"""Several corpora as one manifest: ids, labels, speakers, sessions and dialogues carry their corpus (`savee:DC`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from emofuse.manifests.schema import Manifest, Utterance

SEPARATOR = ":"
_NAMES = ("id", "label", "speaker", "session", "dialogue")


def corpus_of(name: str) -> str:
    """The corpus that a joined name carries."""
    return name.partition(SEPARATOR)[0]


def joined_name(corpus: str, name: str) -> str:
    """A name of a corpus as it stands among several."""
    return f"{corpus}{SEPARATOR}{name}"


def own_name(name: str) -> str:
    """A joined name as its corpus itself says it."""
    return name.partition(SEPARATOR)[2]


def joined(manifests: Iterable[Manifest]) -> Manifest:
    """The manifests of different corpora, one after the other, under joined names."""
    every = list(manifests)
    return Manifest(
        corpus="+".join(m.corpus for m in every),
        reader="+".join(m.reader for m in every),
        utterances=tuple(_joined(u, m.corpus) for m in every for u in m.utterances),
        excluded=tuple(replace(e, id=joined_name(m.corpus, e.id)) for m in every for e in m.excluded),
    )


def _joined(utterance: Utterance, corpus: str) -> Utterance:
    return _renamed(utterance, lambda name: joined_name(corpus, name))


def own(utterance: Utterance) -> Utterance:
    """A joined utterance as its corpus itself says it."""
    return _renamed(utterance, own_name)


def _renamed(utterance: Utterance, rename: Callable[[str], str]) -> Utterance:
    names: dict[str, Any] = {key: rename(v) for key in _NAMES if (v := getattr(utterance, key)) is not None}
    return replace(utterance, **names)
