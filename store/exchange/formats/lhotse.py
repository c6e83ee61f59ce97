"""lhotse's manifests and features: read from any of its local storage types, written as plain numpy files.

An utterance is a supervision; where there is none, a cut or a recording. A cut or supervision that covers only a span
of its features gets the frames of that span, selected as lhotse does.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Utterance
from emofuse.store.exchange.arrays import id_as_audio_path, id_as_file_name, refuse_as_file_names, write_array
from emofuse.store.exchange.feature_metadata import FeatureMetadata, read_side_file, write_side_file
from emofuse.store.exchange.formats.lhotse_manifests import LhotseManifests, LhotseRecord, read_manifests
from emofuse.store.exchange.formats.lhotse_storage import read_values
from emofuse.store.exchange.records import ExportJob, FeatureRequest, ForeignSource, Format, FrameStream, Unusable

TOLERANCE = 1e-3
"""Seconds by which two equal times may differ, as in lhotse."""
SAMPLE_RATE = 16000
"""Hz; a features manifest must state one, and this is the input rate of emofuse's encoders."""
STORAGE = "frames"
"""The folder of the values in an export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceSpan:
    """The frames of one utterance: a span of stored features."""

    id: str
    features: LhotseRecord
    start: float
    """Seconds from the beginning of the recording."""
    duration: float
    """Seconds."""


def _open(path: Path, request: FeatureRequest) -> ForeignSource:
    manifests = read_manifests(path)
    spans = [*_cut_spans(manifests), *_feature_spans(manifests)]
    if not spans:
        raise UsageError(
            f"--source {path}: no features in its manifests; name a features or cuts manifest in .jsonl(.gz)"
        )
    metadata = read_side_file(manifests.root, request.name, request.modality)
    if not metadata.by_emofuse and request.modality != "text":
        metadata = FeatureMetadata(frame_rate=_frame_rate(spans))
    supervisions = {str(s["id"]): s for s in manifests.supervisions}

    def read() -> FrameStream:
        for span in spans:
            values = read_values(span.features, manifests.root)
            yield span.id, values if isinstance(values, Unusable) else _span_frames(values, span)

    return ForeignSource(
        ids=[span.id for span in spans],
        read=read,
        metadata=metadata,
        utterances=[_utterance(span, supervisions.get(span.id)) for span in spans],
        has_lengths=True,
    )


def _cut_spans(manifests: LhotseManifests) -> Iterator[UtteranceSpan]:
    """The span of each cut.

    Raises:
        UsageError: A cut has several supervisions.
    """
    for cut in manifests.cuts:
        supervisions = cut.get("supervisions") or []
        if len(supervisions) > 1:
            raise UsageError(
                f"cut {str(cut['id'])!r} has {len(supervisions)} supervisions; split it into one cut per utterance "
                "with lhotse's trim_to_supervisions"
            )
        id = str(supervisions[0]["id"] if supervisions else cut["id"])
        yield UtteranceSpan(id=id, features=cut["features"], start=float(cut["start"]), duration=float(cut["duration"]))


def _feature_spans(manifests: LhotseManifests) -> Iterator[UtteranceSpan]:
    """The span of each supervision in its recording's features; without supervisions, all features of a recording."""
    by_recording: dict[str, list[LhotseRecord]] = {}
    for s in manifests.supervisions:
        by_recording.setdefault(str(s["recording_id"]), []).append(s)
    for f in manifests.features:
        start, duration = float(f["start"]), float(f["duration"])
        supervisions = by_recording.get(str(f.get("recording_id")), [])
        if not supervisions:
            yield UtteranceSpan(id=str(f.get("recording_id")), features=f, start=start, duration=duration)
        # Features last as long as their frames, a supervision as long as the speech: they may differ by one frame.
        tolerance = TOLERANCE + float(f["frame_shift"])
        whole = [
            s for s in supervisions
            if abs(s["start"] - start) < TOLERANCE and abs(s["duration"] - duration) <= tolerance
        ]  # fmt: skip
        for s in whole:
            yield UtteranceSpan(id=str(s["id"]), features=f, start=start, duration=duration)
        for s in () if whole else supervisions:
            if s["start"] >= start - TOLERANCE and s["start"] + s["duration"] <= start + duration + tolerance:
                id, begin, length = str(s["id"]), float(s["start"]), float(s["duration"])
                yield UtteranceSpan(id=id, features=f, start=begin, duration=length)


