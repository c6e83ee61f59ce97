"""The options of one call of `explore`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict, Unpack

from emofuse.common.disk.outputs import refuse_as_file, refuse_as_folder
from emofuse.common.location import Location, parse_location
from emofuse.common.option_values import as_path, as_texts, as_tuple, check_values, split_names
from emofuse.common.output.formats import PageFormat
from emofuse.common.problems import Problems
from emofuse.store import FeatureStore
from emofuse.train.inspection.projection import Method
from emofuse.train.runs.finished_run import Run

LIMIT = 2000
_EXPECTED = {
    "stores": "the path or URL of a store, or several",
    "feature": "names of features, or () for all",
    "run": "the folder of a finished run, a Run or None",
    "maps": "tsne, umap or both",
    "audio_root": "a folder of recordings, or several as CORPUS=FOLDER",
}
_EXAMPLES = {"stores": "stores='cache/emodb.h5'"}
_MINIMUM = {"limit": 10}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploreConfig:
    """The options of one call of `explore`."""

    stores: tuple[Location, ...]
    """Paths or URLs, of one corpus each."""
    feature: tuple[str, ...] = ()
    """The features to pool; empty means every feature that all stores have."""
    layer: int | None = None
    """Number of a layer of features that have several; None means the mean of all."""
    run: Path | None = None
    """A finished run on this corpus, whose errors are explained."""
    audio_root: tuple[str, ...] = ()
    """The folder of the corpus that its recordings are in: `FOLDER`, or with several stores `CORPUS=FOLDER`; empty
    measures no audio."""
    maps: tuple[Method, ...] = ()
    """How utterances are drawn: `tsne`, `umap`; empty means t-SNE, and UMAP where installed."""
    protocol: str | None = None
    """The task whose classes and utterances are explored; None means the corpus's own labels and all utterances."""
    limit: int = LIMIT
    """At most this many utterances are pooled, projected and probed: a stratified sample."""
    format: PageFormat = "html"
    """One page, or its charts (svg, png, pdf) or tables (csv, md, latex) as files."""
    out: Path | None = None
    """The page, or the folder of the files; None means beside the first store."""
    open: bool = False
    """Show the page in a browser."""
    no_text: bool = False
    """Leave the texts of the utterances out."""
    quiet: bool = False
    """Show no progress."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[ExploreOptions]) -> None: ...

    def __post_init__(self) -> None:
        stores = as_tuple(self.stores.path if isinstance(self.stores, FeatureStore) else self.stores)
        converted: dict[str, Any] = {
            "stores": tuple(map(_location, stores)) if isinstance(stores, tuple) else stores,
            "feature": split_names(self.feature),
            "run": self.run.folder if isinstance(self.run, Run) else as_path(self.run),
            "maps": split_names(self.maps),
            "audio_root": as_texts(self.audio_root),
            "out": as_path(self.out),
        }
        for name, value in converted.items():
            object.__setattr__(self, name, value)

    def check(self, problems: Problems) -> None:
        """Note every value that the command line refuses by itself, and options that do not fit together."""
        wrong = check_values(self, problems, expected=_EXPECTED, minimum=_MINIMUM, examples=_EXAMPLES)
        if "stores" not in wrong and not self.stores:
            problems.add("no store to explore, expected one or more")
        if not wrong & {"format", "open"} and self.open and self.format != "html":
            problems.add(f"open has no effect with format {self.format}: leave one of them out")
        if not wrong & {"format", "out"} and self.out is not None:
            with problems.collecting():
                if self.format == "html":
                    refuse_as_file(self.out, "exploration.html")
                else:
                    refuse_as_folder(self.out, self.format)


class ExploreOptions(TypedDict, total=False):
    """The keywords of `explore`: the fields of `ExploreConfig` in the forms that it converts."""

    stores: Required[Location | str | FeatureStore | Sequence[Location | str | FeatureStore]]
    feature: str | Sequence[str]
    layer: int | None
    run: str | Path | Run | None
    audio_root: str | Path | Sequence[str | Path]
    maps: str | Sequence[str]
    protocol: str | None
    limit: int
    format: PageFormat
    out: str | Path | None
    open: bool
    no_text: bool
    quiet: bool


def _location(value: Any) -> Any:
    if isinstance(value, FeatureStore):
        return value.path
    return parse_location(value) if isinstance(value, str) else value
