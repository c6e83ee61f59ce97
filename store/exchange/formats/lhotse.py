"""lhotse's manifests and features: read for any of its local storages, written as plain numpy files.

An utterance is a supervision; where there is none, a cut or a recording. A cut or supervision that is part of its
features gets its own frames, cut out as lhotse does.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Utterance
from emofuse.store.exchange.arrays import write_array
from emofuse.store.exchange.exporting import Export
from emofuse.store.exchange.feature_metadata import FeatureMetadata, read_side_file, write_side_file
from emofuse.store.exchange.formats.lhotse_manifests import Manifests, manifests_of
from emofuse.store.exchange.formats.lhotse_storage import values_of
from emofuse.store.exchange.formats.npy import encoded
from emofuse.store.exchange.registry import FORMATS, Asked, Bad, ForeignSource, Format, Reading

NEAR = 1e-3
"""Seconds by which two times may differ and still be the same, as in lhotse."""
SAMPLE_RATE = 16000
"""What a features manifest must name; the encoders of emofuse listen at it."""
STORAGE = "frames"
"""The folder of the values in an export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The frames of one utterance: a span of stored features."""

    id: str
    features: Mapping[str, Any]
    start: float
    """Seconds, on the recording's clock."""
    duration: float


def _open(path: Path, asked: Asked) -> ForeignSource:
    found = manifests_of(path)
    pieces = list(_pieces(found))
    if not pieces:
        raise UsageError(
            f"--source {path}: no features in its manifests; name a features or cuts manifest in .jsonl(.gz)"
        )
    said = read_side_file(found.root, asked.name, asked.modality)
    supervisions = {str(s["id"]): s for s in found.supervisions}

    def read() -> Reading:
        for piece in pieces:
            values = values_of(piece.features, found.root)
            yield piece.id, values if isinstance(values, Bad) else _span(values, piece)

    return ForeignSource(
        ids=[p.id for p in pieces],
        read=read,
        said=said if said.known or asked.modality == "text" else FeatureMetadata(frame_rate=_rate(pieces)),
        utterances=[_utterance(p, supervisions.get(p.id)) for p in pieces],
        trimmed=True,
    )


def _pieces(found: Manifests) -> Iterator[Piece]:
    """Which span of which features belongs to which utterance."""
    for cut in found.cuts:
        supervisions = cut.get("supervisions") or []
        if len(supervisions) > 1:
            raise UsageError(
                f"cut {str(cut['id'])!r} has {len(supervisions)} supervisions; make it one utterance each with "
                "lhotse's trim_to_supervisions"
            )
        id = str(supervisions[0]["id"] if supervisions else cut["id"])
        yield Piece(id=id, features=cut["features"], start=float(cut["start"]), duration=float(cut["duration"]))
    by_recording: dict[str, list[Mapping[str, Any]]] = {}
    for s in found.supervisions:
        by_recording.setdefault(str(s["recording_id"]), []).append(s)
    for f in found.features:
        start, duration = float(f["start"]), float(f["duration"])
        theirs = by_recording.get(str(f.get("recording_id")), [])
        # Features are as long as their frames, a supervision as long as the speech: they may differ by a frame.
        near = NEAR + float(f["frame_shift"])
        same = [s for s in theirs if abs(s["start"] - start) < NEAR and abs(s["duration"] - duration) <= near]
        within = same or [s for s in theirs if s["start"] >= start - NEAR
                          and s["start"] + s["duration"] <= start + duration + near]  # fmt: skip
        for s in within:
            whole = bool(same)
            yield Piece(id=str(s["id"]), features=f, start=start if whole else float(s["start"]),
                        duration=duration if whole else float(s["duration"]))  # fmt: skip
        if not theirs:
            yield Piece(id=str(f.get("recording_id")), features=f, start=start, duration=duration)


