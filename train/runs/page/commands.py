"""The commands that made a run, as they can be typed again, also with other options."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from emofuse.manifests.names.emobox_keys import dataset_of
from emofuse.train.resolve.features.extract_commands import default_feature_name
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.recorded_features import recorded_features

OWN_SCRIPTS = ("fit", "extract")
"""Commands that are installed under their own names; the others are of `emofuse`."""
Command = Sequence[str] | Mapping[str, Any]
"""A recorded call: `["fit", "--store", "a.h5"]`, or of a function in Python `{"fit": {"store": "a.h5"}}`."""


def made_by(record: RunRecord) -> list[str]:
    """The commands of both stages, as far as they are recorded: those of the features, then each call of the run.

    A `cd` says in which folder they ran, where that is recorded; the first stands before those of the features too,
    whose stores are relative to it.
    """
    calls = [call for call in record.config.get("calls", []) if call.get("command")]
    folder = next((call["folder"] for call in calls if call.get("folder")), "")
    commands = list(dict.fromkeys(line for modality in record.task["features"] for line in _extract(record, modality)))
    lines = [_into(folder), *commands]
    for call in calls:
        if call.get("folder", folder) != folder:
            folder = call["folder"]
            lines.append(_into(folder))
        if (line := called(call["command"])) not in lines:
            lines.append(line)
    return list(filter(None, lines))


def _into(folder: str) -> str:
    return shlex.join(["cd", folder]) if folder else ""


def called(command: Command) -> str:
    """A call as it is typed: in a shell, or in Python."""
    if isinstance(command, Mapping):
        [(function, options)] = command.items()
        return f"emofuse.train.{function}({', '.join(f'{name}={value!r}' for name, value in options.items())})"
    return shlex.join(command if command[0] in OWN_SCRIPTS else ["emofuse", *command])


def changed_fit(record: RunRecord, options: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """The last recorded call of `fit` with other options, in a folder of its own; empty where none is recorded.

    Args:
        options: By their names in Python, such as `score_without`; a list is an option that is repeated.
        without: Names of options to leave out.
    """
    fits = [c for call in record.config.get("calls", []) if (c := call.get("command")) and "fit" in list(c)[:1]]
    if not fits:
        return ""
    dropped = {"out", *without, *options}
    if isinstance(fits[-1], Mapping):
        kept = {name: value for name, value in fits[-1]["fit"].items() if name not in dropped}
        return called({"fit": {**kept, **options}})
    words = _without(fits[-1], {f"--{name.replace('_', '-')}" for name in dropped})
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{name.replace('_', '-')}", str(one)]
    return called(words)


def _without(words: Sequence[str], options: Collection[str]) -> list[str]:
    """The words of a command without some options that take a value, as `--out DIR` or `--out=DIR`."""
    kept, skip = [], False
    for word in words:
        if not skip and word.split("=")[0] not in options:
            kept.append(word)
        skip = not skip and word in options
    return kept


def _extract(record: RunRecord, modality: str) -> list[str]:
    """The commands that made the features of a modality, as far as their provenance records the options."""
    stores = record.config.get("stores", {})
    if len(stores) != 1:
        return []
    [(corpus, store)] = stores.items()
    found = recorded_features(record.config, modality)
    return [_command(feature, about, corpus, store) for feature, about, _ in found if about.get("corpus_options")]


def _command(feature: Mapping[str, Any], recorded: Mapping[str, Any], corpus: str, store: object) -> str:
    name = [] if feature["name"] == default_feature_name(feature["encoder"]) else ["--name", feature["name"]]
    options = [
        *recorded["corpus_options"],
        "--encoder",
        feature["encoder"],
        *recorded.get("encoder_options", []),
        *name,
    ]
    return shlex.join(["extract", "--dataset", dataset_of(corpus), *map(str, options), "--store", str(store)])
