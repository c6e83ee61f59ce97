"""Clips in, predictions out: scanned, cut, encoded and classified some at a time, in the order given."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.output.progress import Progress, format_duration
from emofuse.extract.asr.recogniser import Recogniser
from emofuse.extract.plan.job import FeatureJob
from emofuse.manifests.schema import ASR, Excluded
from emofuse.predict.config import PredictConfig
from emofuse.predict.ensemble import Ensemble, ModelValues
from emofuse.predict.features.batch_features import BatchExtractor, BatchFeatures
from emofuse.predict.prediction import MeanOfWindows, Prediction, predicted
from emofuse.predict.recordings.inputs import Inputs
from emofuse.predict.recordings.window_reader import WindowReader
from emofuse.predict.recordings.windows import Window
from emofuse.predict.requirements import Requirements

MOST_WINDOWS, MOST_SECONDS = 256, 300.0
"""Windows that are encoded together, and seconds of their audio: all layers of an encoder take 4 MB a second."""


@dataclass(slots=True, kw_only=True)
class PredictionStream:
    """One pass over the inputs."""

    config: PredictConfig
    ensemble: Ensemble
    requirements: Requirements
    jobs: Sequence[FeatureJob]
    """The encoders of the run."""
    recogniser: Recogniser | None
    excluded: list[Excluded]
    """Filled with what could not be predicted."""
    _progress: Progress = field(init=False)
    _reader: WindowReader = field(init=False)
    _seconds: float = 0.0
    """Audio predicted so far."""

    def predictions(self, inputs: Inputs) -> Iterator[Prediction]:
        """Every prediction, as soon as its batch is done.

        Raises:
            UsageError: No clip can be predicted.
        """
        nothing = True
        with (
            tempfile.TemporaryDirectory(prefix="emofuse-predict-") as name,
            Progress(len(inputs.utterances), "predicting", "clips", quiet=self.config.quiet) as self._progress,
        ):
            folder = Path(name).resolve()
            self._reader = WindowReader(self.config, folder, self._exclude_clip)
            self._note_excluded(inputs)
            extractor = BatchExtractor(self.jobs, self.recogniser, self.config.budget, folder)
            mean = MeanOfWindows()
            for windows in _batches(self._reader.windows(inputs.utterances)):
                for window, by_model, about in self._ask(extractor, windows):
                    if by_model is not None:
                        nothing = False
                        yield predicted(by_model, self.ensemble.target, self.ensemble.threshold, **about)
                        mean.add(by_model, window, about["missing"])
                    if window.last:
                        if window.count > 1 and mean.by_model is not None:
                            yield predicted(
                                mean.by_model, self.ensemble.target, self.ensemble.threshold, **mean.about(window)
                            )
                        mean = MeanOfWindows()
                        self._finish(window)
        if nothing:
            first = f"; {self.excluded[0].id}: {self.excluded[0].reason}" if self.excluded else ""
            raise UsageError(f"no clip can be predicted{first}")

    def _ask(
        self, extractor: BatchExtractor, windows: Sequence[Window]
    ) -> Iterator[tuple[Window, ModelValues | None, dict[str, Any]]]:
        """Each window with what the models say of it, or None, and what else its prediction holds."""
        ids = [w.utterance.id for w in windows]
        clips = {w.utterance.id: w.clip for w in windows if w.clip is not None}
        with extractor.extract([w.utterance for w in windows], clips) as batch:
            by_id = self.ensemble.values(batch, ids)
            missing = {id: self.requirements.missing(batch.available(id)) for id in ids}
        reasons = {item.id: [item.reason] for item in batch.excluded}
        for id, window in zip(ids, windows, strict=True):
            if id not in by_id:
                known = [*self._reader.reasons.get(window.of.id, []), *reasons.get(id, [])]
                self._exclude(id, "; ".join(known or [self.requirements.reason(missing[id])]))
            about = {
                "id": window.of.id,
                "kind": "clip" if window.count == 1 else "window",
                "start": window.start,
                "end": window.end,
                "missing": missing[id],
                "text": _recognised_text(batch, id),
            }
            yield window, by_id.get(id), about

    def _note_excluded(self, inputs: Inputs) -> None:
        """List what the inputs do not have; a clip that lost one modality may be predicted by the other."""
        ids = {u.id for u in inputs.utterances}
        for item in inputs.excluded:
            if item.id in ids:
                self._reader.reasons.setdefault(item.id, []).append(item.reason)
            else:
                self._exclude(item.id, item.reason)

    def _exclude(self, id: str, reason: str) -> None:
        self.excluded.append(Excluded(id=id, reason=reason))
        self._progress.say(f"excluded {id}: {reason}")

    def _exclude_clip(self, id: str, reason: str) -> None:
        self._exclude(id, reason)
        self._progress.advance()

    def _finish(self, window: Window) -> None:
        """Count a clip whose last window is done."""
        self._reader.release(window.of)
        if window.clip is not None and window.end is not None:
            self._seconds += window.end - (window.of.start or 0.0)
        self._progress.advance(note=f"{format_duration(self._seconds)} of audio" if self._seconds else "")


def _batches(windows: Iterable[Window]) -> Iterator[list[Window]]:
    """Windows to encode together; a single one may be longer than the limit."""
    batch: list[Window] = []
    seconds = 0.0
    for window in windows:
        length = window.clip.seconds if window.clip else 0.0
        if batch and (len(batch) == MOST_WINDOWS or seconds + length > MOST_SECONDS):
            yield batch
            batch, seconds = [], 0.0
        batch.append(window)
        seconds += length
    if batch:
        yield batch


def _recognised_text(batch: BatchFeatures, id: str) -> str | None:
    utterance = batch.texts.get(id)
    return utterance.text if utterance is not None and utterance.text_kind == ASR else None
