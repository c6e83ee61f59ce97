"""The options of one call of `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict, Unpack

from emofuse.common.location import Location, parse_location
from emofuse.common.option_values import as_path, as_tuple, check_values
from emofuse.common.problems import Problems
from emofuse.store import FeatureStore

_EXPECTED = {
    "store": "a path, a URL or an open FeatureStore",
    "map": "a mapping such as {'hap': 'happiness'}, or texts such as ['hap=happiness']",
    "ignore": "a label of the store or a sequence of them",
}
_EXAMPLES = {"run": "run='runs/emodb4-linear-1a2b3c4d'", "store": "store='cache/ravdess.h5'"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """The options of one call of `evaluate`.

    Paths may be given as text, the store also as an open store, and `map` as a mapping from a class of the run to one
    or several labels of the store.
    """

    run: Path
    """The folder of a finished run."""
    store: Location
    """The store to evaluate on, a path or a URL."""
    map: tuple[str, ...] = ()
    """`OURS=THEIRS` each: a class of the run, and the label of the store that means it."""
    ignore: tuple[str, ...] = ()
    """Labels of the store that are left out."""
    protocol: str | None = None
    """The protocol that groups the store's labels; None means the corpus's default one, or its labels as they are."""
    fold: int | None = None
    """Use the models of this fold only; None means the mean of all folds."""
    refit: bool = False
    """Use the final model, which is trained on all data (`fit --final`)."""
    allow_duplicates: bool = False
    """Continue where the run was trained on some of the store's audio."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: int | None = None
    """CPU threads; None means all cores."""
    out: Path | None = None
    """The folder of the results; None means one below `runs`, named after the protocols, the model and a digest."""
    runs: Path = Path("runs")
    """The folder of all runs whose `out` is None."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[EvaluateOptions]) -> None: ...

    def __post_init__(self) -> None:
        converted: dict[str, Any] = {
            "run": as_path(self.run),
            "store": _location(self.store),
            "map": _pairs(self.map),
            "ignore": as_tuple(self.ignore),
            "protocol": str(self.protocol) if isinstance(self.protocol, Path) else self.protocol,
            "out": as_path(self.out),
            "runs": as_path(self.runs),
        }
        for name, value in converted.items():
            object.__setattr__(self, name, value)

    def check(self, problems: Problems) -> None:
        """Note every value that the command line refuses by itself, and options that exclude each other."""
        check_values(self, problems, expected=_EXPECTED, minimum={"fold": 1, "threads": 1}, examples=_EXAMPLES)
        if self.fold is not None and self.refit:
            problems.add("fold and refit exclude each other: pass one")


class EvaluateOptions(TypedDict, total=False):
    """The keywords of `evaluate`: the fields of `EvaluateConfig` in the forms that it converts."""

    run: Required[str | Path]
    store: Required[Location | str | FeatureStore]
    map: Mapping[str, str | Sequence[str]] | Sequence[str]
    ignore: str | Sequence[str]
    protocol: str | Path | None
    fold: int | None
    refit: bool
    allow_duplicates: bool
    device: str
    threads: int | None
    out: str | Path | None
    runs: str | Path


def _location(value: Any) -> Any:
    if isinstance(value, FeatureStore):
        return value.path
    return parse_location(value) if value and isinstance(value, str) else as_path(value)


def _pairs(value: Any) -> Any:
    """Texts `OURS=THEIRS`; what is neither a mapping nor texts unchanged."""
    if not isinstance(value, Mapping):
        return as_tuple(value)
    several = {ours: as_tuple(theirs) for ours, theirs in value.items()}
    if not all(isinstance(theirs, tuple) for theirs in several.values()):
        return value
    return tuple(f"{ours}={label}" for ours, theirs in several.items() for label in theirs)
