"""The options of `predict`: one record for the command and for Python callers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Required, TypedDict, Unpack

from emofuse.common.option_values import as_path, as_tuple, check_values
from emofuse.common.problems import Problems

Format = Literal["jsonl", "csv"]
PathLike = Path | str
MODALITIES = ("audio", "text")
_EXPECTED = {
    "inputs": "paths of clips, folders or manifests",
    "weights": "texts such as 'FOLDER' or 'text=ORG/NAME'",
    "window": "seconds above 0, or None",
    "hop": "seconds above 0, or None",
    "budget": "seconds of audio, or tokens, of a batch: 1 or more",
}
_EXAMPLES = {"run": "run='runs/emodb7-linear-0123abcd'"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """One call of `predict`; the fields are the command's options, with the same defaults.

    Paths may be given as text, `inputs` and `weights` as one value or as several.
    """

    run: Path
    """The folder of a finished run of `fit`."""
    inputs: tuple[Path, ...] = ()
    """Audio files, folders of them, and manifests (CSV or JSON Lines)."""
    text: str | None = None
    """The words of the only clip, or what a run that reads text alone is asked about."""
    transcribe: str | None = None
    """A speech recogniser for clips without a text: a folder, or ORG/NAME on the hub."""
    language: str | None = None
    """What is spoken, for `transcribe`: a code such as `de`; None detects it for each clip."""
    weights: tuple[str, ...] = ()
    """Weights of the run's encoders, where they are not found by the name that the run has recorded: a folder, or
    ORG/NAME[@revision]; of a run with two encoders `audio=...` and `text=...`."""
    fold: int | None = None
    """Only the models of this fold; None means the mean over all folds."""
    refit: bool = False
    """Only the final model, which `fit --final` trained on all data."""
    window: float | None = None
    """Seconds; None takes a clip whole, and one that is longer than 30 s in segments of 30 s."""
    hop: float | None = None
    """Seconds from the start of a window to that of the next; None means the length of a window."""
    format: Format = "jsonl"
    out: Path | None = None
    """The file to write; None writes none (the command prints to stdout)."""
    device: str = "auto"
    budget: float | None = None
    """Seconds of audio, or tokens, of an encoder's batch; None means what fits in memory."""
    quiet: bool = False
    """Show no progress."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[PredictOptions]) -> None: ...

    def __post_init__(self) -> None:
        several = as_tuple(self.inputs)
        converted = {
            "run": as_path(self.run),
            "inputs": tuple(as_path(path) for path in several) if isinstance(several, tuple) else several,
            "weights": as_tuple(self.weights),
            "out": as_path(self.out),
        }
        for name, value in converted.items():
            object.__setattr__(self, name, value)

    def check(self, problems: Problems) -> None:
        """Add every wrong value, and every wrong combination, to `problems`."""
        wrong = check_values(self, problems, expected=_EXPECTED, minimum={"fold": 1}, examples=_EXAMPLES)
        for name, smallest in (("window", 0.0), ("hop", 0.0), ("budget", 1.0)):
            value = getattr(self, name)
            if name in wrong or value is None:
                continue
            if not math.isfinite(value) or value < smallest or value == 0:
                wrong.add(name)
                problems.add(f"{name} is {value!r}, expected {_EXPECTED[name]}")
        if not wrong & {"window", "hop"}:
            self._check_hop(problems)
        for one, other in (("text", "transcribe"), ("fold", "refit")):
            if not wrong & {one, other} and getattr(self, one) not in (None, False) and getattr(self, other):
                problems.add(f"{one} and {other} exclude each other: pass one")
        if self.language and not self.transcribe:
            problems.add(
                f"language={self.language!r} has no effect: it tells the recogniser of transcribe what is spoken"
            )
        if "inputs" not in wrong and not self.inputs and not self.text:
            problems.add("nothing to predict: pass audio files, folders or a manifest, or a text")
        if self.text is not None and "text" not in wrong and not self.text.strip():
            problems.add("text is empty: pass the words that were spoken, or leave the option out")

    def _check_hop(self, problems: Problems) -> None:
        if self.hop is not None and self.window is None:
            problems.add("hop has no effect without window: pass both")
        elif self.hop is not None and self.window is not None and self.hop > self.window:
            problems.add(f"hop is {self.hop:g} s, longer than window ({self.window:g} s): some audio would be unused")


class PredictOptions(TypedDict, total=False):
    """The keywords of `emofuse.predict.predict`: the fields of `PredictConfig` in the forms that it converts."""

    run: Required[PathLike]
    inputs: PathLike | Sequence[PathLike]
    text: str | None
    transcribe: str | None
    language: str | None
    weights: str | Sequence[str]
    fold: int | None
    refit: bool
    window: float | None
    hop: float | None
    format: Format
    out: PathLike | None
    device: str
    budget: float | None
    quiet: bool
