"""Utterances that are the same: equal audio, audio that may be a copy across folds, equal texts with other labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from emofuse.common.errors import UsageError
from emofuse.manifests import protocol_files as protocols
from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.report.exploration.measure.collection import Collection, Entry
from emofuse.store import Feature
from emofuse.train.resolve.leaks.near_duplicates import NearDuplicate, find_near_duplicates


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedText:
    """A sentence that several utterances say."""

    text: str
    """One of its spellings; empty where the store has only digests."""
    entries: tuple[Entry, ...]

    @property
    def labels(self) -> dict[str, int]:
        """Label -> utterances, the most frequent first."""
        return dict(Counter(e.label for e in self.entries if e.label is not None).most_common())


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """What is there more than once."""

    equal_audio: tuple[tuple[Entry, ...], ...] = ()
    """Groups of utterances with the same audio, byte by byte."""
    near: Sequence[NearDuplicate] = ()
    """Pairs across folds whose audio may be a copy; with the ids of their store."""
    near_unsearched: str = ""
    """Why they were not looked for; empty if they were."""
    protocol: str = ""
    """The protocol of the folds."""
    texts: tuple[RepeatedText, ...] = ()
    """Sentences with several labels, the most frequent first."""
    scanned: int = 0
    """Utterances whose audio has a digest."""
    with_text: int = 0
    ids: frozenset[str] = field(default=frozenset())
    """Ids, as the page shows them, of utterances in `equal_audio` or `near`."""


def find_copies(collection: Collection, audio_features: Sequence[Feature]) -> Copies:
    """Search the utterances of a collection for copies.

    Args:
        collection: The utterances.
        audio_features: Features of audio, of which one is searched for near duplicates; of one store.
    """
    equal = _groups({e.id: e.utterance.audio_digest for e in collection.entries}, collection)
    near, unsearched, protocol = _near(collection, audio_features, equal)
    sentences = {e.id: e.sentence for e in collection.entries}
    repeated = [RepeatedText(text=group[0].utterance.text or "", entries=group) for group in
                _groups(sentences, collection)]  # fmt: skip
    several = [r for r in repeated if len(r.labels) > 1]
    marked = {e.id for group in equal for e in group} | {id for pair in near for id in (pair.test, pair.other)}
    return Copies(
        equal_audio=tuple(equal),
        near=near,
        near_unsearched=unsearched,
        protocol=protocol,
        texts=tuple(sorted(several, key=lambda r: -len(r.entries))),
        scanned=sum(e.utterance.audio_digest is not None for e in collection.entries),
        with_text=sum(bool(s) for s in sentences.values()),
        ids=frozenset(marked),
    )


def _groups(key_of: dict[str, str | None], collection: Collection) -> list[tuple[Entry, ...]]:
    """Entries that share a key, in their order; keys of one entry are left out."""
    found: dict[str, list[Entry]] = {}
    for entry in collection.entries:
        key = key_of[entry.id]
        if key:
            found.setdefault(key, []).append(entry)
    return [tuple(group) for group in found.values() if len(group) > 1]


def _near(
    collection: Collection, features: Sequence[Feature], equal: Sequence[Sequence[Entry]]
) -> tuple[Sequence[NearDuplicate], str, str]:
    if collection.several:
        return [], "they are searched in one store at a time", ""
    if not features:
        return [], "the store has no complete feature of audio to compare", ""
    try:
        protocol = collection.protocol or protocols.default_for(collection.stores[0].corpus)
        folds = build_folds(protocol, _of_task(protocol, collection, features[0]), "validation")
    except UsageError as error:
        return [], f"there are no folds: {str(error).splitlines()[0]}", ""
    known = {frozenset((a.id, b.id)) for group in equal for a in group for b in group if a is not b}
    reasons = []
    for feature in features:
        found, unsearched = find_near_duplicates(feature, folds, known)
        if not unsearched:
            return found, "", protocol.name
        reasons.append(unsearched)
    return [], reasons[0], protocol.name


def _of_task(protocol: Protocol, collection: Collection, feature: Feature) -> tuple[Utterance, ...]:
    """The utterances of a task that a feature has values of, under the spellings of the protocol."""
    members = [e.utterance for e in collection.entries if e.utterance.id in feature.position]
    return protocol.with_one_spelling([u for u in members if protocol.has(u)])
