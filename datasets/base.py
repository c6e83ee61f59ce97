"""The record of a corpus, the folder it is read from, and the steps that readers share.

A reader lists what the annotation names, in a fixed order, and never decodes audio: whether a clip can be decoded, and
its length, are found by a later scan.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.common.output.console import plural
from emofuse.datasets.reading.audio_paths import AudioFinder
from emofuse.manifests.licences import Licence
from emofuse.manifests.schema import Excluded, Manifest, Utterance, missing_audio_reason

CORPORA_VARIABLE = "EMOFUSE_CORPORA"
MAX_DEPTH = 4
"""The number of folder levels below the root that are searched for audio."""
GENERAL_OPTIONS = ("max_seconds",)
"""The fields of `ReaderOptions` that have an effect on every corpus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderOptions:
    """Options for reading a corpus; each corpus lists those that it accepts beyond `GENERAL_OPTIONS`."""

    transcripts: Path | None = None
    """A CSV with columns id and text, for a corpus whose release has no transcripts."""
    meld_clips: str | None = None
    """`plain` (the default) or `recut`: the second cut of those clips in MELD's test split that occur twice."""
    manifest: Path | None = None
    """Your own CSV or JSON Lines of utterances, an audformat database or a saved Hugging Face dataset."""
    columns: str | None = None
    """Which of your columns is which field of an utterance: `label=emotion,speaker=spk`."""
    tables: str | None = None
    """The tables of an audformat database that have the labels, separated by commas."""
    max_seconds: float | None = None
    """Clips that are longer are excluded; of every corpus."""

    def given(self) -> dict[str, str]:
        """The command-line flag of each option in use, by the option's name."""
        return {
            name: "--" + name.replace("_", "-") for name in self.__dataclass_fields__ if getattr(self, name) is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large the complete release is, as published or counted in it; None where that is unknown."""

    utterances: int
    hours: float | None = None
    """Hours of speech; None also for a corpus of texts."""
    speakers: int | None = None
    emotions: int | None = None
    """Different emotion labels, without `other` and `no agreement`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A corpus: where to get it, how its folder is recognised and how it is read."""

    name: str
    description: str
    page: str
    """Where to request or download the corpus."""
    layout: str
    """What its root contains, as text for an error message."""
    looks_like: Callable[[Path], bool]
    """Whether a folder has the layout of this corpus."""
    read: Callable[[Path, ReaderOptions], Manifest]
    """Reads the corpus from its root."""
    language: str | None = None
    """Code of the language that is spoken, such as `de`; None where it is unknown."""
    size: Size | None = None
    licence: Licence | None = None
    """The terms of use; None where they are unknown."""
    scan_notes: Callable[[Manifest], list[str]] | None = None
    """What its user should know once the lengths of its clips are known."""
    options: tuple[str, ...] = ()
    """The fields of `ReaderOptions` that have an effect."""
    manifest_root: Callable[[Path], Path] = lambda path: path if path.is_dir() else path.parent
    """The root of a corpus that is given by `--manifest` alone."""
    name_of: Callable[[Path, ReaderOptions], str] | None = None
    """The name that its manifest has, by its root, where one reader reads several corpora; None means `name`.

    Raises UsageError where the root and the options do not say which corpus it is.
    """
    groups: tuple[str, ...] = ()
    """All sessions of the release, or all speakers where it has no sessions."""

    def missing_groups(self, manifest: Manifest) -> list[str]:
        """The groups without any utterance, as when a release was unpacked or copied only partly."""
        present = {group for u in manifest.utterances for group in (u.session, u.speaker)}
        return [group for group in self.groups if group not in present]


def corpus_root(corpus: Corpus, given: Path | None) -> Path:
    """The folder of a corpus: the given one, else `$EMOFUSE_CORPORA/NAME`, else `corpora/NAME`.

    Raises:
        UsageError: The folder is missing; names all three places and the page of the corpus.
    """
    name, base = corpus.name, os.environ.get(CORPORA_VARIABLE)
    root = given or (Path(base) / name if base else Path("corpora") / name)
    if root.is_dir():
        return root
    mistake = "is a file, not a folder" if root.exists() else "does not exist"
    variable = f"${CORPORA_VARIABLE}/{name} ({base + '/' + name if base else 'not set'})"
    raise UsageError(
        f"corpus {name}: {'--root ' if given else ''}{root} {mistake}. The first of these that is set is read: "
        f"--root ({given or 'not given'}), {variable}, corpora/{name}. Get the corpus: {corpus.page}"
    )


def folder_listing(root: Path, limit: int = 8) -> str:
    """The first names in a folder, for an error message."""
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in root.iterdir() if not p.name.startswith("."))
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "") or "nothing"


def wav_files(root: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """Every wav file below `root`, folder by folder in order; links are followed, hidden files and folders ignored."""
    entries = sorted(p for p in root.iterdir() if not p.name.startswith("."))
    yield from (p for p in entries if p.suffix.lower() == ".wav" and p.is_file())
    if depth > 0:
        for folder in entries:
            if folder.is_dir():
                yield from wav_files(folder, depth - 1)


def clips_by_id(root: Path, id_of: Callable[[Path], str | None], title: str) -> tuple[dict[str, Path], list[Excluded]]:
    """The wav files of a corpus whose file names are its annotation; one file per id, in the order of ids.

    Args:
        root: The folder of the corpus.
        id_of: The id of a clip by its path; None for a file that is not a clip of the corpus.
        title: What the corpus is called in the reason of such a file.

    Returns:
        The files by id, and what is excluded: further files of an id, and files that are not clips.
    """
    candidates = [(id_of(path), path) for path in wav_files(root)]
    clips: dict[str, Path] = {}
    copies = []
    named = [(key, path) for key, path in candidates if key]
    # The shallowest file first: some circulating archives of RAVDESS and SAVEE contain every clip twice.
    for key, path in sorted(named, key=lambda item: (item[0], len(item[1].parts), item[1])):
        if clips.setdefault(key, path) != path:
            copies.append(Excluded(id=relative_path(path, root), reason="a second file of a clip"))
    others = [path for key, path in candidates if not key]
    reason = f"not named as a clip of {title}"
    return clips, copies + [Excluded(id=relative_path(path, root), reason=reason) for path in others]


def relative_path(path: Path, root: Path) -> str:
    """The path as an utterance stores it: relative to the corpus root, with forward slashes."""
    return path.relative_to(root).as_posix()


def build_manifest(
    corpus: str,
    reader: str,
    root: Path,
    utterances: Iterable[Utterance],
    excluded: Iterable[Excluded] = (),
    reasons: Mapping[str, str] | None = None,
    notes: Iterable[str] = (),
) -> Manifest:
    """The manifest of what a reader found; a missing audio file is listed as excluded, with the reason.

    An utterance without its audio stays if it has a text. A file is also found under a name in another Unicode form,
    case, or with other slashes.

    Args:
        corpus: Name of the corpus.
        reader: The reader and its version, for example `iemocap-1`.
        root: The folder that audio paths are relative to.
        utterances: What was read, in a fixed order.
        excluded: What the reader left out.
        reasons: Why an audio file is known to be missing, by utterance id.
        notes: What else the reader found.

    Raises:
        UsageError: No utterance is left.
    """
    left_out = list(excluded)
    kept = []
    finder = AudioFinder(root)
    for u in utterances:
        found = None if u.audio is None else finder.find(u.audio)
        if u.audio is None or found is not None:
            kept.append(u if found == u.audio else replace(u, audio=found))
            continue
        reason = (reasons or {}).get(u.id) or missing_audio_reason(u.audio, finder.near(u.audio))
        left_out.append(Excluded(id=u.id, reason=reason, modality="audio"))
        if u.text is not None:
            kept.append(replace(u, audio=None))
    if not kept:
        example = f"; {len(left_out)} excluded, such as {left_out[0].id}: {left_out[0].reason}" if left_out else ""
        raise UsageError(f"{root} has no usable utterance of corpus {corpus}{example}")
    return Manifest(
        corpus=corpus,
        reader=reader,
        utterances=tuple(kept),
        excluded=tuple(left_out),
        notes=(*notes, *_respelled_note(finder.respelled)),
    )


def _respelled_note(respelled: Mapping[str, str]) -> list[str]:
    if not respelled:
        return []
    count = plural(len(respelled), "audio file")
    example, found = next(iter(respelled.items()))
    return [f"{count} found under a name in another case, Unicode form or slash: {example!a} is {found!a}"]