def frame_count(seconds: float, shift: float, rate: int) -> int:
    """Frames in `seconds`, rounded in samples, halves up: lhotse's own rule."""
    hop = round(shift * rate)
    return (round(seconds * rate) + hop // 2) // hop


def _span(values: Any, piece: Piece) -> Any:
    """The frames [T, D] of a piece; unlike lhotse, no last frame is repeated where rounding leaves one too few."""
    f = piece.features
    shift, rate = float(f["frame_shift"]), int(f["sampling_rate"])
    before = piece.start - float(f["start"])
    if before < -NEAR or piece.start + piece.duration > float(f["start"]) + float(f["duration"]) + NEAR + shift:
        return Bad(why=f"lies at {piece.start:g} s for {piece.duration:g} s, outside of its features", damaged=True)
    if abs(before) < NEAR and abs(piece.duration - float(f["duration"])) < NEAR:
        return values
    if round(shift * rate) < 1:
        return Bad(why=f"frame_shift {shift:g} s at {rate} Hz is less than a sample", damaged=True)
    left = frame_count(max(0.0, before), shift, rate)
    return values[left : left + frame_count(piece.duration, shift, rate)]


def _rate(pieces: list[Piece]) -> float:
    """Frames per second.

    Raises:
        UsageError: The features have several rates.
    """
    shifts = {float(p.features["frame_shift"]) for p in pieces}
    if len(shifts) != 1 or min(shifts) <= 0:
        raise UsageError(f"the features have frame shifts {sorted(shifts)[:5]} s; one feature has one frame rate")
    return round(1 / shifts.pop(), 6)


def _utterance(piece: Piece, supervision: Mapping[str, Any] | None) -> Utterance:
    said = supervision or {}
    custom = said.get("custom") if isinstance(said.get("custom"), dict) else {}
    assert isinstance(custom, dict)
    recording = str(piece.features.get("recording_id") or piece.id)

    def word(*values: Any) -> str | None:
        return next((v for v in values if isinstance(v, str) and v), None)

    return Utterance(
        id=piece.id,
        audio=quote(recording, safe="").replace(".", "%2E") + ".wav",
        seconds=float(said.get("duration", piece.duration)),
        text=word(said.get("text")),
        speaker=word(said.get("speaker")),
        label=word(custom.get("emotion"), custom.get("label")),
        session=word(custom.get("session")),
        dialogue=word(custom.get("dialogue")),
        split=word(custom.get("split")),
    )


def _write(export: Export, out: Path) -> None:
    (feature,) = export.features
    if feature.frame_rate is None or feature.view != "frames":
        raise UsageError(
            f"lhotse's features lie on a time axis; {feature.name!r} has none ({feature.modality}, {feature.view}). "
            "`--to parquet` takes it"
        )
    shift = 1 / feature.frame_rate
    if abs(shift * SAMPLE_RATE - round(shift * SAMPLE_RATE)) > 1e-6:
        raise UsageError(f"lhotse needs a frame shift of whole samples at {SAMPLE_RATE} Hz, got {shift:g} s")
    with _lines(out / "features.jsonl.gz") as features, _lines(out / "supervisions.jsonl.gz") as supervisions:
        for u, frames in export.read(feature):
            key = f"{encoded(u.id)}.npy"
            write_array(out / STORAGE / key, frames)
            span = {"recording_id": u.id, "start": 0.0, "duration": round(len(frames) * shift, 6)}
            features.write(_line({
                "type": feature.encoder, "num_frames": len(frames), "num_features": feature.dimension,
                "frame_shift": shift, "sampling_rate": SAMPLE_RATE, **span, "storage_type": "numpy_files",
                "storage_path": STORAGE, "storage_key": key, "channels": 0,
            }))  # fmt: skip
            custom = {"emotion": u.label, "session": u.session, "dialogue": u.dialogue, "split": u.split}
            supervisions.write(_line({
                "id": u.id, **span, "channel": 0, "text": u.text, "speaker": u.speaker,
                "custom": {k: v for k, v in custom.items() if v is not None},
            }))  # fmt: skip
    write_side_file(out, export.said)


def _lines(path: Path) -> Any:
    return gzip.open(path, "wt", encoding="utf-8")


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in record.items() if v is not None}, ensure_ascii=False) + "\n"


FORMATS.add(
    "lhotse",
    "lhotse's features or cuts, with supervisions, as .jsonl(.gz) manifests.",
    Format(open=_open, write=_write),
)
