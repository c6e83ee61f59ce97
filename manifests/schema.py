"""Utterances and manifests: what a corpus reader yields and what a store carries (as a file: `manifests/jsonl.py`).

Whatever is left out of a corpus is listed with its reason, never dropped silently.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import PureWindowsPath
from typing import Any

import xxhash

from emofuse.common.errors import complain

ASR = "asr"
"""The kind of a text that a speech recogniser wrote."""
WITHDRAWN = "withdrawn"
"""Why an utterance is excluded whose speaker took back the consent; no later reading of the corpus adds it again."""
OF_TEXT = ("text_digest", "sentence_digest", "text_kind", "text_source")
"""What an utterance says of its text; gone with it."""
Extra = Mapping[str, str | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One utterance of a corpus."""

    id: str
    """Unique in the corpus."""
    audio: str | None = None
    """Path of the audio file, relative to the corpus root, with forward slashes."""
    start: float | None = None
    """Where the utterance begins in the file, in seconds; none: at its beginning."""
    end: float | None = None
    """Where it ends, in seconds; none: at the end of the file."""
    seconds: float | None = None
    """Its length in seconds, once the audio has been looked at."""
    audio_digest: str | None = None
    """xxh3-128 of the audio file's bytes and the cut, once the audio has been looked at."""
    text: str | None = None
    """What is said."""
    text_digest: str | None = None
    """xxh3-128 of the text, where the text itself was left out (`--no-text`)."""
    sentence_digest: str | None = None
    """xxh3-128 of its sentence, likewise."""
    text_kind: str | None = None
    """`asr` where a speech recogniser wrote the text; none: it is the corpus's own."""
    text_source: str | None = None
    """Which recogniser: its model, revision and weights."""
    label: str | None = None
    """The corpus's own label."""
    speaker: str | None = None
    """The talker (IEMOCAP: session and the letter at the end of the utterance id, never the recording prefix)."""
    session: str | None = None
    dialogue: str | None = None
    turn: int | None = None
    split: str | None = None
    """The official split: train, dev or test."""
    extra: Extra = field(default_factory=dict)
    """Further annotation: valence, arousal, dominance, sentiment, intensity, ..."""

    @property
    def sentence(self) -> str | None:
        """The words of the text alone (or their digest), by which the same sentence said twice is known again."""
        words = "".join(c if c.isalnum() else " " for c in (self.text or "").casefold())
        return " ".join(words.split()) or self.sentence_digest


