"""Utterances and manifests: the result of a corpus reader, kept in every store (as a file: `manifests/jsonl.py`).

Every item that is left out of a corpus is listed with its reason.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import PureWindowsPath
from typing import Any, Literal

import xxhash

from emofuse.common.errors import raise_problems

Modality = Literal["audio", "text"]
"""What an encoder reads and a feature is computed from."""
ASR = "asr"
"""The `text_kind` of a text written by a speech recogniser."""
SILENT = "silent"
"""The key of `Utterance.extra` that says why a clip has no sound: `no sound`, or `channels cancel` in their mean."""
WITHDRAWN = "withdrawn"
"""The reason of an utterance whose speaker withdrew consent; reading the corpus again does not restore it."""
NEAR_NAME = "; there is "
TEXT_FIELDS = ("text_digest", "sentence_digest", "text_kind", "text_source")
"""The fields that describe the text of an utterance; removed together with it."""
Extra = Mapping[str, str | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One utterance of a corpus."""

    id: str
    """Unique in the corpus."""
    audio: str | None = None
    """Path of the audio file, relative to the corpus root, with forward slashes."""
    start: float | None = None
    """Start in the file, in seconds; None means its beginning."""
    end: float | None = None
    """End in the file, in seconds; None means its end."""
    seconds: float | None = None
    """Length in seconds, known once the audio was scanned."""
    audio_digest: str | None = None
    """xxh3-128 of the audio file's bytes, start and end, known once the audio was scanned."""
    text: str | None = None
    """The transcript."""
    text_digest: str | None = None
    """xxh3-128 of the text, where the text itself was left out (`--no-text`)."""
    sentence_digest: str | None = None
    """xxh3-128 of `sentence`, where the text was left out."""
    text_kind: str | None = None
    """`asr` where a speech recogniser wrote the text; None means the corpus's own text."""
    text_source: str | None = None
    """The recogniser: its model, revision and weights."""
    label: str | None = None
    """The corpus's own label."""
    speaker: str | None = None
    """For IEMOCAP the session and the last letter of the utterance id, not the prefix of the recording."""
    session: str | None = None
    dialogue: str | None = None
    turn: int | None = None
    split: str | None = None
    """The official split: train, dev or test."""
    extra: Extra = field(default_factory=dict)
    """Further annotation: valence, arousal, dominance, sentiment, intensity, ..."""

    @property
    def sentence(self) -> str | None:
        """The words of the text in lower case without punctuation (or their digest): equal for equal sentences."""
        words = "".join(c if c.isalnum() else " " for c in (self.text or "").casefold())
        return " ".join(words.split()) or self.sentence_digest


