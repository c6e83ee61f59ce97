"""The protocol of a run in words: what is held out, what chooses the weights, what the features go through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emofuse.common.output.console import as_sentence, plural
from emofuse.common.page.blocks import Column, Details, Section, Table, Text
from emofuse.manifests.metrics.scores import short_name
from emofuse.manifests.row_filter import where_text
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.leak_report import near_duplicate_lines, uneven_classes

MOST_EXCLUDED = 200
"""How many utterances without a feature are listed."""


def protocol_section(record: RunRecord) -> Section:
    """How the score was made, in sentences."""
    metrics, protocol = record.metrics, record.protocol
    lines = [
        f"{protocol['name']}: {protocol['source']}.",
        *_selected(protocol),
        *held_out(protocol),
        *_selection(record),
    ]
    lines += _inputs(record.task)
    lines += _texts(metrics)
    lines += map(as_sentence, [*near_duplicate_lines(metrics), *uneven_classes(metrics), *metrics.get("remarks", ())])
    if differences := record.config.get("differences"):
        lines.append(f"The task differs from the protocol's counts: {'; '.join(differences)}.")
    if "groups" not in metrics and "target" not in metrics:
        lines.append("An early version of emofuse made this run: speakers, classes and calibration are not recorded.")
    blocks: list[Any] = [Text(lines=lines)]
    if excluded := record.config.get("excluded"):
        blocks.append(_excluded(excluded))
    return Section(name="protocol", title="Protocol", blocks=blocks)


def _selected(protocol: Mapping[str, Any]) -> list[str]:
    """Which utterances belong to the task."""
    return [f"Only utterances with {where_text(protocol['where'])}."] if protocol.get("where") else []


def held_out(protocol: Mapping[str, Any]) -> list[str]:
    """What trains, validates and tests."""
    by, joint = protocol["fold_by"], protocol.get("joint")
    apart = protocol["disjoint"]
    if joint:
        lines = [f"Training corpora: {', '.join(f'{corpus} by {unit}' for corpus, unit in joint['by'].items())}."]
        if joint["test_corpus"]:
            split = f", its {joint['test_split']} split" if joint["test_split"] else ""
            lines.append(f"{joint['test_corpus']} is only tested{split}; no utterance of it is trained on.")
        return lines
    if by == "file":
        lines = [f"The folds are those of the file {protocol['fold_source']} (content {protocol['fold_file']})."]
    elif by == "split":
        lines = ["Train, validation and test are the corpus's official train, dev and test splits."]
    else:
        parts = protocol.get("fold_parts") or 0
        unit = (
            f"one of {parts} parts of the {by}s"
            if parts
            else f"a group of {by}s"
            if protocol["fold_groups"]
            else f"one {by}"
        )
        lines = [
            f"Each fold tests {unit} of {protocol['corpus']}, validates on the next one, and trains on the others."
        ]
    if apart:
        lines.append(f"No {' and no '.join(apart)} is on two sides of a fold.")
    return lines


def _selection(record: RunRecord) -> list[str]:
    if record.is_evaluation:
        about = record.metrics["evaluation"]
        return [f"Nothing was trained: {plural(about['model_count'], 'model')} of the run {about['run']} were asked."]
    metric = short_name(record.headline_metric)
    lines = [
        "The weights are those of the last step; there is no validation."
        if record.task.get("select") == "last"
        else f"The checkpoint with the best {metric} on validation is chosen; the test side is scored once, after that."
    ]
    if record.seeds > 1:
        lines.append(f"Each of {record.seeds} seeds trains every fold again, on the same sides.")
    if final := record.metrics.get("final"):
        lines.append(f"The final model trains on all data for {final['steps']} steps: {final['rule']}.")
    return lines


def _inputs(task: Mapping[str, Any]) -> list[str]:
    """What the features go through, and what weighs the loss."""
    scaled = task.get("standardised", ())
    lines = [
        f"{' and '.join(scaled).capitalize()} features are standardised by statistics of each fold's training side."
        if scaled
        else "No feature is standardised."
    ]
    if by_speaker := task.get("speaker_standardised"):
        whose = "each speaker's own clips in the store, without labels; those of the tested speakers are used too."
        lines = [f"{' and '.join(by_speaker).capitalize()} features are standardised by statistics of {whose}"]
    if task.get("class_weights", "none") != "none":
        lines.append("Classes weigh in the loss in inverse proportion to their frequency on the training side.")
    if task.get("calibrate", "none") != "none":
        lines.append("Each fold fits a temperature of its probabilities on its validation side.")
    return lines


def _texts(metrics: Mapping[str, Any]) -> list[str]:
    texts = metrics.get("repeated_texts")
    if not texts:
        return []
    return [f"{texts['repeated']} of {texts['test_texts']} test texts are also on the training side of their fold."]


def _excluded(excluded: Mapping[str, str]) -> Details:
    rows = [[id, reason] for id, reason in list(excluded.items())[:MOST_EXCLUDED]]
    more = f"The first {MOST_EXCLUDED} of {len(excluded)}." if len(excluded) > MOST_EXCLUDED else ""
    table = Table(
        name="excluded",
        title="Excluded utterances",
        columns=[Column(name="id"), Column(name="reason")],
        rows=rows,
        caption=more,
    )
    return Details(title=f"{plural(len(excluded), 'utterance')} without an up-to-date feature", blocks=[table])
