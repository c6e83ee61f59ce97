"""What a comparison page shows besides the runs' predictions: the texts of the stores, and the command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from emofuse.common.location import Location
from emofuse.manifests.gender import gender_of
from emofuse.train.comparison.compare_config import CompareConfig
from emofuse.train.comparison.inputs.run_predictions import Row, RunPredictions
from emofuse.train.comparison.page.record import PageMaterial
from emofuse.train.runs.recordings import Recordings, audio_roots
from emofuse.train.runs.reporting.utterance_table import COLUMNS
from emofuse.train.runs.run_stores import CorpusUtterance, RunStores, find_stores


def page_material(config: CompareConfig, runs: Sequence[RunPredictions], folder: Path | None) -> PageMaterial:
    """What is at hand for the page of a call.

    Args:
        config: The options of the call.
        runs: The compared runs.
        folder: Of the page.

    Raises:
        UsageError: A store that the user names is not one of the runs.
    """
    unused = config.no_text and not config.store and not config.audio_root
    stores = RunStores() if unused else _stores(runs, config.store)
    texts = {} if config.no_text else stores.texts
    missing = list(stores.remarks)
    if stores.withholds_text and not texts:
        missing.append("the stores have digests in place of them (--no-text)")
    hidden = "texts are not shown: " if not texts else ""
    roots = audio_roots(config.audio_root, stores.corpora)
    recordings = Recordings(stores.utterances, roots, folder or Path())
    return PageMaterial(
        folder=folder,
        texts=texts,
        sound=recordings.sound,
        about={id: _about(member) for id, member in stores.utterances.items()},
        remarks=lambda: [*(f"{hidden}{remark}" for remark in missing), *recordings.remarks],
        command=command_of(config),
    )


def _stores(runs: Sequence[RunPredictions], given: Sequence[Location]) -> RunStores:
    """The stores of the first run of which one is at hand, else those of the first run."""
    found = [find_stores(runs[0].run, given)]
    while not found[-1].utterances and len(found) < len(runs):
        found.append(find_stores(runs[len(found)].run, given))
    return found[-1] if found[-1].utterances else found[0]


def _about(member: CorpusUtterance) -> Row:
    """What utterances.csv says of an utterance, for runs of the version that did not write it."""
    known = {name: getattr(member.utterance, name) or "" for name in COLUMNS}
    return {"id": member.utterance.id, **known, "gender": gender_of(member.utterance, member.corpus) or ""}


def command_of(config: CompareConfig) -> str:
    """The command that a call is, in a shell."""
    words = ["emofuse", "compare", *map(str, config.runs)]
    words += ["--baseline", str(config.baseline)] if config.baseline is not None else []
    words += ["--metrics", ",".join(config.metrics)] if config.metrics else []
    words += ["--unit", config.unit] if config.unit != "auto" else []
    words += ["--missing-as-wrong"] if config.missing_as_wrong else []
    words += [word for store in config.store for word in ("--store", str(store))]
    words += [word for root in config.audio_root for word in ("--audio-root", root)]
    words += ["--no-text"] if config.no_text else []
    words += ["--html", str(config.html)] if config.html is not None else []
    return shlex.join(words)
