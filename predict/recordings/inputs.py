"""What is to be predicted: files, folders and manifests as one list of utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.output.console import printable
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.custom import SUFFIXES as MANIFEST_SUFFIXES
from emofuse.datasets.custom import read as read_custom
from emofuse.extract.audio.audio_files import SUFFIXES, audio_files
from emofuse.extract.audio.exclusions import report_notes
from emofuse.manifests.schema import Excluded, Manifest, Utterance, utterance_problems

ROOT = Path(Path.cwd().anchor)
"""The folder that the audio paths of all inputs are relative to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The utterances of all inputs, in their order; an audio path is relative to `ROOT`."""

    utterances: tuple[Utterance, ...]
    excluded: tuple[Excluded, ...] = ()
    """What the inputs name but do not have; of an utterance that is also among `utterances`, one modality."""

    def has(self, modality: str) -> bool:
        """Whether any utterance has `modality`."""
        return any(getattr(u, modality) is not None for u in self.utterances)


def manifest_of(utterances: Sequence[Utterance]) -> Manifest:
    """Utterances as the manifest that the steps of `extract` take."""
    return Manifest(corpus="recordings", reader="predict-1", utterances=tuple(utterances))


def read_inputs(paths: Sequence[Path], text: str | None = None) -> Inputs:
    """List what is to be predicted; no audio is opened.

    The id of an audio file is its path as it was given; the ids of a manifest are its own. A file that is named twice
    counts once.

    Args:
        paths: Audio files, folders that are searched for audio, and manifests.
        text: The words of the only clip; without `paths`, the only utterance.

    Raises:
        UsageError: A path does not exist, a folder has no audio, a manifest is wrong, an id stands for two different
            utterances, or `text` is given for several clips; lists every such problem.
    """
    problems: list[str] = []
    found: dict[str, Utterance] = {}
    excluded: list[Excluded] = []
    for path in paths:
        try:
            utterances, unusable = _read(path)
        except UsageError as error:
            problems.append(str(error))
            continue
        excluded += unusable
        for utterance in utterances:
            if found.setdefault(utterance.id, utterance) != utterance:
                problems.append(f"{path}: id {utterance.id!r} is already used by another input; ids must differ")
    raise_problems(problems, "the inputs cannot be read")
    excluded += (invalid := [item for u in found.values() for item in _invalid(u)])
    rows = [u for id, u in found.items() if id not in {item.id for item in invalid}]
    return Inputs(utterances=tuple(_with_text(rows, text)), excluded=tuple(excluded))


def _read(path: Path) -> tuple[Sequence[Utterance], Sequence[Excluded]]:
    if path.is_dir():
        files = audio_files(path)
        if not files:
            raise UsageError(f"{path} contains no audio: looked for {', '.join(SUFFIXES)} in it and its subfolders")
        return [_clip(file) for file in files], []
    if not path.exists():
        raise UsageError(f"no file or folder {path}: pass audio files, folders of them, or a manifest (.csv, .jsonl)")
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
        return [_clip(path)], []
    manifest = read_custom(path.parent, ReaderOptions(manifest=path))
    report_notes(manifest)
    return [_from_manifest(u, path.parent) for u in manifest.utterances], manifest.excluded


def _clip(path: Path) -> Utterance:
    return Utterance(id=printable(path.as_posix(), 1000), audio=_below_root(path))


def _from_manifest(utterance: Utterance, folder: Path) -> Utterance:
    """Only what a prediction needs of a row."""
    return Utterance(
        id=utterance.id,
        audio=None if utterance.audio is None else _below_root(folder / utterance.audio),
        start=utterance.start,
        end=utterance.end,
        text=utterance.text,
        text_kind=utterance.text_kind,
        text_source=utterance.text_source,
    )


def _below_root(path: Path) -> str:
    return path.resolve().relative_to(ROOT).as_posix()


def _invalid(utterance: Utterance) -> list[Excluded]:
    """An utterance that no manifest may hold, such as a file whose name has a backslash and two dots."""
    return [Excluded(id=utterance.id, reason=problem) for problem in utterance_problems([utterance])[:1]]


def _with_text(utterances: Sequence[Utterance], text: str | None) -> Sequence[Utterance]:
    if text is None:
        return utterances
    if not utterances:
        return [Utterance(id="text", text=text)]
    if len(utterances) > 1:
        raise UsageError(
            f"text is given for {len(utterances)} clips, expected one clip: pass a manifest with a column text"
        )
    return [replace(utterances[0], text=text, text_kind=None, text_source=None)]
