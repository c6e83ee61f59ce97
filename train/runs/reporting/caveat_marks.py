"""One short word for each kind of caveat of a run, for lists of many runs; `caveats` has the sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Metrics = Mapping[str, Any]
SANITY = "sanity"
_KINDS: dict[str, tuple[str, Callable[[Metrics], Any]]] = {
    SANITY: (
        "labels or a modality were shuffled (--shuffle): a check, not a result; it has no rank",
        lambda metrics: "shuffled" in metrics,
    ),
    "short": (
        "fewer utterances than the corpus has (--limit), or less training than the model's preset (--steps, --epochs)",
        lambda metrics: "limit" in metrics or "short_training" in metrics,
    ),
    "reduced": (
        "fewer utterances than the protocol expects (--allow-missing)",
        lambda metrics: metrics.get("reduced"),
    ),
    "whole dialogue": (
        "the model reads the turns after an utterance too, which are not there while the dialogue is going on",
        lambda metrics: metrics.get("context") == "all",
    ),
    "speakers": (
        "features standardised by each speaker's own clips, which uses the tested speakers' clips without labels "
        "(--standardise speaker)",
        lambda metrics: "speaker_standardised" in metrics,
    ),
    "duplicates": (
        "test utterances whose audio is also in training or validation (--allow-duplicates)",
        lambda metrics: metrics.get("duplicate_audio") or metrics.get("evaluation", {}).get("shared_audio"),
    ),
    "near duplicates": (
        "test utterances whose audio may be a copy of audio in training or validation",
        lambda metrics: metrics.get("near_duplicates"),
    ),
    "uncertain": (
        "the interval cannot be trusted: it is over too few speakers, sessions or dialogues",
        lambda metrics: not metrics.get("interval", {}).get("trusted", True),
    ),
    "optimistic": (
        "the run also has a score with the checkpoint chosen on test (--optimism); it is not shown here",
        lambda metrics: "optimistic" in metrics,
    ),
    "final": (
        "the run also has a final model, trained on all data; the scores are not of that model",
        lambda metrics: "final" in metrics,
    ),
    "evaluated": (
        "a trained run that was tested on another store, without training again",
        lambda metrics: "evaluation" in metrics,
    ),
    "trained run": (
        "the run that was evaluated has caveats of its own",
        lambda metrics: metrics.get("evaluation", {}).get("run_caveats"),
    ),
}
MEANINGS = {mark: meaning for mark, (meaning, _) in _KINDS.items()}
"""Mark -> what it means."""


def caveat_marks(metrics: Metrics) -> tuple[str, ...]:
    """The marks of a run, from the content of metrics.json; a run with a caveat has at least one."""
    return tuple(mark for mark, (_, applies) in _KINDS.items() if applies(metrics))
