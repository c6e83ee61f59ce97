"""The recordings of a run's utterances: links from the page to the files, or short clips inside the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from emofuse.common.output.console import plural, printable
from emofuse.common.page.links import relative_link
from emofuse.common.problems import Problems
from emofuse.manifests.schema import Utterance
from emofuse.train.runs.run_stores import CorpusUtterance


class Clips(Protocol):
    """What puts clips into the page itself."""

    def clip(self, path: Path, utterance: Utterance) -> str | None:
        """The part of a recording that an utterance is, as `data:audio/...`; None where it stays a link."""

    @property
    def remarks(self) -> list[str]:
        """Which clips are not in the page, and why."""


class Recordings:
    """Where the recordings of utterances are.

    Args:
        utterances: The run's id -> the utterance.
        roots: Corpus -> the folder that its audio paths are relative to.
        page_folder: The folder of the page.
        embedding: What puts clips into the page; None makes links.
    """

    def __init__(
        self,
        utterances: Mapping[str, CorpusUtterance],
        roots: Mapping[str, Path],
        page_folder: Path,
        embedding: Clips | None = None,
    ) -> None:
        self._utterances, self._roots, self._embedding = utterances, roots, embedding
        self._page_folder = page_folder
        self._missing: dict[str, Path] = {}

    def file(self, id: str) -> tuple[Path, Utterance] | None:
        """The file that an utterance is in, and the utterance; None, and noted as missing, where there is no file."""
        found = self._utterances.get(id)
        if found is None or found.utterance.audio is None or found.corpus not in self._roots:
            return None
        path = self._roots[found.corpus] / PurePosixPath(found.utterance.audio)
        if not path.is_file():
            self._missing[found.utterance.audio] = self._roots[found.corpus]
            return None
        return path, found.utterance

    def sound(self, id: str) -> str | None:
        """What a player on the page loads: a relative link, or `data:audio/...`; None where there is no recording."""
        found = self.file(id)
        if found is None:
            return None
        path, utterance = found
        clip = self._embedding.clip(path, utterance) if self._embedding is not None else None
        return clip or recording_link(path, self._page_folder, utterance)

    @property
    def remarks(self) -> list[str]:
        """What was asked for and is not there, one sentence each."""
        remarks = list(self._embedding.remarks) if self._embedding is not None else []
        known = {found.corpus for found in self._utterances.values()}
        spoken = {found.corpus for found in self._utterances.values() if found.utterance.audio is not None}
        remarks += [_without_effect(corpus, corpus in known) for corpus in self._roots if corpus not in spoken]
        if self._missing:
            first, root = next(iter(self._missing.items()))
            count = plural(len(self._missing), "recording")
            verb = "is" if len(self._missing) == 1 else "are"
            remarks.append(f"{count} {verb} not below {root}, such as {printable(first)}")
        return remarks


def _without_effect(corpus: str, known: bool) -> str:
    """Why no recording of a corpus is found, whatever its folder holds."""
    if known:
        return f"--audio-root has no effect: the store of {corpus} names no recordings"
    return (
        f"--audio-root has no effect: the store of {corpus}, which names the recording of each utterance, was not "
        "found; name it with --store"
    )


def recording_link(file: Path, page_folder: Path, utterance: Utterance) -> str | None:
    """The relative URL of the part of a recording that an utterance is."""
    url, start, end = relative_link(file, page_folder), utterance.start, utterance.end
    if url is None or (start is None and end is None):
        return url
    return f"{url}#t={start or 0:g}" + (f",{end:g}" if end is not None else "")


def audio_roots(given: Sequence[str], corpora: Sequence[str]) -> dict[str, Path]:
    """Corpus -> the folder of its recordings, from `FOLDER` and `CORPUS=FOLDER`.

    Raises:
        UsageError: A folder does not exist, or two folders are named for one corpus; lists each of them.
    """
    problems, roots = Problems(), dict[str, Path]()
    for text in given:
        prefix, equals, rest = text.partition("=")
        named = bool(equals) and prefix in corpora
        folder = Path(rest if named else text).expanduser()
        if not folder.is_dir():
            problems.add(
                f"--audio-root {text}: {folder} is not a folder; pass the folder that `extract` read with --root"
            )
            continue
        for corpus in [prefix] if named else corpora:
            if corpus in roots:
                problems.add(f"--audio-root names two folders for {corpus}: {roots[corpus]} and {folder}")
            roots.setdefault(corpus, folder)
    problems.raise_all()
    return roots
