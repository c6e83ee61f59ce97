"""Which protocol a call of `fit` uses, and whether the given stores are the ones it needs."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.common.errors import UsageError, raise_problems
from emofuse.manifests import protocol_files as protocols
from emofuse.manifests.names.emobox_keys import dataset_of
from emofuse.manifests.names.joint import corpus_of, own_name
from emofuse.manifests.protocol import Protocol
from emofuse.store import FeatureStore
from emofuse.train.resolve.features.joined_store import AnyStore, JoinedStore

WRITE_PROTOCOL = "write one (--protocol PATH.toml; `emofuse help protocols`)"
LABELS_SHOWN = 12
"""How many labels of a store a message lists."""
StoreOptions = Sequence[tuple[str, FeatureStore]]
"""Every store with the command-line option that names it."""


def select_protocol(store: AnyStore, name: str | None) -> Protocol:
    """The protocol called `name`, or the default one of these stores' corpora.

    Raises:
        UsageError: There is no such protocol, or it needs other stores; says what is wrong with each store.
    """
    if isinstance(store, JoinedStore):
        protocol = _default_protocol(store.options) if name is None else protocols.load(name)
        problems = _store_problems(protocol, store.options)
        problems += _stores_without_known_labels(protocol, store) if protocol.joint else []
        raise_problems(problems, _headline(protocol, store.options))
        return protocol
    protocol = protocols.default_for(store.corpus) if name is None else protocols.load(name)
    if protocol.joint:
        options = [("--store", store)]
        raise_problems(_store_problems(protocol, options), _headline(protocol, options))
    if protocol.corpus != store.corpus:
        valid = ", ".join(protocols.names(store.corpus)) or f"none; {WRITE_PROTOCOL}"
        raise UsageError(
            f"protocol {protocol.name} is for corpus {protocol.corpus}, but {store.path} holds {store.corpus}; "
            f"valid: {valid}"
        )
    return protocol


def _matching_protocols(options: StoreOptions) -> list[str]:
    training = [s.corpus for option, s in options if option == "--store"]
    return protocols.names_for(training, next((s.corpus for option, s in options if option != "--store"), None))


def _default_protocol(options: StoreOptions) -> Protocol:
    matching = _matching_protocols(options)
    if len(matching) == 1:
        return protocols.load(matching[0])
    given = ", ".join(f"{option} of {s.corpus}" for option, s in options)
    joint = matching or [n for n in protocols.names() if protocols.declared(n).joint]
    raise UsageError(
        f"no default protocol for {given}; protocols over several corpora: {', '.join(joint)}; or {WRITE_PROTOCOL}"
    )


def _required_options(protocol: Protocol) -> dict[str, str]:
    """Corpus -> the option that must name its store."""
    test = {protocol.test_corpus: "--test-store"} if protocol.test_corpus else {}
    return dict.fromkeys(protocol.corpora, "--store") | test


def _headline(protocol: Protocol, options: StoreOptions) -> str:
    required = ", ".join(f"{option} of {corpus}" for corpus, option in _required_options(protocol).items())
    matching = _matching_protocols(options)
    others = f"; the given stores match {' and '.join(matching)}" if matching else ""
    return f"protocol {protocol.name} takes {required}{others}"


def _store_problems(protocol: Protocol, options: StoreOptions) -> list[str]:
    """Stores that the protocol does not take, stores under the wrong option, and stores that are missing."""
    required, problems = _required_options(protocol), []
    seen: dict[str, FeatureStore] = {}
    for option, store in options:
        given, expected_option = f"{option} {store.path} holds {store.corpus}", required.get(store.corpus)
        if store.corpus in seen:
            problems.append(f"{given}, as {seen[store.corpus].path} does: leave one of them out")
        elif expected_option is None:
            problems.append(f"{given}, which the protocol does not use: leave it out")
        elif expected_option != option:
            problems.append(f"{given}: give it as {expected_option}")
        seen.setdefault(store.corpus, store)
    return problems + [
        f"no store of {corpus}: give {option} PATH "
        f"(extract --dataset {dataset_of(corpus)} --encoder NAME makes cache/{corpus}.h5)"
        for corpus, option in required.items()
        if corpus not in seen
    ]


def _stores_without_known_labels(protocol: Protocol, store: JoinedStore) -> list[str]:
    """One problem for each store that contributes no utterance to the task."""
    used = {corpus_of(u.id) for u in store.manifest.utterances if protocol.has(u)}
    problems = []
    for corpus in [c for c in _required_options(protocol) if c in store.members and c not in used]:
        member = store.members[corpus]
        split = protocol.joint.test_split if protocol.joint and corpus == protocol.test_corpus else None
        expected = [own_name(label) for label in protocol.labels if corpus_of(label) == corpus]
        present = [str(label) for label in member.manifest.counts("label")]
        more = f", ... ({len(present)})" if len(present) > LABELS_SHOWN else ""
        where = f"{member.path}, split {split}," if split else str(member.path)
        problems.append(
            f"no utterance of {where} has a label that the protocol knows for {corpus}, {', '.join(expected)}; "
            f"it has: {', '.join(present[:LABELS_SHOWN])}{more}"
        )
    return problems