def frame_count(seconds: float, shift: float, rate: int) -> int:
    """Frames in `seconds`, by lhotse's own rule: rounded in samples, halves up.

    Args:
        seconds: The duration.
        shift: Seconds from one frame to the next.
        rate: Samples per second.
    """
    hop = round(shift * rate)
    return (round(seconds * rate) + hop // 2) // hop


def _span_frames(values: NDArray[Any], span: UtteranceSpan) -> NDArray[Any] | Unusable:
    """The frames [T, D] of a span; where rounding gives one frame too few, lhotse repeats the last one, we do not."""
    f = span.features
    shift, rate = float(f["frame_shift"]), int(f["sampling_rate"])
    start, duration = float(f["start"]), float(f["duration"])
    before = span.start - start
    if before < -TOLERANCE or span.start + span.duration > start + duration + TOLERANCE + shift:
        reason = f"starts at {span.start:g} s and lasts {span.duration:g} s, outside of its features"
        return Unusable(reason=reason, damaged=True)
    if abs(before) < TOLERANCE and abs(span.duration - duration) < TOLERANCE:
        return values
    if round(shift * rate) < 1:
        return Unusable(reason=f"frame_shift {shift:g} s at {rate} Hz is less than one sample", damaged=True)
    first = frame_count(max(0.0, before), shift, rate)
    return values[first : first + frame_count(span.duration, shift, rate)]


def _frame_rate(spans: list[UtteranceSpan]) -> float:
    """Frames per second.

    Raises:
        UsageError: The features have several rates.
    """
    shifts = {float(span.features["frame_shift"]) for span in spans}
    if len(shifts) != 1 or min(shifts) <= 0:
        raise UsageError(f"the features have frame shifts {sorted(shifts)[:5]} s; one feature has one frame rate")
    return round(1 / shifts.pop(), 6)


def _utterance(span: UtteranceSpan, supervision: LhotseRecord | None) -> Utterance:
    fields = supervision or {}
    custom = fields.get("custom") if isinstance(fields.get("custom"), dict) else {}
    assert isinstance(custom, dict)

    def first_text(*values: Any) -> str | None:
        return next((v for v in values if isinstance(v, str) and v), None)

    return Utterance(
        id=span.id,
        audio=id_as_audio_path(str(span.features.get("recording_id") or span.id)),
        seconds=float(fields.get("duration", span.duration)),
        text=first_text(fields.get("text")),
        speaker=first_text(fields.get("speaker")),
        label=first_text(custom.get("emotion"), custom.get("label")),
        session=first_text(custom.get("session")),
        dialogue=first_text(custom.get("dialogue")),
        split=first_text(custom.get("split")),
    )


def _write(job: ExportJob, out: Path) -> None:
    (feature,) = job.features
    if feature.frame_rate is None or feature.view != "frames":
        raise UsageError(
            f"lhotse's features need a time axis; {feature.name!r} has none ({feature.modality}, {feature.view}). "
            "`--to parquet` takes it"
        )
    names = {u.id: id_as_file_name(u.id) for u in job.utterances}
    refuse_as_file_names(names)
    shift = 1 / feature.frame_rate
    if abs(shift * SAMPLE_RATE - round(shift * SAMPLE_RATE)) > 1e-6:
        raise UsageError(f"lhotse needs a frame shift of whole samples at {SAMPLE_RATE} Hz, got {shift:g} s")
    with _create(out / "features.jsonl.gz") as features, _create(out / "supervisions.jsonl.gz") as supervisions:
        for u, frames in job.read(feature):
            key = f"{names[u.id]}.npy"
            write_array(out / STORAGE / key, frames)
            span = {"recording_id": u.id, "start": 0.0, "duration": round(len(frames) * shift, 6)}
            features.write(_json_line({
                "type": feature.encoder, "num_frames": len(frames), "num_features": feature.dimension,
                "frame_shift": shift, "sampling_rate": SAMPLE_RATE, **span, "storage_type": "numpy_files",
                "storage_path": STORAGE, "storage_key": key, "channels": 0,
            }))  # fmt: skip
            custom = {"emotion": u.label, "session": u.session, "dialogue": u.dialogue, "split": u.split}
            supervisions.write(_json_line({
                "id": u.id, **span, "channel": 0, "text": u.text, "speaker": u.speaker,
                "custom": {k: v for k, v in custom.items() if v is not None},
            }))  # fmt: skip
    write_side_file(out, job.metadata)


def _create(path: Path) -> TextIO:
    return gzip.open(path, "wt", encoding="utf-8")


def _json_line(record: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in record.items() if v is not None}, ensure_ascii=False) + "\n"


LHOTSE = Format(open=_open, write=_write)
