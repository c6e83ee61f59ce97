"""The encoders of a run, built again as `extract` builds them; only equal settings and weights are accepted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emofuse.common.errors import DataError, UsageError
from emofuse.common.problems import Problems
from emofuse.extract.audio.channels import MIXES
from emofuse.extract.encoders.registry import ENCODERS
from emofuse.extract.plan.build_jobs import build_jobs
from emofuse.extract.plan.config import ExtractConfig
from emofuse.extract.plan.job import FeatureJob, feature_spec
from emofuse.extract.plan.views import recorded_view
from emofuse.predict.config import MODALITIES
from emofuse.predict.features.run_features import RunFeature
from emofuse.predict.recordings.inputs import ROOT, manifest_of
from emofuse.store.core.spec import DTYPES

TEXT_ORIGIN = ("text_kind", "recogniser")
"""Keys of a fingerprint that say where the texts came from; the encoder is the same whatever they are."""


def build_run_encoders(features: Sequence[RunFeature], weights: Sequence[str], device: str) -> list[FeatureJob]:
    """A job of `extract` for each feature, with its encoder on `device`, without utterances and without a store.

    Args:
        features: What the run was trained on.
        weights: Replace the recorded ones: `WHAT`, or `audio=WHAT` and `text=WHAT`.
        device: Where the encoders compute.

    Raises:
        UsageError: A feature was not made by an encoder, its weights are not at hand, or an encoder's fingerprint is
            not the recorded one; lists every feature, and each setting with both values.
        DataError: Damaged weights, or settings in config.json that no encoder has.
    """
    problems, jobs = Problems(), []
    given = _given_weights(features, weights)
    for feature in features:
        with problems.collecting():
            jobs.append(_build(feature, given.get(feature.key), device))
    problems.raise_all()
    return jobs


def _given_weights(features: Sequence[RunFeature], weights: Sequence[str]) -> dict[str, str]:
    """Key of a feature -> the weights that the user names for its encoder, by the modality or the feature's name."""
    pretrained = {f.key: f for f in features if f.encoder in ENCODERS and ENCODERS[f.encoder].pretrained}
    shared: dict[str, list[str]] = {}
    """What may be typed before `=` -> the keys that it stands for; the features of several folds have one name."""
    for key, feature in pretrained.items():
        label = feature.modality if feature.member is None else feature.name
        shared.setdefault(label, []).append(key)
    given: dict[str, str] = {}
    for value in weights:
        prefix, equals, rest = value.partition("=")
        named = bool(equals) and prefix in (*MODALITIES, *shared)
        if not named and len(shared) > 1:
            valid = [f"{name}={value}" for name in shared]
            raise UsageError(
                f"--weights {value}: the run has encoders of {' and of '.join(shared)}: pass {' or '.join(valid)}"
            )
        label, what = (prefix, rest) if named else (next(iter(shared), ""), value)
        if label not in shared:
            raise UsageError(f"--weights {value} has no effect: no {label or 'such'} encoder of the run has weights")
        if shared[label][0] in given:
            raise UsageError(f"--weights names the {label} encoder twice: {given[shared[label][0]]} and {what}")
        given |= dict.fromkeys(shared[label], what)
    return given


def _build(feature: RunFeature, weights: str | None, device: str) -> FeatureJob:
    if "imported_from" in feature.fingerprint:
        source = feature.fingerprint["imported_from"]
        raise UsageError(
            f"feature {feature.name!r} was imported from {source} files: no encoder of emofuse can extract it from new "
            "recordings"
        )
    if "extractor" not in feature.fingerprint:
        raise UsageError(
            f"feature {feature.name!r} has no record of how it was made: it was not written by `extract`, so it cannot "
            "be extracted from new recordings"
        )
    config = _config(feature, weights, device)
    try:
        (built,) = build_jobs(config, manifest_of([]), ROOT, device=device, recogniser=None)
    except UsageError as error:
        raise UsageError(f"{error}\n    needed: {_needed(feature)}") from None
    except ValueError:
        raise DataError(f"feature {feature.name!r} is recorded with views {config.views!r}, expected one") from None
    job = replace(built, feature=feature.key, dtype=feature.dtype if feature.dtype != "int8" else "float32")
    differing = _differences(feature.fingerprint, json.loads(json.dumps(feature_spec(job).fingerprint)))
    if differing:
        raise UsageError(
            f"encoder {feature.encoder} does not give feature {feature.name!r} that the run was trained on:\n"
            + "\n".join(f"    {line}" for line in differing)
            + f"\n    needed: {_needed(feature)}"
        )
    return job


def _config(feature: RunFeature, weights: str | None, device: str) -> ExtractConfig:
    """The options of `extract` that made a feature."""
    weights = weights or feature.options.get("--weights")
    fold = feature.name.rpartition("@")[2]
    if weights and feature.fold is not None and Path(weights).name != f"fold_{fold}":
        weights = str(Path(weights) / f"fold_{fold}")  # of a run of `finetune`, the weights of this fold
    precision: Any = feature.fingerprint.get("precision", "auto")
    return ExtractConfig(
        dataset=feature.corpus,
        encoders=feature.encoder,
        weights=weights,
        layers=feature.options.get("--layers", "last"),
        window=feature.options.get("--window"),
        channel=_channel(feature),
        views=recorded_view(feature.fingerprint),
        device=device,
        precision=precision if ENCODERS[feature.encoder].pretrained else "auto",
        dtype=_dtype_option(feature.dtype),
    )


def _channel(feature: RunFeature) -> Any:
    """The option of `extract` for what was encoded of several channels."""
    mono = feature.fingerprint.get("audio", {}).get("mono")
    return next((channel for channel, name in MIXES.items() if name == mono), "mean")


def _dtype_option(dtype: str) -> Any:
    """The option of `extract` for a type of a store; the values of an int8 feature were close to float16 before."""
    return next((option for option, stored in DTYPES.items() if stored == dtype), "fp16")


def _differences(recorded: Mapping[str, Any], built: Mapping[str, Any]) -> list[str]:
    """A line for each setting that differs, with the run's value and the present one."""
    return [
        f"{key}: the run has {json.dumps(recorded.get(key))}, here it is {json.dumps(built.get(key))}"
        for key in sorted({*recorded, *built})
        if key not in TEXT_ORIGIN and recorded.get(key) != built.get(key)
    ]


def _needed(feature: RunFeature) -> str:
    """What the run was trained with, and how to name it."""
    parts = [f"encoder {feature.encoder}"]
    if digest := feature.fingerprint.get("weights"):
        where = feature.repository or feature.options.get("--weights")
        parts.append(f"weights {digest}{f' from {where}' if where else ''}")
        label = feature.modality if feature.member is None else feature.name
        parts.append(f"name them with --weights {label}=FOLDER")
    return "; ".join(parts)


def text_note(features: Sequence[RunFeature], recogniser: str | None) -> str | None:
    """A remark where the texts of a prediction come from elsewhere than those that the run was trained on."""
    recorded = next((f.fingerprint.get("recogniser") for f in features if f.modality == "text"), None)
    if recogniser is None or recorded == recogniser:
        return None
    trained_on = f"texts of {recorded} where there was no transcript" if recorded else "transcripts"
    return f"texts are recognised by {recogniser}; the run was trained on {trained_on}"
