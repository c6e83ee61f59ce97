"""The options of `extract`: one record for the command and for Python callers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from emofuse.common.errors import UsageError
from emofuse.common.option_values import as_joined_text, as_path, as_tuple, check_values
from emofuse.common.problems import Problems
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.registry import CORPORA, corpus_name
from emofuse.extract.audio.augmentation import parse_augment
from emofuse.extract.audio.channels import Channel
from emofuse.extract.encoders.registry import ENCODERS
from emofuse.extract.plan.views import parse_views

Precision = Literal["auto", "fp32", "bf16", "fp16"]
StoredDtype = Literal["auto", "fp16", "fp32", "bf16"]
MeldClips = Literal["plain", "recut"]
PathLike = Path | str
_PATHS = ("root", "store", "transcripts", "manifest")
_JOINED = ("layers", "views", "augment")
_MINIMUM = {"limit": 1, "workers": 1, "copies": 1, "seed": 0}
_EXPECTED = {
    "encoders": "names such as ['logmel', 'bert']",
    "layers": "text such as '6,9', or numbers such as [6, 9]",
    "views": "text such as 'frames,mean', or names such as ['frames', 'mean']",
    "budget": "seconds of audio, or tokens, of a batch: 1 or more",
}
_EXAMPLES = {"dataset": "dataset='emodb'", "encoders": "encoders=['logmel']"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractConfig:
    """One call of `extract`; the fields are the command's options, with the same defaults.

    Paths may be given as text, `encoders` as one name, `layers` and `views` as sequences.
    """

    dataset: str
    encoders: tuple[str, ...]
    root: Path | None = None
    """The corpus folder; None means `$EMOFUSE_CORPORA/DATASET` or `corpora/DATASET`."""
    limit: int | None = None
    """At most this many utterances, spread evenly."""
    manifest: Path | None = None
    """Your CSV or JSON Lines, audformat database or saved Hugging Face dataset, for the dataset `custom`;
    a set's file or folder, for `emobox`."""
    columns: str | None = None
    """Which of your columns is which field: `label=emotion,speaker=spk`, for the dataset `custom`."""
    tables: str | None = None
    """The tables of an audformat database that have the labels, separated by commas."""
    meld_clips: MeldClips | None = None
    channel: Channel = "mean"
    """What is encoded of several channels: their mean, one of them, or the one with the most energy."""
    transcripts: Path | None = None
    """CSV with columns id and text, for a corpus without transcripts."""
    max_seconds: float | None = None
    """Clips that last longer are excluded."""
    store: Path | None = None
    """The file to write; None means `cache/CORPUS.h5`."""
    name: str | None = None
    """The feature's name; None means the encoder's."""
    weights: str | None = None
    """A folder, a file, ORG/NAME[@revision] on the hub, or a `finetune` run; None means the encoder's own."""
    fitted_on: str | None = None
    """What the weights were fitted on with labels: `none`, `CORPUS` or `CORPUS:session=1,2`."""
    layers: str = "last"
    """`last`, `all`, `mean`, or numbers such as `6,9,12`."""
    window: str | None = None
    """What Whisper reads at a time: `clip`, or None for 30 s."""
    views: str = "frames"
    """What to store of an utterance: `frames`, `mean`, `last`, `pooled`, `statistics`, separated by commas."""
    augment: str | None = None
    """Transforms of augmented copies: `noise,reverb,speed,gain`, each with a range if `noise:10..20`."""
    copies: int = 1
    """How many augmented copies each utterance gets."""
    seed: int = 0
    """What the augmented copies are drawn from."""
    device: str = "auto"
    precision: Precision = "auto"
    """What the encoders compute in."""
    compile: bool = False
    dtype: StoredDtype = "auto"
    """What the store holds; `auto` is fp16, or fp32 for encoders whose values need it."""
    transcribe: str | None = None
    """A speech recogniser for the utterances without a text: a folder, or ORG/NAME on the hub."""
    language: str | None = None
    """What is spoken, for `transcribe`: a code such as `de`, or `auto`; None means the corpus's own, or else `auto`."""
    budget: float | None = None
    """Seconds of audio, or tokens, of a batch; None means what the feature was started with, or what fits in memory."""
    workers: int | None = None
    """Processes on this machine."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers encode."""
    shard: str | None = None
    """`I/N`: encode shard I of N into a store of its own."""
    no_text: bool = False
    """Leave the texts out of the store."""
    dry_run: bool = False
    """Report what would be done, and write nothing."""
    quiet: bool = False
    """Show no progress."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[ExtractOptions]) -> None: ...

    def __post_init__(self) -> None:
        converters = {"encoders": as_tuple, **dict.fromkeys(_PATHS, as_path), **dict.fromkeys(_JOINED, as_joined_text)}
        for name, convert in converters.items():
            object.__setattr__(self, name, convert(getattr(self, name)))

    @property
    def store_path(self) -> Path:
        """The store that the features end up in."""
        if self.store:
            return self.store
        return Path("cache") / f"{corpus_name(self.dataset, self.root, self.reader_options)}.h5"

    @property
    def reader_options(self) -> ReaderOptions:
        """The options of the corpus's reader."""
        return ReaderOptions(
            transcripts=self.transcripts,
            meld_clips=self.meld_clips,
            manifest=self.manifest,
            columns=self.columns,
            tables=self.tables,
            max_seconds=self.max_seconds,
        )

    @property
    def shard_number(self) -> tuple[int, int] | None:
        """The number of the shard, from 1 on, and how many shards there are.

        Raises:
            UsageError: `shard` is not I/N with I from 1 to N.
        """
        if self.shard is None:
            return None
        match = re.fullmatch(r"([0-9]+)/([0-9]+)", self.shard.strip())
        number, count = (int(n) for n in match.groups()) if match else (0, 0)
        if not 1 <= number <= count:
            last = count or 16
            raise UsageError(
                f"shard is {self.shard!r}, expected a number, from 1 on, and a count: 1/{last} to {last}/{last}"
            )
        return number, count

    def check(self, problems: Problems) -> None:
        """Note every wrong option, before anything heavy is imported or read."""
        wrong = check_values(self, problems, expected=_EXPECTED, minimum=_MINIMUM, examples=_EXAMPLES)
        if "dataset" not in wrong:
            with problems.collecting():
                CORPORA[self.dataset]
        if "views" not in wrong:
            with problems.collecting():
                parse_views(self.views)
        if not wrong & {"encoders", "name", "weights"}:
            self._check_encoders(problems)
        if not wrong & {"augment", "copies", "seed", "encoders"}:
            self._check_augment(problems)
        if "budget" not in wrong and self.budget is not None and not (math.isfinite(self.budget) and self.budget >= 1):
            problems.add(f"budget is {self.budget!r}, expected {_EXPECTED['budget']}")
        if "max_seconds" not in wrong and self.max_seconds is not None and not self.max_seconds > 0:
            problems.add(f"max_seconds is {self.max_seconds!r}, expected a number of seconds above 0")
        if not wrong & {"shard", "workers", "scheduler", "transcribe"}:
            self._check_processes(problems)

    def _check_augment(self, problems: Problems) -> None:
        if self.augment is None:
            given = {"copies": self.copies != 1, "seed": self.seed != 0}
            for option in (option for option, differs in given.items() if differs):
                problems.add(f"{option}={getattr(self, option)} has no effect without augment")
            return
        with problems.collecting():
            parse_augment(self.augment)
        if self._reads_no_audio:
            problems.add(f"augment={self.augment!r} has no effect: {', '.join(self.encoders)} reads no audio")

    @property
    def _reads_no_audio(self) -> bool:
        return not any(ENCODERS[e].modality == "audio" for e in self.encoders if e in ENCODERS)

    def _check_encoders(self, problems: Problems) -> None:
        for encoder in self.encoders:
            with problems.collecting():
                ENCODERS[encoder]
        if not self.encoders:
            problems.add(f"no encoder is named; valid: {', '.join(ENCODERS.names())}")
        if self.channel != "mean" and not self.transcribe and self._reads_no_audio:
            problems.add(f"channel={self.channel!r} has no effect: {', '.join(self.encoders)} reads no audio")
        if len(set(self.encoders)) < len(self.encoders):
            problems.add(f"an encoder is named twice: {', '.join(self.encoders)}")
        pretrained = [e for e in self.encoders if e in ENCODERS and ENCODERS[e].pretrained]
        for option, value, concerned in (("name", self.name, self.encoders), ("weights", self.weights, pretrained)):
            if value and len(concerned) > 1:
                problems.add(
                    f"{option} belongs to one encoder, not to {', '.join(concerned)}: run `extract` once for each"
                )

        self._check_window(problems)

    def _check_window(self, problems: Problems) -> None:
        offered = {e: ENCODERS[e].windows for e in self.encoders if e in ENCODERS}
        if self.window and not any(self.window in windows for windows in offered.values()):
            valid = [f"{e.value.windows[0]} for encoder {e.name}" for e in ENCODERS if e.value.windows]
            problems.add(f"window={self.window!r} has no effect on {', '.join(offered)}; valid: {', '.join(valid)}")

    def _check_processes(self, problems: Problems) -> None:
        with problems.collecting():
            _ = self.shard_number
        options = {"shard": self.shard, "workers": self.workers, "scheduler": self.scheduler}
        given = [option for option, value in options.items() if value is not None]
        if len(given) > 1:
            problems.add(f"{' and '.join(given)} exclude each other: pass one")
        if self.language and not self.transcribe:
            problems.add(
                f"language={self.language!r} has no effect: it tells the recogniser of transcribe what is spoken"
            )
        if self.shard and self.transcribe:
            problems.add("transcribe with shard would recognise everything in every shard: transcribe first")


class RequiredOptions(TypedDict):
    """The keywords that `emofuse.extract.extract` needs."""

    dataset: str
    encoders: Sequence[str]


class ExtractOptions(RequiredOptions, total=False):
    """The keywords of `emofuse.extract.extract`: the fields of `ExtractConfig` in the forms that it converts."""

    root: PathLike | None
    limit: int | None
    manifest: PathLike | None
    columns: str | None
    tables: str | None
    meld_clips: MeldClips | None
    channel: Channel
    transcripts: PathLike | None
    max_seconds: float | None
    store: PathLike | None
    name: str | None
    weights: str | None
    fitted_on: str | None
    layers: str | int | Sequence[int | str]
    window: str | None
    views: str | Sequence[str]
    augment: str | Sequence[str] | None
    copies: int
    seed: int
    device: str
    precision: Precision
    compile: bool
    dtype: StoredDtype
    transcribe: str | None
    language: str | None
    budget: float | None
    workers: int | None
    scheduler: str | None
    shard: str | None
    no_text: bool
    dry_run: bool
    quiet: bool
