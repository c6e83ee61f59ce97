"""The sources of a run in its model card: encoders, corpora and their terms, versions, and how to use the result."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.manifests.licences import licence_of
from emofuse.store.core.fitted_on import describe_fitted_on
from emofuse.train.exporting.card.markdown import bullets, escaped, table
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.recorded_features import recorded_features

DOCS = "docs/how-to/exporting.md of emofuse"


def encoder_lines(run: Run) -> list[str]:
    """The features, what their encoders were fitted on, and their fingerprints."""
    rows = [
        [m, f["name"], f["encoder"], f["dimension"], fitted_on(provenance)]
        for m in run.config["run"]["features"]
        for f, provenance, _ in recorded_features(run.config, m)
    ]
    prints = {m: f["fingerprint"] for m, f in run.config["run"]["features"].items()}
    return [
        *table(["modality", "feature", "encoder", "dimension", "fitted on"], rows),
        "Fingerprints (features must be extracted with the same settings):",
        "",
        "```json",
        json.dumps(prints, indent=1, ensure_ascii=True),
        "```",
        "",
    ]


def fitted_on(provenance: Mapping[str, Any]) -> str:
    """What an encoder was fitted on; of several stores or per-fold features, of each."""
    if "fitted_on" in provenance:
        return describe_fitted_on(provenance["fitted_on"])
    members = {name: p["fitted_on"] for name, p in provenance.items() if isinstance(p, Mapping) and "fitted_on" in p}
    return "; ".join(f"{name}: {describe_fitted_on(found)}" for name, found in members.items()) or "not recorded"


def licence_lines(run: Run) -> list[str]:
    """The terms of the corpora."""
    rows = [[corpus, licence_of(corpus).terms, licence_of(corpus).source] for corpus in run.corpora]
    return [
        *table(["corpus", "terms", "stated at"], rows),
        "The terms of a corpus may also cover models trained on it. The weights of the encoders have licences of their "
        "own, which their publishers state. This is no legal advice.",
        "",
    ]


def usage_lines(run: Run, file: str | None) -> list[str]:
    """How the model is used: by the run folder, or by the exported file."""
    items = [f"On recordings, with the run folder: `emofuse predict --run {escaped(run.folder.name)} clip.wav`"]
    return bullets([*items, f"On features, with `{file}` alone: ten lines in {DOCS}"] if file else items)


def origin_lines(run: Run) -> list[str]:
    """Where the run comes from: its name, its start, versions, and the command if it is recorded."""
    calls: Sequence[Mapping[str, Any]] = run.config["calls"]
    last = calls[-1]
    versions = ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in last["versions"].items())
    items = [f"Run: `{run.folder.resolve().name}`, started {escaped(calls[0]['started'])}", f"Versions: {versions}"]
    if last.get("commit"):
        items.append(f"Commit of emofuse: {escaped(last['commit'])}")
    command = last.get("command")
    if command:
        typed = shlex.join(map(str, command)) if isinstance(command, list) else json.dumps(command)
        items.append(f"Command: {escaped(typed)}")
    return bullets(items)
