"""Which protocol a call of `fit` is for, and whether the stores given are those that it needs."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.common.errors import UsageError, complain
from emofuse.manifests import protocol as protocols
from emofuse.manifests.joint import corpus_of, own_name
from emofuse.manifests.protocol import Protocol
from emofuse.store import FeatureStore
from emofuse.train.resolve.joined_store import AnyStore, JoinedStore

WRITE = "write one (--protocol PATH.toml, docs/protocols.md)"
SHOWN = 12
"""More labels than this say no more."""
Options = Sequence[tuple[str, FeatureStore]]


def select_protocol(store: AnyStore, name: str | None) -> Protocol:
    """The protocol of that name, or the usual one for these stores.

    Raises:
        UsageError: No such protocol, or it is for other stores; says for each store what is wrong with it.
    """
    if isinstance(store, JoinedStore):
        protocol = _usual(store.options) if name is None else protocols.load(name)
        problems = _problems(protocol, store.options)
        problems += _unlabelled(protocol, store) if protocol.joint else []
        complain(problems, _headline(protocol, store.options))
        return protocol
    protocol = protocols.default_for(store.corpus) if name is None else protocols.load(name)
    if protocol.joint:
        alone = [("--store", store)]
        complain(_problems(protocol, alone), _headline(protocol, alone))
    if protocol.corpus != store.corpus:
        fitting = ", ".join(protocols.names(store.corpus)) or f"none; {WRITE}"
        raise UsageError(
            f"protocol {protocol.name} is for corpus {protocol.corpus}, but {store.path} holds {store.corpus}; "
            f"valid: {fitting}"
        )
    return protocol


def _fitting(options: Options) -> list[str]:
    training = [s.corpus for option, s in options if option == "--store"]
    return protocols.names_for(training, next((s.corpus for option, s in options if option != "--store"), None))


def _usual(options: Options) -> Protocol:
    fitting = _fitting(options)
    if len(fitting) == 1:
        return protocols.load(fitting[0])
    held = ", ".join(f"{option} of {s.corpus}" for option, s in options)
    joint = fitting or [n for n in protocols.names() if protocols.load(n).joint]
    raise UsageError(f"no usual protocol for {held}; those over several corpora: {', '.join(joint)}; or {WRITE}")


def _needed(protocol: Protocol) -> dict[str, str]:
    """Corpus -> the option that names its store."""
    tested = {protocol.test_corpus: "--test-store"} if protocol.test_corpus else {}
    return dict.fromkeys(protocol.corpora, "--store") | tested


def _headline(protocol: Protocol, options: Options) -> str:
    needed = ", ".join(f"{option} of {corpus}" for corpus, option in _needed(protocol).items())
    fitting = _fitting(options)
    others = f"; for the stores given there is {' and '.join(fitting)}" if fitting else ""
    return f"protocol {protocol.name} takes {needed}{others}"


def _problems(protocol: Protocol, options: Options) -> list[str]:
    needed, problems = _needed(protocol), []
    seen: dict[str, FeatureStore] = {}
    for option, store in options:
        told, right = f"{option} {store.path} holds {store.corpus}", needed.get(store.corpus)
        if store.corpus in seen:
            problems.append(f"{told}, as {seen[store.corpus].path} does: leave one of them out")
        elif right is None:
            problems.append(f"{told}, of which the protocol knows nothing: leave it out")
        elif right != option:
            problems.append(f"{told}: give it as {right}")
        seen.setdefault(store.corpus, store)
    return problems + [
        f"no store of {corpus}: give {option} PATH (extract --dataset {corpus} --encoder NAME makes cache/{corpus}.h5)"
        for corpus, option in needed.items()
        if corpus not in seen
    ]


def _unlabelled(protocol: Protocol, store: JoinedStore) -> list[str]:
    """Stores of which the task would take nothing."""
    used = {corpus_of(u.id) for u in store.manifest.utterances if protocol.class_of(u) is not None}
    problems = []
    for corpus in [c for c in _needed(protocol) if c in store.parts and c not in used]:
        part = store.parts[corpus]
        split = protocol.joint.test_split if protocol.joint and corpus == protocol.test_corpus else None
        known = [own_name(label) for label in protocol.labels if corpus_of(label) == corpus]
        held = [str(label) for label in part.manifest.counts("label")]
        more = f", ... ({len(held)})" if len(held) > SHOWN else ""
        where = f"{part.path}, split {split}," if split else str(part.path)
        problems.append(
            f"no utterance of {where} has a label that the protocol knows for {corpus}, {', '.join(known)}; "
            f"it has: {', '.join(held[:SHOWN])}{more}"
        )
    return problems
