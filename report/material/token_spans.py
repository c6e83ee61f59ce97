"""Which characters of a text each frame of a run's text feature is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emofuse.common.errors import EmofuseError, UsageError
from emofuse.extract.encoders.base import ENCODERS, SpanFinder
from emofuse.extract.encoders.registry import FAMILIES
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.recorded_features import per_fold_names
from emofuse.train.runs.recorded_paths import found_path

assert FAMILIES  # importing them fills ENCODERS


def span_finder(run: Run, weights: str | None = None) -> tuple[SpanFinder | None, str]:
    """What finds the spans of texts, one (start, end) per frame; or None, and the reason.

    Args:
        run: It reads text.
        weights: As `--weights` of `extract`; None means those that the run has recorded.
    """
    try:
        encoder, recorded, fingerprint = _text_encoder(run)
        finder = ENCODERS[encoder].token_spans if encoder in ENCODERS else None
        if finder is None:
            raise UsageError(f"encoder {encoder} does not say which characters its frames are of")
        if fingerprint.get("over_frames"):
            raise UsageError("the feature has one frame for the whole text")
        return _finder(finder, weights or recorded, fingerprint), ""
    except EmofuseError as error:
        return None, f"words are not shown: {str(error).splitlines()[0]}"


def _finder(of_encoder: Callable[..., SpanFinder], weights: str | None, fingerprint: Mapping[str, Any]) -> SpanFinder:
    """The span finder of an encoder with these weights.

    Raises:
        UsageError: There is no such tokenizer; names the option that says where it is.
    """
    try:
        return of_encoder(weights, fingerprint)
    except UsageError as error:
        raise UsageError(f"{str(error).splitlines()[0]}; name the folder of the weights with --weights") from None


def _text_encoder(run: Run) -> tuple[str, str | None, Mapping[str, Any]]:
    """The encoder of the run's text feature, where its weights are now, and its fingerprint (of one of the folds)."""
    features = run.config["run"]["features"]
    record, provenance = features["text"], run.config.get("provenance", {}).get("text", {})
    if names := per_fold_names(record):
        weights = _recorded_weights(run, provenance.get(names[0], {}))
        of_fold = Path(weights or "") / f"fold_{names[0].rpartition('@')[2]}"  # of a run of `finetune`
        return record["encoder"], str(of_fold) if of_fold.is_dir() else weights, record["fingerprint"][names[0]]
    if run.config["run"].get("protocol", {}).get("joint"):
        provenance = next(iter(provenance.values()), {})
    return record["encoder"], _recorded_weights(run, provenance), record["fingerprint"]


def _recorded_weights(run: Run, provenance: Mapping[str, Any]) -> str | None:
    """The weights that `extract` was called with, a folder as it can be opened from here; None for the default ones."""
    arguments: Sequence[Any] = provenance.get("encoder_options") or []
    weights = dict(zip(arguments[::2], arguments[1::2], strict=False)).get("--weights")
    return None if weights is None else str(found_path(run, Path(weights)))
