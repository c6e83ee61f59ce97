"""`extract --transcribe`: transcribes every utterance without a text, and marks its text as recognised.

The corpus's own texts are never changed. Texts recognised by an earlier call are taken from the store as long as the
audio is the same; while recognition runs, its texts are kept line by line in a file beside the store.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TextIO

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.output.progress import Progress
from emofuse.datasets.registry import CORPORA
from emofuse.extract.asr.recogniser import DETECTED, Recognised, Recogniser, load_recogniser
from emofuse.extract.audio.channels import MIXES, Channel
from emofuse.extract.audio.clips import AudioError, load
from emofuse.manifests.schema import ASR, Excluded, Manifest, Utterance, copy_text
from emofuse.store import FeatureStore
from emofuse.store.core.spec import TRANSCRIPTS_SUFFIX

_NOT_KEPT = " (not kept: "
BATCH_SIZE = 8
"""Clips that are loaded, transcribed and written to the side file together."""


@dataclass(slots=True, kw_only=True)
class Transcripts:
    """The recognised texts of a corpus: those that the store has, and the recogniser for the missing ones."""

    store: Path
    stored: Mapping[str, Utterance] = field(default_factory=dict)
    """Utterance id -> its row in the store, where that has a recognised text; with a recogniser also rows with a text
    of the corpus's own that the corpus no longer has."""
    wordless: Mapping[str, str] = field(default_factory=dict)
    """Audio digest -> why the store has no text of it."""
    recogniser: Recogniser | None = None
    channel: Channel = "mean"
    """What the recogniser hears of several channels."""

    @property
    def source(self) -> str | None:
        """The recogniser of this call's texts, or several after a merge; None where all are the corpus's own."""
        if self.recogniser:
            of_channel = "" if self.channel == "mean" else f"{MIXES[self.channel]} by "
            return of_channel + self.recogniser.source
        stored = {_without_language(str(u.text_source)) for u in self.stored.values() if u.text_kind == ASR}
        return " and ".join(sorted(stored)) or None

    @property
    def side_file(self) -> Path:
        """Where recognised texts are kept until the store has them."""
        return self.store.with_name(self.store.name + TRANSCRIPTS_SUFFIX)

    def with_stored_texts(self, manifest: Manifest) -> Manifest:
        """A scanned manifest with the store's texts of the same audio, by the same recogniser if there is one."""
        usable = {
            id: u
            for id, u in self.stored.items()
            # A text for which the store keeps only a digest cannot be encoded: it is transcribed again.
            if not self.recogniser
            or u.text_kind != ASR
            or (_without_language(u.text_source or "") == self.source and u.text is not None)
        }
        rows = (copy_text(u, usable[u.id]) if u.id in usable else u for u in manifest.utterances)
        return replace(manifest, utterances=tuple(rows))

    def without_text(self, manifest: Manifest) -> list[Utterance]:
        """The utterances that have audio and no text."""
        return [u for u in manifest.utterances if u.audio is not None and _has_no_text(u)]

    def withheld(self, manifest: Manifest) -> list[Excluded]:
        """The recognised texts for which the store keeps only a digest: no text encoder can read them."""
        reason = "text: the store keeps only a digest of the recognised text; --transcribe restores it"
        return [
            Excluded(id=u.id, reason=reason, modality="text")
            for u in manifest.utterances
            if u.text_kind == ASR and u.text is None
        ]

    def transcribe(self, manifest: Manifest, root: Path, quiet: bool) -> tuple[Manifest, list[Excluded], int]:
        """The manifest with a text for each utterance in which words were recognised.

        Returns:
            The manifest without the utterances without recognised words, those utterances, and how many this call
            transcribed.

        Raises:
            UsageError: A clip can no longer be read, or the side file cannot be written.
        """
        assert self.recogniser is not None
        missing, reason = self.without_text(manifest), f"text: no words were recognised by {self.source}"
        self.side_file.parent.mkdir(parents=True, exist_ok=True)
        busy = f"another process is transcribing for {self.store} ({{holder}}); wait for it or stop it"
        with lock(self.side_file.with_name(self.side_file.name + ".lock"), busy):
            known = {
                digest: Recognised(text="", doubt=why.removeprefix(reason).removeprefix(_NOT_KEPT).removesuffix(")"))
                for digest, why in self.wordless.items()
                if why == reason or why.startswith(reason + _NOT_KEPT)
            }
            by_digest, count = self._transcribe_missing(missing, known | self._noted_texts(), root, quiet)
        found = {u.id: by_digest[str(u.audio_digest)] for u in missing}
        wordless = [
            Excluded(id=id, reason=reason + (f"{_NOT_KEPT}{one.doubt})" if one.doubt else ""), modality="text")
            for id, one in found.items()
            if not one.text
        ]
        rows = (
            replace(u, text=one.text, text_kind=ASR, text_source=self._source_of(one))
            if (one := found.get(u.id)) and one.text
            else u
            for u in manifest.utterances
        )
        return replace(manifest, utterances=tuple(rows)).excluding(wordless), wordless, count

    def _source_of(self, recognised: Recognised) -> str:
        """The recogniser, and the language where it was detected."""
        return f"{self.source}: {recognised.language}" if recognised.language else str(self.source)

    def _transcribe_missing(
        self, missing: list[Utterance], known: dict[str, Recognised], root: Path, quiet: bool
    ) -> tuple[dict[str, Recognised], int]:
        """Audio digest -> what was recognised in all `missing` utterances, and how many of them were not `known`."""
        # Clips of similar length together; the longest first, which shows at once whether memory suffices.
        todo = sorted((u for u in missing if u.audio_digest not in known), key=lambda u: -(u.seconds or 0.0))
        texts = dict(known)
        if not todo:
            return texts, 0
        _end_last_line(self.side_file)
        done = len(missing) - len(todo)
        with (
            self.side_file.open("a", encoding="utf-8") as side,
            Progress(len(missing), "transcribing", "utterances", done=done, quiet=quiet) as progress,
        ):
            for first in range(0, len(todo), BATCH_SIZE):
                batch = todo[first : first + BATCH_SIZE]
                for utterance, recognised in zip(batch, self._recognise(batch, root), strict=True):
                    texts[str(utterance.audio_digest)] = recognised
                    self._note(side, str(utterance.audio_digest), recognised)
                progress.advance(len(batch))
        return texts, len(todo)

    def _recognise(self, utterances: list[Utterance], root: Path) -> list[Recognised]:
        assert self.recogniser is not None
        waveforms = []
        for u in utterances:
            assert u.audio is not None
            try:
                waveforms.append(load(root / u.audio, self.recogniser.sample_rate, u.start, u.end, self.channel))
            except AudioError as error:
                raise UsageError(f"{root / u.audio} {error}, though it could be read a moment ago") from None
        return self.recogniser.transcribe(waveforms)

    def _note(self, side: TextIO, digest: str, recognised: Recognised) -> None:
        record = {"source": self.source, "audio": digest, **asdict(recognised)}
        side.write(json.dumps(record, ensure_ascii=False) + "\n")
        side.flush()

    def _noted_texts(self) -> dict[str, Recognised]:
        """Audio digest -> what was recognised, from the side file of an interrupted call with the same recogniser."""
        if not self.side_file.is_file():
            return {}
        texts = {}
        for line in self.side_file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                same_source, digest = record["source"] == self.source, record["audio"]
                recognised = Recognised(text=record["text"], language=record["language"], doubt=record["doubt"])
            except (ValueError, TypeError, KeyError):
                continue  # an incomplete line: the call was killed while it wrote it
            if same_source:
                texts[str(digest)] = recognised
        return texts

    def delete_side_file(self) -> None:
        """Call it once the store has every recognised text."""
        if self.recogniser:
            self.side_file.unlink(missing_ok=True)


