"""The options of one call of `export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict, Unpack

from emofuse.common.option_values import as_path, check_values
from emofuse.common.problems import Problems
from emofuse.train.runs.finished_run import Run

CARD = "card"
"""The format that writes the model card alone."""
EMOBOX = "emobox-predictions"
"""The format that writes the test predictions, in EmoBox's form."""
_EXPECTED = {"run": "the folder of a run, or a Run"}
_EXAMPLES = {"run": "run='runs/emodb7-linear-0123abcd'", "format": "format='onnx'"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """The options of one call of `export`. Paths may be given as text, the run also as an open `Run`."""

    run: Path
    """The folder of a finished run."""
    format: str
    """`onnx`, `torchscript` or `safetensors`; `card` writes the model card alone, `emobox-predictions` the test
    predictions."""
    fold: int | None = None
    """Only the models of this fold; None means the mean over the models of all folds and seeds."""
    refit: bool = False
    """Only the final model, which `fit --final` trains on all data."""
    out: Path | None = None
    """The folder to write; None means one below `exports`, named after the run and the format."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[ExportOptions]) -> None: ...

    def __post_init__(self) -> None:
        run: Any = self.run
        object.__setattr__(self, "run", run.folder if isinstance(run, Run) else as_path(run))
        object.__setattr__(self, "out", as_path(self.out))

    def check(self, problems: Problems) -> None:
        """Add every wrong value, and every wrong combination, to `problems`."""
        wrong = check_values(self, problems, expected=_EXPECTED, minimum={"fold": 1}, examples=_EXAMPLES)
        if not wrong & {"fold", "refit"} and self.fold is not None and self.refit:
            problems.add("fold and refit exclude each other: pass one")
        if not wrong & {"format", "refit"} and self.format == EMOBOX and self.refit:
            problems.add(f"refit has no effect on format {EMOBOX}: the final model has no test predictions")

    @property
    def folder(self) -> Path:
        """The folder to write."""
        part = f"-fold-{self.fold}" if self.fold is not None else "-final" if self.refit else ""
        return self.out or Path("exports") / f"{self.run.resolve().name}{part}-{self.format}"


class ExportOptions(TypedDict, total=False):
    """The keywords of `export`: the fields of `ExportConfig` in the forms that it converts."""

    run: Required[Run | Path | str]
    format: Required[str]
    fold: int | None
    refit: bool
    out: Path | str | None
