"""What the run cost and how it was made: commands, settings, features, versions, digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.nested import flatten, plain_text
from emofuse.common.output.console import format_size
from emofuse.common.page.blocks import Column, Commands, Details, Facts, PagedTable, Section, Table
from emofuse.train.runs.page.commands import made_by
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.recorded_features import recorded_features

_RUN_KEYS = (
    "model",
    "ablation",
    "augmented",
    "class_weights",
    "select",
    "optimism",
    "calibrate",
    "limit",
    "precision",
    "seed",
    "seeds",
)
"""Settings of the run besides its hyper-parameters."""


def made_section(record: RunRecord, more_command: str | None) -> Section:
    """Cost, commands, settings and provenance.

    Args:
        more_command: Adds to the page what is not drawn.
    """
    blocks: list[Any] = [Facts(title="Cost", facts=_cost(record))]
    if commands := made_by(record):
        blocks.append(Commands(name="commands", title="The commands that made this run", commands=commands))
    if more_command:
        blocks.append(Commands(name="more", title="This command adds more to this page", commands=[more_command]))
    blocks.append(_settings(record))
    blocks.append(Details(title="Provenance: features, stores, versions, digests", blocks=_provenance(record)))
    return Section(name="made", title="How it was made", blocks=blocks)


def _cost(record: RunRecord) -> list[tuple[str, str]]:
    """What is recorded of time, memory and size."""
    metrics, calls = record.metrics, record.config.get("calls", [])
    facts = []
    if metrics.get("wall_seconds") is not None:
        kind = "Predicting" if record.is_evaluation else "Training"
        over = [*(["folds"] if record.has_folds else []), *(["seeds"] if record.seeds > 1 else [])]
        name = f"{kind}, all {' and '.join(over)}" if over else kind
        facts.append((name, _duration(metrics["wall_seconds"])))
    if record.parameters:
        facts.append(("Parameters", f"{record.parameters:,}"))
    if metrics.get("audio_seconds"):
        facts.append(("Audio", f"{metrics['audio_seconds'] / 3600:.2f} h"))
    facts += _encoding(record)
    if metrics.get("peak_memory"):
        facts.append(("Peak memory of a process", format_size(metrics["peak_memory"])))
    facts.append(("Utterances", f"{record.task.get('utterances', record.tested):,}"))
    for key, name in (("device", "Device"), ("threads", "Threads"), ("machine", "Machine"), ("started", "Started")):
        values = list(dict.fromkeys(str(call[key]) for call in calls if call.get(key)))
        if key == "started":
            values = [value[:16].replace("T", " ") + " UTC" for value in values]
        if values:
            facts.append((name, ", ".join(values)))
    return facts


def _encoding(record: RunRecord) -> list[tuple[str, str]]:
    """How long the encoders took for the utterances of the run, where the stores record it."""
    facts = []
    for modality, seconds in record.config.get("encoder_seconds", {}).items():
        provenance = record.config.get("provenance", {}).get(modality, {})
        device = provenance.get("device_name") or provenance.get("device")
        feature = record.task["features"][modality]["name"]
        facts.append((f"Encoding {feature}", _duration(seconds) + (f" on {device}" if device else "")))
    return facts


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.1f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _settings(record: RunRecord) -> Table:
    task = record.task
    unused = "steps" if task.get("settings", {}).get("epochs") else "epochs"
    found = {key: task[key] for key in _RUN_KEYS if task.get(key) not in (None, False)} | dict(task.get("settings", {}))
    found.pop(unused, None)
    return Table(
        name="settings",
        title="Settings",
        columns=[Column(name="setting"), Column(name="value")],
        rows=[[key, plain_text(value)] for key, value in found.items()],
    )


def _provenance(record: RunRecord) -> list[Any]:
    config, task = record.config, record.task
    features = [
        [m, f["name"], f["encoder"], f["dimension"], stored]
        for m in task["features"]
        for f, _, stored in recorded_features(config, m)
    ]
    for copy in task.get("copies", {}).values():
        audio = task["features"]["audio"]
        features.append(["audio, training only", copy["name"], audio["encoder"], audio["dimension"], ""])
    names = ("modality", "feature", "encoder", "dimension", "stored as")
    blocks: list[Any] = [_table("features", "Features", names, features)]
    data = [["manifest digest", str(task.get("manifest", ""))]]
    data += [[f"store of {corpus}", str(path)] for corpus, path in config.get("stores", {}).items()]
    blocks.append(_table("data", "Data", ("what", "value"), data))
    for modality, feature in task["features"].items():
        known = {
            "fingerprint": feature.get("fingerprint", {}),
            "provenance": config.get("provenance", {}).get(modality, {}),
        }
        rows = _values(known)
        if rows:
            blocks.append(_table(f"made-{modality}", f"How {feature['name']} was made", ("key", "value"), rows))
    blocks.append(_table("protocol-fields", "Protocol", ("key", "value"), _values(record.protocol)))
    if calls := config.get("calls"):
        blocks.append(_table("versions", "Versions and calls", ("call", "key", "value"), _call_rows(calls)))
    if weights := record.metrics.get("weights"):
        columns = [Column(name="file"), Column(name="digest (xxh3-128)")]
        rows = [[file, digest] for file, digest in weights.items()]
        blocks.append(PagedTable(name="weights", title="Digests of the weights", columns=columns, rows=rows))
    return blocks


def _call_rows(calls: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    return [
        [str(number), *row]
        for number, call in enumerate(calls, 1)
        for row in _values({k: v for k, v in call.items() if k != "command"})
    ]


def _values(nested: Mapping[str, Any]) -> list[list[str]]:
    """Keys with values; what was not recorded is left out."""
    return [[key, text] for key, value in flatten(nested).items() if (text := plain_text(value))]


def _table(name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    return Table(name=name, title=title, columns=[Column(name=c) for c in columns], rows=rows)