def text_digest(text: str) -> str:
    """xxh3-128 of a text's UTF-8 bytes."""
    return xxhash.xxh3_128_hexdigest(text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """An item of the corpus, or one modality of it, that no stage uses, and why."""

    id: str
    reason: str
    modality: str | None = None
    """The one that cannot be used (`audio`, `text`); the utterance stays if it has the other one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A corpus as one reader saw it, in the reader's fixed order."""

    corpus: str
    reader: str
    """The reader and its version, for example `iemocap-1`."""
    utterances: tuple[Utterance, ...]
    excluded: tuple[Excluded, ...] = ()

    def __post_init__(self) -> None:
        complain(mistakes(self.utterances), f"the manifest of {self.corpus} cannot be used")

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def ids(self) -> list[str]:
        """The utterance ids, in order."""
        return [u.id for u in self.utterances]

    @property
    def hours(self) -> float:
        """Hours of audio among the utterances whose length is known."""
        return sum(u.seconds or 0.0 for u in self.utterances) / 3600

    def has(self, modality: str) -> bool:
        """Whether any utterance has `modality` (audio or text), be the text itself left out."""
        return any(getattr(u, modality) is not None for u in self.utterances) or (
            modality == "text" and self.withholds_text
        )

    def digest(self) -> str:
        """32 hex digits that change with any utterance, in whatever order of keys it was written."""
        state = xxhash.xxh3_128(self.corpus.encode())
        for u in self.utterances:
            state.update(line_of(record_of(u)).encode())
        return state.hexdigest()

    def counts(self, attribute: str) -> dict[str, int]:
        """How many utterances have each value of an attribute (label, session, speaker, split, ...)."""
        found = Counter(getattr(u, attribute) for u in self.utterances)
        return {str(k): n for k, n in sorted(found.items(), key=lambda item: str(item[0])) if k is not None}

    def excluding(self, more: Iterable[Excluded]) -> Manifest:
        """The manifest without the items of `more`, which join its excluded list.

        An item excluded in one modality stays with the other one, if it has it.
        """
        gone = {(e.id, e.modality): e for e in more}
        kept = []
        for u in self.utterances:
            without: dict[str, Any] = {m: None for m in ("audio", "text") if (u.id, m) in gone}
            if "text" in without:
                without |= dict.fromkeys(OF_TEXT)
            left = replace(u, **without) if without else u
            if (u.id, None) not in gone and (left.audio, left.text, left.text_digest) != (None, None, None):
                kept.append(left)
        known = [e for e in self.excluded if (e.id, e.modality) not in gone]
        return replace(self, utterances=tuple(kept), excluded=(*known, *gone.values()))

    def merged_into(self, older: Manifest | None) -> Manifest:
        """This manifest and what only `older` holds: its rows win, and a corpus read in part keeps the older order."""
        if older is None:
            return self
        silent = {e.id for e in older.excluded if e.modality == "audio"}
        withdrawn = {e.id for e in older.excluded if e.reason == WITHDRAWN}
        known = {u.id: u for u in older.utterances}
        asked = [u for u in self.utterances if u.id not in withdrawn]
        absent = {e.id: e.reason for e in self.excluded if e.modality == "audio"}
        fresh = {
            u.id: _surveyed(_heard_before(u, known.get(u.id), absent.get(u.id)), known.get(u.id), u.id in silent)
            for u in asked
        }
        complete = set(known) <= set(fresh)
        order = [*fresh] if complete else [*known, *(i for i in fresh if i not in known)]
        utterances = {i: fresh.get(i) or known[i] for i in order}
        excluded = {(e.id, e.modality): e for e in (*older.excluded, *self.excluded)}
        left_out = [e for e in excluded.values() if _still_excluded(e, utterances.get(e.id))]
        merged = replace(self, utterances=tuple(utterances.values()), excluded=tuple(left_out))
        return merged.without_text() if older.withholds_text or self.withholds_text else merged

    @property
    def withholds_text(self) -> bool:
        """Whether texts were left out and stand as digests."""
        return any(u.text_digest is not None for u in self.utterances)

    def without_text(self) -> Manifest:
        """The manifest with a digest in place of every text."""
        return replace(self, utterances=tuple(_withheld(u) for u in self.utterances))

    def sample(self, limit: int) -> Manifest:
        """At most `limit` utterances, spread evenly, so that every session and label stays."""
        n = len(self.utterances)
        if limit >= n:
            return self
        return replace(self, utterances=tuple(self.utterances[i * n // limit] for i in range(limit)))


def _withheld(utterance: Utterance) -> Utterance:
    if utterance.text is None:
        return utterance
    said = None if utterance.sentence is None else text_digest(utterance.sentence)
    return replace(utterance, text=None, text_digest=text_digest(utterance.text), sentence_digest=said)


def _heard_before(fresh: Utterance, older: Utterance | None, excluded: str | None) -> Utterance:
    """`fresh` with the audio of `older`, whose file is only not there now: a disk that is away makes nothing untrue.

    Args:
        excluded: Why its audio was excluded, if it was.
    """
    if older is None or older.audio_digest is None or fresh.audio is not None:
        return fresh
    if excluded != no_file(older.audio) or (fresh.start, fresh.end) != (older.start, older.end):
        return fresh
    return replace(fresh, audio=older.audio, seconds=older.seconds, audio_digest=older.audio_digest)


def no_file(audio: str | None) -> str:
    """Why an utterance is excluded whose file is not there."""
    return f"no audio file {audio}"


def _surveyed(fresh: Utterance, older: Utterance | None, silent: bool) -> Utterance:
    """`fresh` with what an older look at its audio found, where nobody has looked this time, and what was heard."""
    if older is None:
        return fresh
    if older.text_kind == ASR:
        fresh = with_text_of(fresh, older)
    if fresh.audio_digest is not None:
        return fresh
    if older.audio == fresh.audio:
        return replace(fresh, seconds=older.seconds, audio_digest=older.audio_digest)
    has_text = fresh.text is not None or fresh.text_digest is not None
    return replace(fresh, audio=None) if silent and older.audio is None and has_text else fresh


def with_text_of(fresh: Utterance, older: Utterance) -> Utterance:
    """`fresh` with the text that `older` has of the very same audio, where it has none itself."""
    textless = fresh.text is None and fresh.text_digest is None
    same = fresh.audio == older.audio and fresh.audio_digest in (None, older.audio_digest)
    if not textless or not same or fresh.audio is None:
        return fresh
    return replace(fresh, text=older.text, **{name: getattr(older, name) for name in OF_TEXT})


def _still_excluded(item: Excluded, utterance: Utterance | None) -> bool:
    if utterance is None:
        return True
    return item.modality is not None and getattr(utterance, item.modality) is None


def mistakes(utterances: Iterable[Utterance]) -> list[str]:
    """What is wrong with utterances that stand together in a manifest, one line each."""
    problems = []
    seen: set[str] = set()
    for u in utterances:
        if not u.id or not u.id.isprintable():
            problems.append(f"utterance id {u.id!r} is empty or has control characters")
        if u.id in seen:
            problems.append(f"utterance id {u.id!r} occurs twice")
        seen.add(u.id)
        if u.audio is not None and _leaves(u.audio):
            problems.append(f"{u.id}: audio path {u.audio!r} leaves the corpus root; paths are relative to it")
        times = [t for t in (u.start, u.end, u.seconds) if t is not None]
        if any(not math.isfinite(t) or t < 0 for t in times):
            problems.append(f"{u.id}: start, end and seconds must be finite and not negative, got {times}")
        if u.start is not None and u.end is not None and u.end < u.start:
            problems.append(f"{u.id}: ends at {u.end} s before it starts at {u.start} s")
        if u.audio is None and u.text is None and u.text_digest is None:
            problems.append(f"{u.id}: has neither audio nor text")
    return problems


def _leaves(path: str) -> bool:
    """Whether a path would lead out of the folder that it is joined to, on any system, or be no path at all."""
    there = PureWindowsPath(path)  # which knows both kinds of slashes
    return bool(there.anchor) or ".." in there.parts or "\0" in path


def record_of(item: Utterance | Excluded) -> dict[str, Any]:
    """What is said of an item, JSON-ready, without what is none."""
    values = ((f.name, getattr(item, f.name)) for f in fields(item))
    return {k: dict(v) if k == "extra" else v for k, v in values if v is not None and v != {}}


def line_of(record: Mapping[str, Any]) -> str:
    """One line of JSON with sorted keys."""
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
