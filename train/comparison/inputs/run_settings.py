"""What each compared run was made with, from its config.json, so that a page can say what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from emofuse.common.nested import flatten, plain_text
from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.runs.reporting.run_identity import FREE_KEYS, option_values

_CALL_KEYS = ("versions", "commit", "device")
"""What config.json records of a call and a score may depend on."""
_UNSET = ("", "None", "False")


def settings_of(run: RunPredictions) -> dict[str, str]:
    """Name -> value of model, features, options, seeds, protocol, stores and versions.

    Names with a point are details of a feature or of the protocol.
    """
    config, identity = run.run.config, run.run.config["run"]
    options = {k: v for k, v in option_values(identity).items() if k not in ("seed", "folds")}
    folds = sorted(set(run.folds.tolist()))
    settings = {
        "model": str(run.run.metrics["model"]),
        **dict(_features(identity)),
        **options,
        "seeds": plain_text(run.seeds),
        "folds": plain_text(folds),
        **_texts(flatten({"protocol": {key: run.protocol.get(key) for key in FREE_KEYS}})),
        "manifest": str(identity.get("manifest", "")),
        "trained run": str(config.get("evaluated_run", "")),
        # Where a store lay says nothing: what it holds is in the manifest's digest and in the features' fingerprints.
        **{f"store of {corpus}": PurePath(path).name for corpus, path in config.get("stores", {}).items()},
        **_calls(config.get("calls", ())),
    }
    return {name: value for name, value in settings.items() if value not in _UNSET}


def _features(identity: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    standardised = identity.get("standardised", ())
    for modality, feature in identity.get("features", {}).items():
        yield f"{modality} feature", str(feature["name"])
        yield f"{modality} encoder", str(feature.get("encoder", ""))
        if standardised:
            yield f"{modality} standardised", "yes" if modality in standardised else "no"
        if modality in identity.get("speaker_standardised", ()):
            yield f"{modality} standardised", "by speaker"
        details = {key: value for key, value in feature.get("fingerprint", {}).items() if key != "encoder"}
        yield from _texts(flatten({modality: details})).items()


def _calls(calls: Any) -> dict[str, str]:
    """The versions and so on of all calls that made the run, each once."""
    found: dict[str, dict[str, None]] = {}
    for call in calls:
        for key, value in flatten({key: call[key] for key in _CALL_KEYS if key in call}).items():
            text = _short_commit(str(value)) if key == "commit" else plain_text(value)
            found.setdefault(key.removeprefix("versions."), {})[text] = None
    return {key: ", ".join(values) for key, values in found.items()}


def _short_commit(commit: str) -> str:
    digest, dash, dirty = commit.partition("-")
    return f"{digest[:10]}{dash}{dirty}"


def _texts(flat: Mapping[str, Any]) -> dict[str, str]:
    return {key: plain_text(value) for key, value in flat.items()}