def _end_last_line(path: Path) -> None:
    """End the line that a killed call left incomplete, so that the next text starts on a new line."""
    if path.is_file() and not path.read_bytes().endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def _without_language(text_source: str) -> str:
    """A text's source without the language that was detected for it."""
    return re.sub(f"(?<={DETECTED}): [a-z]{{2,3}}$", "", text_source)


def without_blank_texts(manifest: Manifest) -> Manifest:
    """The manifest in which a blank text counts as missing, where there is audio to transcribe."""
    blank = {u.id for u in manifest.utterances if u.audio and u.text is not None and not u.text.strip()}
    rows = (replace(u, text=None) if u.id in blank else u for u in manifest.utterances)
    return replace(manifest, utterances=tuple(rows)) if blank else manifest


def _has_no_text(utterance: Utterance) -> bool:
    return utterance.text is None and utterance.text_digest is None


def prepare_transcripts(
    store: Path,
    model: str | None,
    manifest: Manifest,
    device: str,
    language: str | None = None,
    channel: Channel = "mean",
) -> Transcripts:
    """The recognised texts of the store, and the recogniser if one is needed; before any clip is scanned.

    Args:
        store: Where the texts go; it need not exist yet.
        model: `--transcribe`, if given; loaded only where an utterance has no text of the corpus's own.
        manifest: The corpus as it was read, `without_blank_texts`.
        device: Where the recogniser computes.
        language: `--language`, if given; else that of the corpus, where it is known.
        channel: What is recognised of several channels.

    Raises:
        UsageError: The corpus has no audio to transcribe, the model is missing or is not a speech recogniser, or it
            does not know the language.
        DataError: Damaged weights, or a damaged store.
    """
    transcripts = Transcripts(store=store, channel=channel)
    if store.is_file():
        with FeatureStore(store) as opened:
            with_own_text = {u.id for u in manifest.utterances if not _has_no_text(u)}
            rows = [u for u in opened.manifest.utterances if u.id not in with_own_text]
            kept = [u for u in rows if u.text_kind == ASR or (model is not None and not _has_no_text(u))]
            reasons = {e.id: e.reason for e in opened.manifest.excluded if e.modality == "text"}
            transcripts.stored = {u.id: u for u in kept}
            transcripts.wordless = {u.audio_digest: reasons[u.id] for u in rows if u.audio_digest and u.id in reasons}
    if model is not None and not manifest.has("audio"):
        raise UsageError(f"--transcribe {model}: {manifest.corpus} has no audio here to transcribe")
    if model is not None and transcripts.without_text(manifest):
        usual = CORPORA[manifest.corpus].language if manifest.corpus in CORPORA else None
        transcripts.recogniser = load_recogniser(model, device, language, usual)
    return transcripts
