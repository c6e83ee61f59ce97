"""Tasks: everything that a paper's sentence "we use ..." says, as one TOML file per task in `protocols/`.

A protocol names the corpus (or several training corpora, and optionally another one that is tested), the classes, the
labels of each class, what forms a fold (session, speaker, official split), the metrics, and the expected counts.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.registry import Registry
from emofuse.manifests.fold_file import read_fold_file
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.protocol_parsing import parse

_DEFAULTS = {
    "iemocap": "iemocap4",
    "meld": "meld7",
    "cmu-mosei": "cmu-mosei3",
    "msp-podcast": "msp-podcast8",
    "ravdess": "ravdess8",
    "savee": "savee7",
}
"""Corpus -> its default protocol, where it has several."""

FILES: Registry[Path] = Registry("protocol", "emofuse.protocols", Path)
"""Name -> TOML file; another package's entry point names a `pathlib.Path`."""
for _path in sorted((Path(__file__).parent / "protocols").glob("*.toml")):
    FILES.add(_path.stem, "", _path)


def names(corpus: str | None = None) -> list[str]:
    """The names of all protocols, or of those of one corpus."""
    every = FILES.names()
    return every if corpus is None else [n for n in every if declared(n).corpus == corpus]


def names_for(corpora: Sequence[str], test_corpus: str | None) -> list[str]:
    """The protocols with exactly these training corpora and this test corpus (None means the training corpora)."""
    protocols = {n: declared(n) for n in names()}
    return [n for n, p in protocols.items() if sorted(p.corpora) == sorted(corpora) and p.test_corpus == test_corpus]


def load(name: str) -> Protocol:
    """A protocol by its name, or your own by the path of its TOML file, with the folds of its `[folds] file`.

    Raises:
        UnknownNameError: No such protocol; lists the valid ones.
        UsageError: A file is wrong or missing; lists every mistake.
    """
    protocol = declared(name)
    if not protocol.fold_source:
        return protocol
    return replace(protocol, fold_file=read_fold_file(protocol.fold_source, _file_of(name).parent))


def declared(name: str) -> Protocol:
    """The same without reading the file of its folds, which need not exist.

    Raises:
        UnknownNameError: No such protocol; lists the valid ones.
        UsageError: The TOML file is wrong; lists every mistake.
    """
    if not name.endswith(".toml") and name not in FILES:
        raise UnknownNameError("protocol", name, names(), "Your own protocol: --protocol PATH.toml.")
    path = _file_of(name)
    if not path.is_file():
        raise UsageError(f"no protocol file {path}; known protocols: {', '.join(names())}")
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    return _parse_content(path.stem if name.endswith(".toml") else name, path, content)


def _file_of(name: str) -> Path:
    return Path(name) if name.endswith(".toml") else FILES[name]


@cache
def _parse_content(name: str, path: Path, content: str) -> Protocol:
    """Parse each content once: a file is read again, so that an edited one takes effect."""
    try:
        raw = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    return parse(name, raw)


def default_for(corpus: str) -> Protocol:
    """The protocol of a corpus when none is named; those of emofuse come before those of other packages.

    Raises:
        UsageError: No protocol for this corpus is included.
    """
    if corpus in _DEFAULTS:
        return load(_DEFAULTS[corpus])
    of_corpus = names(corpus)
    if not of_corpus:
        raise UsageError(
            f"emofuse includes no protocol for corpus {corpus!r}; write one: --protocol PATH.toml "
            "(`emofuse help protocols`)"
        )
    return load(min(of_corpus, key=lambda name: (FILES.entry(name).package is not None, name)))


def class_names(corpus: str) -> dict[str, str]:
    """Label -> class, of the labels that the corpus's default protocol only renames; empty without one."""
    try:
        labels = default_for(corpus).labels
    except UsageError:
        return {}
    counts = Counter(labels.values())
    return {label: name for label, name in labels.items() if counts[name] == 1}
