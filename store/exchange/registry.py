"""What a format of another lab is: a name, how it is opened, how it is written; and the registry of them all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.common.registry import Registry
from emofuse.manifests.schema import Utterance
from emofuse.store.exchange.feature_metadata import FeatureMetadata, Origin

if TYPE_CHECKING:
    from emofuse.store.exchange.exporting import Export


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """An utterance of a source that cannot be taken, and why."""

    why: str
    damaged: bool = False
    """The source itself is broken (exit code 3), rather than used wrongly (2)."""


Reading = Iterator[tuple[str, NDArray[Any] | Bad]]
"""Utterance id and frames [T, D] or [T, L, D], or one vector [D]; in the source's own order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of a source is wanted."""

    name: str
    """The feature's name in the store."""
    modality: str
    keep_padding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSource:
    """A source that has been opened: its ids are known, its values are read when asked for."""

    ids: Sequence[str]
    """Every id, as often as the source has it."""
    read: Callable[[], Reading]
    """Reads everything; called twice, so that nothing is written before all of it has been looked at."""
    said: FeatureMetadata = field(default_factory=FeatureMetadata)
    """What emofuse wrote beside the values when it exported them."""
    utterances: Sequence[Utterance] | None = None
    """What the source itself says of its utterances; none: nothing but ids."""
    origin: Origin | None = None
    """What the source says of the manifest that its utterances came from."""
    trimmed: bool = False
    """The source states the length of each utterance, so a zero at an end is a value."""


def bare(corpus: str, id: str) -> str:
    """The id itself, for formats that have no spelling of their own."""
    return id


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format."""

    open: Callable[[Path, Asked], ForeignSource]
    write: Callable[[Export, Path], None] | None = None
    """Writes into a fresh folder, or to a fresh file; none: the format is only read."""
    folder: bool = True
    """Whether it writes a folder rather than a file."""
    layered: bool = False
    """Whether it takes frames with a layer axis."""
    several: bool = False
    """Whether it takes several features at once."""
    sides: bool = False
    """Whether it is divided into train, valid and test."""
    key: Callable[[str, str], str] = bare
    """(corpus, id) -> how this format spells the id."""


FORMATS: Registry[Format] = Registry("exchange format")


def library(name: str) -> ModuleType:
    """An optional library, imported now.

    Raises:
        UsageError: It is not installed; says what to install.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"this format needs {error.name or name}: pip install 'emofuse[exchange]'") from error
