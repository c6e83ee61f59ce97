"""Several corpora as one manifest, whose names carry their corpus: the speaker `DC` of SAVEE becomes `savee:DC`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from emofuse.manifests.schema import Manifest, Utterance

SEPARATOR = ":"
PREFIXED_FIELDS = ("id", "label", "speaker", "session", "dialogue")
"""The fields of an utterance whose values carry their corpus."""


def corpus_of(name: str) -> str:
    """The corpus of a joined name: `savee` of `savee:DC`."""
    return name.partition(SEPARATOR)[0]


def joined_name(corpus: str, name: str) -> str:
    """A name with its corpus: `savee:DC`."""
    return f"{corpus}{SEPARATOR}{name}"


def own_name(name: str) -> str:
    """A joined name without its corpus: `DC` of `savee:DC`."""
    return name.partition(SEPARATOR)[2]


def join_manifests(manifests: Iterable[Manifest]) -> Manifest:
    """The manifests of different corpora, one after the other, with joined names."""
    members = list(manifests)
    return Manifest(
        corpus="+".join(m.corpus for m in members),
        reader="+".join(m.reader for m in members),
        utterances=tuple(_join(u, m.corpus) for m in members for u in m.utterances),
        excluded=tuple(replace(e, id=joined_name(m.corpus, e.id)) for m in members for e in m.excluded),
    )


def _join(utterance: Utterance, corpus: str) -> Utterance:
    return _rename(utterance, lambda name: joined_name(corpus, name))


def unjoined(utterance: Utterance) -> Utterance:
    """A joined utterance with the names of its original corpus."""
    return _rename(utterance, own_name)


def _rename(utterance: Utterance, rename: Callable[[str], str]) -> Utterance:
    names: dict[str, Any] = {
        key: rename(value) for key in PREFIXED_FIELDS if (value := getattr(utterance, key)) is not None
    }
    return replace(utterance, **names)
