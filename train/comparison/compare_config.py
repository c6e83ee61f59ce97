"""The options of one call of `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict, Unpack

from emofuse.common.disk.outputs import refuse_as_file, refuse_as_folder
from emofuse.common.location import Location
from emofuse.common.option_values import as_locations, as_path, as_texts, as_tuple, check_values, split_names
from emofuse.common.output.formats import PICTURES, TABLES
from emofuse.common.problems import Problems
from emofuse.manifests.metrics.scores import EXPECTED_METRICS, LABEL_METRICS, VALUE_METRICS, check_metrics
from emofuse.train.comparison.statistics.comparison_units import Unit
from emofuse.train.runs.finished_run import Run

Format = Literal["table", "csv", "json", "md", "latex", "svg", "png", "pdf"]
_ENDINGS = {"table": "txt", "json": "json"}
_EXPECTED = {
    "runs": "the folders of finished runs, or Run objects",
    "baseline": "the folder of a finished run, a Run or None",
    "metrics": EXPECTED_METRICS,
    "store": "paths or URLs of stores",
    "audio_root": "folders, or texts such as 'savee=FOLDER'",
}
_EXAMPLES = {"runs": "runs=['runs/iemocap4-smcn-1a2b3c4d', 'runs/iemocap4-concat-5e6f7a8b']"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig:
    """The options of one call of `compare`; runs may be given as paths, texts or `Run` objects."""

    runs: tuple[Path, ...]
    """The folders of the runs."""
    baseline: Path | None = None
    """Compare every run with this one only; None compares every pair."""
    metrics: tuple[str, ...] = ()
    """The scores to compare; empty means the protocol's, then UA, WA and W-F1. The first one is in the sentences."""
    unit: Unit = "auto"
    """What is exchanged and drawn: speakers where the protocol keeps them apart, else what it holds out."""
    missing_as_wrong: bool = False
    """Also compare runs of which one lacks features: what it could not test counts as wrong."""
    format: Format = "table"
    """Of the output; svg, png and pdf write each chart of the page into the folder `out`."""
    out: Path | None = None
    """The file to write; None prints. With csv, md and latex, a folder that exists gets each table of the page."""
    html: Path | None = None
    """Also write the page of the comparison into this file."""
    store: tuple[Location, ...] = ()
    """Where stores of the runs are now, for the page; those that are not named are looked for where `fit` read them."""
    audio_root: tuple[str, ...] = ()
    """The folder of the corpus, for players on the page: `FOLDER`, or of runs on several corpora `CORPUS=FOLDER`."""
    no_text: bool = False
    """Leave out what is said in the utterances."""
    open: bool = False
    """Open the page in the browser."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[CompareOptions]) -> None: ...

    def __post_init__(self) -> None:
        runs: Any = as_tuple((self.runs,) if isinstance(self.runs, Run) else self.runs)
        converted: dict[str, Any] = {
            "runs": tuple(_folder(run) for run in runs) if isinstance(runs, tuple) else runs,
            "baseline": _folder(self.baseline),
            "metrics": split_names(self.metrics),
            "out": as_path(self.out),
            "html": as_path(self.html),
            "store": as_locations(self.store),
            "audio_root": as_texts(self.audio_root),
        }
        for name, value in converted.items():
            object.__setattr__(self, name, value)

    def check(self, problems: Problems) -> None:
        """Note every value that the command line refuses by itself, and too few runs."""
        wrong = check_values(self, problems, expected=_EXPECTED, minimum={}, examples=_EXAMPLES)
        if "metrics" not in wrong:
            check_metrics(self.metrics, (*LABEL_METRICS, *VALUE_METRICS), problems)
        if not wrong & {"runs", "baseline"} and len(self.folders()) < 2:
            problems.add(
                f"{'one run' if self.folders() else 'no run'} to compare, expected two or more: "
                "pass the folders that `fit` printed"
            )
        if not wrong & {"format", "out"}:
            self._check_out(problems)
        if not wrong & {"html", "open"}:
            self._check_page(problems)
        if not wrong & {"format", "out", "html", "store"} and self.store and not self.has_page:
            problems.add("store has no effect without a page: pass its file with html (--html FILE)")
        if not wrong & {"html", "audio_root"} and self.audio_root and self.html is None:
            problems.add("audio_root has no effect without a page: pass its file with html (--html FILE)")

    @property
    def writes_parts(self) -> bool:
        """Whether each chart or table of the page becomes a file of its own."""
        return self.format in PICTURES or (self.format in TABLES and self.out is not None and self.out.is_dir())

    @property
    def has_page(self) -> bool:
        """Whether the page is made, whole or in parts."""
        return self.html is not None or self.writes_parts

    def _check_out(self, problems: Problems) -> None:
        if self.out is None:
            if self.format in PICTURES:
                problems.add(
                    f"format {self.format} writes a file for each chart: pass a folder with out (--out FOLDER)"
                )
            return
        with problems.collecting():
            if self.writes_parts:
                refuse_as_folder(self.out, self.format)
            else:
                refuse_as_file(self.out, f"comparison.{_ENDINGS.get(self.format, self.format)}")

    def _check_page(self, problems: Problems) -> None:
        if self.html is None:
            if self.open:
                problems.add("open has no effect without a page: pass its file with html (--html FILE)")
            return
        if self.out is not None and self.html.resolve() == self.out.resolve():
            problems.add(f"html and out are the same file, {self.html}: pass two")
        with problems.collecting():
            refuse_as_file(self.html, "comparison.html", "--html")

    def folders(self) -> list[Path]:
        """The folders of all runs in order, the baseline last if it is not among them."""
        added = [] if self.baseline is None or self._is_among_runs() else [self.baseline]
        return [*self.runs, *added]

    def _is_among_runs(self) -> bool:
        return self.baseline is not None and self.baseline.resolve() in [run.resolve() for run in self.runs]


class CompareOptions(TypedDict, total=False):
    """The keywords of `compare`: the fields of `CompareConfig` in the forms that it converts."""

    runs: Required[Sequence[str | Path | Run]]
    baseline: str | Path | Run | None
    metrics: str | Sequence[str]
    unit: Unit
    missing_as_wrong: bool
    format: Format
    out: str | Path | None
    html: str | Path | None
    store: Location | str | Sequence[Location | str]
    audio_root: str | Path | Sequence[str | Path]
    no_text: bool
    open: bool


def _folder(value: Any) -> Any:
    return value.folder if isinstance(value, Run) else as_path(value)
