"""The utterances that are explored, of one store or several, with the names that the page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.common.lazy import lazy_property
from emofuse.manifests import protocol_files as protocols
from emofuse.manifests.gender import gender_of
from emofuse.manifests.names.joint import joined_name
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.store import FeatureStore
from emofuse.train.resolve.features.joined_store import JoinedStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One utterance; with several stores its id, speaker and session carry the corpus: `savee:DC`."""

    id: str
    corpus: str
    utterance: Utterance
    """As its store has it."""
    label: str | None
    speaker: str | None
    session: str | None
    gender: str | None
    sentence: str | None
    """What is equal for equal sentences: their words, or a digest."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The explored utterances."""

    stores: tuple[FeatureStore, ...]
    entries: tuple[Entry, ...]
    left_out: int = 0
    """Utterances that are not part of the protocol."""
    protocol: Protocol | None = None
    """Where the labels come from; None means the corpus's own."""

    @property
    def several(self) -> bool:
        """Whether there are several corpora."""
        return len(self.stores) > 1

    @lazy_property
    def classes(self) -> list[str]:
        """The labels that occur: in the order of the protocol, else the most frequent first."""
        counts = Counter(e.label for e in self.entries if e.label is not None)
        if self.protocol is not None:
            return [name for name in self.protocol.classes if name in counts]
        return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]

    @lazy_property
    def speakers(self) -> list[str]:
        """The speakers that are known, in the order of their names."""
        return sorted({e.speaker for e in self.entries if e.speaker is not None})

    def store_of(self, entry: Entry) -> FeatureStore:
        """The store that has an entry."""
        return next(store for store in self.stores if store.corpus == entry.corpus)


def collect(stores: Sequence[FeatureStore], protocol_name: str | None) -> Collection:
    """The utterances of open stores.

    Labels are the classes of the protocol where one is named; else the corpus's own labels, under the names that its
    default protocol gives them one to one (`W` of Emo-DB is `anger`).

    Raises:
        UsageError: Two stores are of one corpus, the protocol is unknown or of other corpora, or nothing is left.
    """
    corpora = [store.corpus for store in stores]
    for corpus, count in Counter(corpora).items():
        if count > 1:
            raise UsageError(f"{count} stores of corpus {corpus}: join them with `emofuse store merge`, or pass one")
    protocol = None if protocol_name is None else _known_protocol(protocol_name, corpora)
    joined = len(stores) > 1
    manifest = (JoinedStore(stores) if joined else stores[0]).manifest
    entries, left_out = [], 0
    names = {} if protocol else {corpus: protocols.class_names(corpus) for corpus in corpora}
    owners = [(s.corpus, u) for s in sorted(stores, key=lambda s: s.corpus) for u in s.manifest.utterances]
    for (corpus, own), shown in zip(owners, manifest.utterances, strict=True):
        if protocol is not None:
            label = protocol.class_of(_as_named_by(protocol, corpus, own))
            if label is None:
                left_out += 1
                continue
        else:
            label = names[corpus].get(own.label or "", own.label)
        entries.append(
            Entry(id=shown.id, corpus=corpus, utterance=own, label=label or None, speaker=shown.speaker or None,
                  session=shown.session or None, gender=gender_of(own, corpus),
                  sentence=own.sentence)
        )  # fmt: skip
    if not entries:
        reason = f"none of its utterances is part of protocol {protocol.name}" if protocol else "it has no utterances"
        raise UsageError(f"nothing to explore in {' and '.join(str(s.path) for s in stores)}: {reason}")
    return Collection(
        stores=tuple(sorted(stores, key=lambda s: s.corpus)), entries=tuple(entries), left_out=left_out,
        protocol=protocol,
    )  # fmt: skip


def _known_protocol(name: str, corpora: Sequence[str]) -> Protocol:
    protocol = protocols.declared(name)
    of_protocol = {*protocol.corpora, *([protocol.test_corpus] if protocol.test_corpus else [])}
    other = [corpus for corpus in corpora if corpus not in of_protocol]
    if other:
        valid = [n for n in protocols.names() if set(corpora) <= set(protocols.declared(n).corpora)]
        raise UsageError(
            f"protocol {protocol.name} is for {', '.join(sorted(of_protocol))}, not for {', '.join(other)}; valid: "
            f"{', '.join(valid) or 'none, write one (`emofuse help protocols`)'}; or leave --protocol out"
        )
    return protocol


def _as_named_by(protocol: Protocol, corpus: str, own: Utterance) -> Utterance:
    if protocol.joint is None:
        return own
    label = None if own.label is None else joined_name(corpus, own.label)
    return replace(own, id=joined_name(corpus, own.id), label=label)


def sample(entries: Sequence[Entry], limit: int) -> list[Entry]:
    """At most `limit` entries in their order, spread evenly over corpora, labels and speakers."""
    if len(entries) <= limit:
        return list(entries)
    order = sorted(
        range(len(entries)),
        key=lambda i: (entries[i].corpus, entries[i].label or "", entries[i].speaker or "", i),
    )
    # One of each `limit`th of the order, drawn: evenly spaced ones could all be of one speaker of a pair.
    edges, generator = np.arange(limit + 1) * len(order) // limit, np.random.default_rng(0)
    chosen = sorted(order[i] for i in generator.integers(edges[:-1], edges[1:]))
    return [entries[i] for i in chosen]
