"""The options of one call of `report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Required, TypedDict, Unpack

from emofuse.common.location import Location
from emofuse.common.option_values import as_locations, as_path, as_texts, check_values, split_names
from emofuse.common.output.formats import PageFormat
from emofuse.common.problems import Problems
from emofuse.train.inspection.projection import Method

_EXPECTED = {
    "path": "the folder of a run, a folder of runs, or a Run",
    "store": "paths or URLs of stores",
    "maps": "tsne, umap or both",
    "audio_root": "folders, or texts such as 'savee=FOLDER'",
}
_EXAMPLES = {"path": "path='runs/iemocap4-smcn-1a2b3c4d'"}


class RunFolder(Protocol):
    """What `report` needs of a `Run`, whose class needs torch."""

    @property
    def folder(self) -> Path:
        """The folder of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """The options of one call of `report`; paths may be given as texts, `path` also as a `Run`."""

    path: Path
    """The folder of a finished run or evaluation, or a folder of runs."""
    format: PageFormat = "html"
    """`html` is one page; the others write each figure (svg, png, pdf) or each table (csv, md, latex) as a file."""
    out: Path | None = None
    """The file of the page, or the folder of the figures or tables; None means report.html in `path`, or a folder
    beside it."""
    store: tuple[Location, ...] = ()
    """Where stores of the run are now; those that are not named are looked for where `fit` read them."""
    weights: str | None = None
    """The weights of the run's text encoder, for its tokenizer; None means those that the store has recorded."""
    audio_root: tuple[str, ...] = ()
    """The folder of the corpus that its recordings are in: `FOLDER`, or of a run on several corpora `CORPUS=FOLDER`."""
    embed_audio: bool = False
    """Put short recordings into the page itself, up to a limit, instead of links to them."""
    no_text: bool = False
    """Leave out what is said in the utterances."""
    no_models: bool = False
    """Leave out what the trained models show."""
    maps: tuple[Method, ...] = ()
    """How the representation of utterances is drawn: `tsne`, `umap`; empty means t-SNE, and UMAP where installed."""
    open: bool = False
    """Open the page in the browser."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[ReportOptions]) -> None: ...

    def __post_init__(self) -> None:
        converted: dict[str, Any] = {
            "path": as_path(getattr(self.path, "folder", self.path)),  # of a Run
            "out": as_path(self.out),
            "store": as_locations(self.store),
            "weights": str(self.weights) if isinstance(self.weights, Path) else self.weights,
            "audio_root": as_texts(self.audio_root),
            "maps": split_names(self.maps),
        }
        for name, value in converted.items():
            object.__setattr__(self, name, value)

    def check(self, problems: Problems) -> None:
        """Note every value that the command line refuses by itself, and options that have no effect together."""
        wrong = check_values(self, problems, expected=_EXPECTED, minimum={}, examples=_EXAMPLES)
        if not wrong & {"embed_audio", "audio_root"} and self.embed_audio and not self.audio_root:
            problems.add("embed_audio has no effect without audio_root: pass the folder of the recordings")
        if not wrong & {"open", "format"} and self.open and self.format != "html":
            problems.add(f"open has no effect with format {self.format}: leave one of them out")


class ReportOptions(TypedDict, total=False):
    """The keywords of `report`: the fields of `ReportConfig` in the forms that it converts."""

    path: Required[str | Path | RunFolder]
    format: PageFormat
    out: str | Path | None
    store: Location | str | Sequence[Location | str]
    weights: str | Path | None
    audio_root: str | Path | Sequence[str | Path]
    embed_audio: bool
    no_text: bool
    no_models: bool
    maps: str | Sequence[str]
    open: bool
