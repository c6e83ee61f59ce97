"""`extract --transcribe`: a text for every utterance that has none, from a speech recogniser, and marked as such.

A text of the corpus's own is never touched. What was recognised before stands in the store and is taken from there, for
as long as the audio is the same; while recognition goes on, it lies line by line beside the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.progress import Progress
from emofuse.extract.corpus.audio import AudioError, load
from emofuse.manifests.schema import ASR, Excluded, Manifest, Utterance, with_text_of
from emofuse.store import FeatureStore
from emofuse.store.core.spec import TRANSCRIPTS

if TYPE_CHECKING:
    from emofuse.extract.asr.recogniser import Recogniser

AT_ONCE = 8


@dataclass(slots=True, kw_only=True)
class Transcripts:
    """The texts of a corpus that a recogniser wrote, and those that it still has to."""

    store: Path
    held: Mapping[str, Utterance] = field(default_factory=dict)
    """By id, what the store has of them; with a recogniser also what people wrote and the corpus no longer brings."""
    silent: Mapping[str, str] = field(default_factory=dict)
    """Audio digest -> why the store has no text of it."""
    recogniser: Recogniser | None = None

    @property
    def source(self) -> str | None:
        """What the texts of this call come from; several where stores were merged; none: all are the corpus's own."""
        if self.recogniser:
            return self.recogniser.source
        return " and ".join(sorted({str(u.text_source) for u in self.held.values() if u.text_kind == ASR})) or None

    @property
    def side_file(self) -> Path:
        """Where texts lie until the store has them."""
        return self.store.with_name(self.store.name + TRANSCRIPTS)

    def known(self, manifest: Manifest) -> Manifest:
        """A surveyed manifest with the texts that the store has of the same audio, by the same recogniser if any."""
        usable = {
            i: u
            for i, u in self.held.items()
            # Of a text that was left out, nothing can be encoded: it is recognised again.
            if not self.recogniser or u.text_kind != ASR or (u.text_source == self.source and u.text is not None)
        }
        found = (with_text_of(u, usable[u.id]) if u.id in usable else u for u in manifest.utterances)
        return replace(manifest, utterances=tuple(found))

    def lacking(self, manifest: Manifest) -> list[Utterance]:
        """The utterances that have audio and no text."""
        return [u for u in manifest.utterances if u.audio is not None and _textless(u)]

    def left_out(self, manifest: Manifest) -> list[Excluded]:
        """The recognised texts that only their digests stand for in the store: a text encoder cannot have them."""
        why = "text: the recognised text was left out of the store; --transcribe recognises it again"
        return [
            Excluded(id=u.id, reason=why, modality="text")
            for u in manifest.utterances
            if u.text_kind == ASR and u.text is None
        ]

    def fill(self, manifest: Manifest, root: Path, quiet: bool) -> tuple[Manifest, list[Excluded], int]:
        """The manifest with a text for each utterance in which words are heard.

        Returns:
            The manifest, where what was silent is excluded; that list; and how many texts were written anew.

        Raises:
            UsageError: The clip cannot be read any more, or no place for the side file.
        """
        assert self.recogniser is not None
        todo, reason = self.lacking(manifest), f"text: no words were recognised by {self.source}"
        self.side_file.parent.mkdir(parents=True, exist_ok=True)
        refusal = f"another process is transcribing for {self.store} ({{holder}}); wait for it or stop it"
        with lock(self.side_file.with_name(self.side_file.name + ".lock"), refusal):
            known = {digest: "" for digest, why in self.silent.items() if why == reason}
            texts, written = self._recognised(todo, known | self._begun(), root, quiet)
        heard = {u.id: texts[str(u.audio_digest)] for u in todo}
        silent = [Excluded(id=i, reason=reason, modality="text") for i in heard if not heard[i]]
        filled = (
            replace(u, text=heard[u.id], text_kind=ASR, text_source=self.source) if heard.get(u.id) else u
            for u in manifest.utterances
        )
        return replace(manifest, utterances=tuple(filled)).excluding(silent), silent, written

    def _recognised(
        self, todo: list[Utterance], texts: dict[str, str], root: Path, quiet: bool
    ) -> tuple[dict[str, str], int]:
        """Audio digest -> text of all that is to be done, `texts` of which are known; and how many were not."""
        # Of like length together; the longest first shows soonest whether memory suffices.
        left = sorted((u for u in todo if u.audio_digest not in texts), key=lambda u: -(u.seconds or 0.0))
        if not left:
            return texts, 0
        _end_line(self.side_file)
        with (
            self.side_file.open("a", encoding="utf-8") as side,
            Progress(len(todo), "transcribing", "utterances", done=len(todo) - len(left), quiet=quiet) as progress,
        ):
            for first in range(0, len(left), AT_ONCE):
                some = left[first : first + AT_ONCE]
                for utterance, words in zip(some, self._hear(some, root), strict=True):
                    texts[str(utterance.audio_digest)] = words
                    self._note(side, str(utterance.audio_digest), words)
                progress.advance(len(some))
        return texts, len(left)

    def _hear(self, utterances: list[Utterance], root: Path) -> list[str]:
        assert self.recogniser is not None
        waveforms = []
        for u in utterances:
            assert u.audio is not None
            try:
                waveforms.append(load(root / u.audio, self.recogniser.sample_rate, u.start, u.end))
            except AudioError as error:
                raise UsageError(f"{root / u.audio} {error}, though it could be read a moment ago") from None
        return self.recogniser.transcribe(waveforms)

    def _note(self, side: TextIO, digest: str, words: str) -> None:
        side.write(json.dumps({"source": self.source, "audio": digest, "text": words}, ensure_ascii=False) + "\n")
        side.flush()

    def _begun(self) -> dict[str, str]:
        """Audio digest -> text, of an earlier call with the same recogniser that did not come to its end."""
        if not self.side_file.is_file():
            return {}
        found = {}
        for line in self.side_file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
                same, digest, words = row["source"] == self.source, row["audio"], row["text"]
            except (ValueError, TypeError, KeyError):
                continue  # the line that was being written when the call was killed
            if same:
                found[str(digest)] = str(words)
        return found

    def finish(self) -> None:
        """The store has every text: nothing lies beside it any more."""
        if self.recogniser:
            self.side_file.unlink(missing_ok=True)


