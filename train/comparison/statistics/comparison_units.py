"""Which utterances of a comparison belong together: what is exchanged by its test and drawn for its intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from emofuse.common.errors import UsageError
from emofuse.common.output.console import plural
from emofuse.manifests.metrics.resampling import ResamplingUnits, named_units, resampling_units
from emofuse.manifests.names.joint import corpus_of
from emofuse.train.comparison.inputs.run_predictions import Row, RunPredictions
from emofuse.train.comparison.statistics.paired_tests import ALPHA

Unit = Literal["auto", "speaker", "session", "dialogue", "utterance"]


def units_of(runs: Sequence[RunPredictions], unit: Unit = "auto") -> tuple[ResamplingUnits, list[str]]:
    """The units of the test utterances that all `runs` share, and notes on them.

    `auto` is speakers, if the protocol keeps them apart and all are known; else what the protocol holds out.

    Raises:
        UsageError: `unit` is not known of every utterance.
    """
    protocol, ids = runs[0].protocol, runs[0].ids
    if unit == "utterance":
        return named_units(ids, "utterance"), []
    by_id = {id: row for run in reversed(runs) for id, row in run.utterance_rows().items()}
    if not by_id.keys() >= set(ids):
        return _units_of_folds(runs[0], unit)
    rows = [by_id[id] for id in ids]
    if unit == "auto":
        by_speaker = _keeps_speakers_apart(protocol, rows) and all(row["speaker"] for row in rows)
        units = _by("speaker", rows) if by_speaker else resampling_units(protocol, rows)
        return units, _session_note(units, rows)
    unknown = [row["id"] for row in rows if not row[unit]]
    if unknown:
        known = [key for key in ("speaker", "session", "dialogue") if all(row[key] for row in rows)]
        raise UsageError(
            f"--unit {unit}: {plural(len(unknown), 'test utterance')} without a {unit} ({', '.join(unknown[:3])}); "
            f"valid: {', '.join(['auto', *known, 'utterance'])}"
        )
    return _by(unit, rows), []


def _by(key: str, rows: Sequence[Row]) -> ResamplingUnits:
    return resampling_units({"fold_by": key, "disjoint": [key], "joint": None}, rows)


def _keeps_speakers_apart(protocol: Mapping[str, Any], rows: Sequence[Row]) -> bool:
    """Whether no test speaker is in training; a corpus that is only tested shares none."""
    joint = protocol.get("joint")
    if not joint:
        return "speaker" in protocol["disjoint"]
    tested = {corpus_of(row["id"]) for row in rows}
    return all(corpus == joint["test_corpus"] or "speaker" in joint["disjoint"][corpus] for corpus in tested)


def _session_note(units: ResamplingUnits, rows: Sequence[Row]) -> list[str]:
    """Where speakers share sessions: they are not independent either."""
    sessions = {row["session"] for row in rows}
    if units.kind != "speaker" or not all(sessions) or not 1 < len(sessions) < units.count:
        return []
    return [
        f"The {units.count} speakers share {len(sessions)} sessions and are taken as independent. Where models differ "
        f"from session to session, p falls below {ALPHA:g} too often; compare --unit session is stricter."
    ]


def _units_of_folds(run: RunPredictions, unit: Unit) -> tuple[ResamplingUnits, list[str]]:
    """The units of runs without utterances.csv: the folds, if they hold out speakers or sessions."""
    if unit != "auto":
        raise UsageError(
            f"--unit {unit}: these runs have no utterances.csv, which version 0.1.0 did not write; use auto"
        )
    held_out = run.protocol["fold_by"] in ("speaker", "session") and len(set(run.folds)) > 1
    units = named_units(run.folds.tolist(), "fold") if held_out else named_units(run.ids, "utterance")
    return units, ["These runs have no utterances.csv (version 0.1.0): whose the utterances are is unknown."]
