"""What a reader must know before believing a run's scores; every output of a run shows these lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emofuse.common.output.console import plural
from emofuse.manifests.metrics.resampling import MINIMUM_UNITS

SHUFFLED = {
    "labels": "labels of training and validation permuted, so the score must be at chance (--shuffle labels)",
    "audio": "audio dealt to other utterances, so it must say nothing (--shuffle audio)",
    "text": "text dealt to other utterances, so it must say nothing (--shuffle text)",
}
"""What a sanity run shuffles -> its caveat."""


def caveats(metrics: Mapping[str, Any]) -> list[str]:
    """The caveats of a run, one short phrase each, from the content of metrics.json."""
    found = []
    if metrics.get("reduced"):
        found.append(f"reduced task: {reduced_counts(metrics['reduced'])}")
    if "limit" in metrics:
        found.append(f"short run: {metrics['limit']} utterances (--limit)")
    if "short_training" in metrics:
        found.append(_short_training(metrics["short_training"]))
    if metrics.get("duplicate_audio"):
        tested = plural(len({clip["test"] for clip in metrics["duplicate_audio"]}), "test utterance")
        found.append(f"{tested} with audio that is also in training or validation (--allow-duplicates)")
    if metrics.get("near_duplicates"):
        tested = plural(len({pair["test"] for pair in metrics["near_duplicates"]}), "test utterance")
        found.append(f"{tested} with audio that may be a copy of audio in training or validation")
    if metrics.get("context") == "all":
        found.append("reads the whole dialogue: later turns too, which are not there while it is going on")
    if "speaker_standardised" in metrics:
        what = " and ".join(metrics["speaker_standardised"])
        found.append(f"{what} standardised by each speaker's clips, the tested speakers' too, without labels")
    if "shuffled" in metrics:
        found.append(f"sanity run, not a result: {'; '.join(SHUFFLED[what] for what in metrics['shuffled'])}")
    interval = metrics.get("interval", {})
    if not interval.get("trusted", True):  # runs of version 0.1.0 do not say
        units = plural(interval["units"], interval["unit"])
        found.append(f"the interval cannot be trusted: it is over {units}, fewer than {MINIMUM_UNITS}")
    if "final" in metrics:
        found.append("scores of cross-validation; the final model, trained on all data, has none of its own")
    return found + (_evaluation_caveats(metrics["evaluation"]) if "evaluation" in metrics else [])


def _short_training(short: Mapping[str, Any]) -> str:
    """How much less a model was trained than its preset."""
    unit = "epochs" if "epochs" in short else "steps"
    return f"short training: {short[unit]:g} of the preset's {short['preset']:g} {unit} ({short['option']})"


def _evaluation_caveats(about: Mapping[str, Any]) -> list[str]:
    """Those of a run that was evaluated on another store."""
    trained, tested = about["trained_on"], about["evaluated_on"]
    another = " (another corpus of that name)" if tested in trained.split("+") else ""
    found = [f"evaluated on {tested}{another}, trained on {trained}, not retrained"]
    if about["same_corpus"]:
        found[0] = f"evaluated on a store of {tested}, each utterance by the fold that has tested it, not retrained"
    found += [f"trained run: {caveat}" for caveat in about["run_caveats"]]
    if about["left_out"]:
        found.append(f"left out, as no class of the run: {_counts(about['left_out'])}")
    if about["absent_classes"]:
        absent = ", ".join(about["absent_classes"])
        found.append(f"no utterance of {absent}: UA is over the other classes, and predicting these is an error")
    if about["untested"]:
        found.append(f"left out, as the run has not tested them: {plural(about['untested'], 'utterance')}")
    if about["shared_audio"]:
        shared = plural(len(about["shared_audio"]), "utterance")
        found.append(f"the run was trained on the audio of {shared} (--allow-duplicates)")
    if about["unchecked_stores"]:
        found.append(f"not compared with the training audio, as not at hand: {', '.join(about['unchecked_stores'])}")
    return found


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def reduced_counts(reduced: Mapping[str, Any]) -> str:
    """How far a task falls short of its protocol's counts."""
    return f"{reduced['found']} of {reduced['expected']} expected utterances (--allow-missing)"