def text_digest(text: str) -> str:
    """xxh3-128 of a text's UTF-8 bytes."""
    return xxhash.xxh3_128_hexdigest(text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """An item of the corpus, or one modality of it, that is not used, and the reason."""

    id: str
    reason: str
    modality: str | None = None
    """The unusable modality, `audio` or `text`: the utterance stays if it has the other. None means the whole item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The utterances of a corpus in the fixed order of its reader, and what was excluded.

    Raises:
        UsageError: An utterance is invalid; lists every problem.
    """

    corpus: str
    reader: str
    """The reader and its version, for example `iemocap-1`."""
    utterances: tuple[Utterance, ...]
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What the reader found that its user should know; not stored."""

    def __post_init__(self) -> None:
        raise_problems(utterance_problems(self.utterances), f"the manifest of {self.corpus} cannot be used")

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def ids(self) -> list[str]:
        """The utterance ids, in order."""
        return [u.id for u in self.utterances]

    @property
    def hours(self) -> float:
        """Hours of audio of the utterances whose length is known."""
        return sum(u.seconds or 0.0 for u in self.utterances) / 3600

    def has(self, modality: str) -> bool:
        """Whether any utterance has `modality` (audio or text); a text that was left out counts."""
        return any(getattr(u, modality) is not None for u in self.utterances) or (
            modality == "text" and self.withholds_text
        )

    def digest(self) -> str:
        """32 hex digits that change with any utterance, independent of the order of keys in a file."""
        state = xxhash.xxh3_128(self.corpus.encode())
        for u in self.utterances:
            state.update(json_line(to_record(u)).encode())
        return state.hexdigest()

    def counts(self, attribute: str) -> dict[str, int]:
        """The number of utterances for each value of an attribute (label, session, speaker, split, ...)."""
        values = Counter(getattr(u, attribute) for u in self.utterances)
        return {str(k): n for k, n in sorted(values.items(), key=lambda item: str(item[0])) if k is not None}

    def excluding(self, more: Iterable[Excluded]) -> Manifest:
        """The manifest without the items of `more`, which are added to its excluded list.

        An item excluded in one modality stays if it has the other one.
        """
        dropped = {(e.id, e.modality): e for e in more}
        kept = []
        for u in self.utterances:
            cleared: dict[str, Any] = {m: None for m in ("audio", "text") if (u.id, m) in dropped}
            if "text" in cleared:
                cleared |= dict.fromkeys(TEXT_FIELDS)
            rest = replace(u, **cleared) if cleared else u
            if (u.id, None) not in dropped and (rest.audio, rest.text, rest.text_digest) != (None, None, None):
                kept.append(rest)
        earlier = [e for e in self.excluded if (e.id, e.modality) not in dropped]
        return replace(self, utterances=tuple(kept), excluded=(*earlier, *dropped.values()))

    def merged_into(self, older: Manifest | None) -> Manifest:
        """The union with an older manifest: rows of this one win, except scan results that only the older one has.

        A corpus that was read in part keeps the older order. Withdrawn utterances stay out.
        """
        if older is None:
            return self
        withdrawn = {e.id for e in older.excluded if e.reason == WITHDRAWN}
        known = {u.id: u for u in older.utterances}
        audio_excluded_before = {e.id for e in older.excluded if e.modality == "audio"}
        audio_excluded_now = {e.id: e.reason for e in self.excluded if e.modality == "audio"}
        fresh = {}
        for u in self.utterances:
            if u.id not in withdrawn:
                present = _keep_missing_audio(u, known.get(u.id), audio_excluded_now.get(u.id))
                fresh[u.id] = _keep_scan(present, known.get(u.id), u.id in audio_excluded_before)
        complete = set(known) <= set(fresh)
        order = [*fresh] if complete else [*known, *(i for i in fresh if i not in known)]
        utterances = {i: fresh.get(i) or known[i] for i in order}
        excluded = {(e.id, e.modality): e for e in (*older.excluded, *self.excluded)}
        still_excluded = [e for e in excluded.values() if _is_excluded(e, utterances.get(e.id))]
        merged = replace(self, utterances=tuple(utterances.values()), excluded=tuple(still_excluded))
        return merged.without_text() if older.withholds_text or self.withholds_text else merged

    @property
    def withholds_text(self) -> bool:
        """Whether texts were left out and replaced by digests."""
        return any(u.text_digest is not None for u in self.utterances)

    def without_text(self) -> Manifest:
        """The manifest with a digest in place of every text."""
        return replace(self, utterances=tuple(_withhold_text(u) for u in self.utterances))

    def sample(self, limit: int) -> Manifest:
        """At most `limit` utterances, evenly spaced in the order of the manifest."""
        n = len(self.utterances)
        if limit >= n:
            return self
        return replace(self, utterances=tuple(self.utterances[i * n // limit] for i in range(limit)))


def _withhold_text(utterance: Utterance) -> Utterance:
    if utterance.text is None:
        return utterance
    sentence_digest = None if utterance.sentence is None else text_digest(utterance.sentence)
    return replace(utterance, text=None, text_digest=text_digest(utterance.text), sentence_digest=sentence_digest)


def _keep_missing_audio(fresh: Utterance, older: Utterance | None, excluded: str | None) -> Utterance:
    """`fresh` with the scanned audio of `older` where only the file is missing now, as on an unmounted disk.

    Args:
        fresh: As read now.
        older: As read before.
        excluded: The reason why its audio is excluded now.
    """
    if older is None or older.audio_digest is None or fresh.audio is not None:
        return fresh
    missing = missing_audio_reason(older.audio)
    if (excluded or "").partition(NEAR_NAME)[0] != missing or (fresh.start, fresh.end) != (older.start, older.end):
        return fresh
    return replace(fresh, audio=older.audio, seconds=older.seconds, audio_digest=older.audio_digest)


def missing_audio_reason(audio: str | None, near: str | None = None) -> str:
    """The reason of an utterance whose audio file does not exist, with the most similar path."""
    return f"no audio file {audio}" + (f"{NEAR_NAME}{near}" if near else "")


def _keep_scan(fresh: Utterance, older: Utterance | None, audio_excluded: bool) -> Utterance:
    """`fresh` with the scan results and the recognised text of `older`, where it has none itself.

    Args:
        fresh: As read now.
        older: As read before.
        audio_excluded: Whether its audio was excluded before.
    """
    if older is None:
        return fresh
    if older.text_kind == ASR:
        fresh = copy_text(fresh, older)
    if fresh.audio_digest is not None:
        return fresh
    if older.audio == fresh.audio:
        mark = {SILENT: older.extra[SILENT]} if SILENT in older.extra else {}
        return replace(fresh, seconds=older.seconds, audio_digest=older.audio_digest, extra={**mark, **fresh.extra})
    has_text = fresh.text is not None or fresh.text_digest is not None
    return replace(fresh, audio=None) if audio_excluded and older.audio is None and has_text else fresh


def copy_text(fresh: Utterance, older: Utterance) -> Utterance:
    """`fresh` with the text of `older`, where it has none and both have the same audio."""
    textless = fresh.text is None and fresh.text_digest is None
    same_audio = fresh.audio == older.audio and fresh.audio_digest in (None, older.audio_digest)
    if not textless or not same_audio or fresh.audio is None:
        return fresh
    return replace(fresh, text=older.text, **{name: getattr(older, name) for name in TEXT_FIELDS})


def _is_excluded(item: Excluded, utterance: Utterance | None) -> bool:
    """Whether an exclusion still holds for the merged utterance of its id."""
    if utterance is None:
        return True
    return item.modality is not None and getattr(utterance, item.modality) is None


def utterance_problems(utterances: Iterable[Utterance]) -> list[str]:
    """What is wrong with the utterances of one manifest, one line each."""
    problems = []
    seen: set[str] = set()
    for u in utterances:
        if not u.id or not u.id.isprintable():
            problems.append(f"utterance id {u.id!r} is empty or has control characters")
        if u.id in seen:
            problems.append(f"utterance id {u.id!r} occurs twice")
        seen.add(u.id)
        if u.audio is not None and _leaves_folder(u.audio):
            problems.append(f"{u.id}: audio path {u.audio!r} leaves the corpus root; paths are relative to it")
        times = [t for t in (u.start, u.end, u.seconds) if t is not None]
        if any(not math.isfinite(t) or t < 0 for t in times):
            problems.append(f"{u.id}: start, end and seconds must be finite and not negative, got {times}")
        if u.start is not None and u.end is not None and u.end < u.start:
            problems.append(f"{u.id}: ends at {u.end} s before it starts at {u.start} s")
        if u.audio is None and u.text is None and u.text_digest is None:
            problems.append(f"{u.id}: has neither audio nor text")
    return problems


def _leaves_folder(path: str) -> bool:
    """Whether a relative path would lead out of its folder on any operating system, or is not a path at all."""
    parsed = PureWindowsPath(path)  # understands both kinds of slashes
    return bool(parsed.anchor) or ".." in parsed.parts or "\0" in path


def to_record(item: Utterance | Excluded) -> dict[str, Any]:
    """The fields of an item as JSON-ready values, without those that are None or empty."""
    values = ((f.name, getattr(item, f.name)) for f in fields(item))
    return {k: dict(v) if k == "extra" else v for k, v in values if v is not None and v != {}}


def json_line(record: Mapping[str, Any]) -> str:
    """One line of JSON with sorted keys."""
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