def _end_line(path: Path) -> None:
    """End the line that was being written when a call was killed, so that the next one begins anew."""
    if path.is_file() and not path.read_bytes().endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def without_blanks(manifest: Manifest) -> Manifest:
    """A corpus's manifest in which a blank text counts as none, where there is audio to be recognised instead."""
    blank = {u.id for u in manifest.utterances if u.audio and u.text is not None and not u.text.strip()}
    kept = (replace(u, text=None) if u.id in blank else u for u in manifest.utterances)
    return replace(manifest, utterances=tuple(kept)) if blank else manifest


def _textless(utterance: Utterance) -> bool:
    return utterance.text is None and utterance.text_digest is None


def transcripts(store: Path, model: str | None, manifest: Manifest, device: str) -> Transcripts:
    """What a call of `extract` has to do with recognised texts, before any clip is looked at.

    Args:
        model: `--transcribe`, if given; loaded only where an utterance has no text of the corpus's own.
        manifest: As the corpus was read, `without_blanks`.

    Raises:
        UsageError: The corpus has no audio to recognise, or the model cannot be had or used.
        DataError: Damaged weights, or a damaged store.
    """
    found = Transcripts(store=store)
    if store.is_file():
        with FeatureStore(store) as there:
            own = {u.id for u in manifest.utterances if not _textless(u)}
            rows = [u for u in there.manifest.utterances if u.id not in own]
            found.held = {u.id: u for u in rows if u.text_kind == ASR or (model is not None and not _textless(u))}
            why = {e.id: e.reason for e in there.manifest.excluded if e.modality == "text"}
            found.silent = {u.audio_digest: why[u.id] for u in rows if u.audio_digest and u.id in why}
    if model is not None and not manifest.has("audio"):
        raise UsageError(f"--transcribe {model}: {manifest.corpus} has no audio here that could be recognised")
    if model is not None and found.lacking(manifest):
        from emofuse.extract.asr.recogniser import load as load_recogniser

        found.recogniser = load_recogniser(model, device)
    return found
