"""What a comparison page shows besides the runs' predictions: the texts of the stores, and the command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from emofuse.train.comparison.compare_config import CompareConfig
from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.comparison.page.record import PageMaterial
from emofuse.train.runs.run_stores import find_stores


def page_material(config: CompareConfig, runs: Sequence[RunPredictions], folder: Path | None) -> PageMaterial:
    """What is at hand for the page of a call.

    Args:
        config: The options of the call.
        runs: The compared runs.
        folder: Of the page.
    """
    texts, remarks = ({}, ()) if config.no_text else _texts(runs)
    return PageMaterial(folder=folder, texts=texts, remarks=remarks, command=command_of(config))


def _texts(runs: Sequence[RunPredictions]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Id -> text, from the stores of the first run that has them; else why there are none."""
    remarks: tuple[str, ...] = ()
    for run in runs:
        stores = find_stores(run.run, ())
        if stores.texts:
            return stores.texts, tuple(f"{remark[0].upper()}{remark[1:]}." for remark in stores.remarks)
        if stores.withholds_text:
            return {}, ("The stores have digests in place of the texts.",)
        if stores.remarks:
            remarks = ("Texts are not shown: no store of the runs was found where they were trained.",)
    return {}, remarks


def command_of(config: CompareConfig) -> str:
    """The command that a call is, in a shell."""
    words = ["emofuse", "compare", *map(str, config.runs)]
    words += ["--baseline", str(config.baseline)] if config.baseline is not None else []
    words += ["--metrics", ",".join(config.metrics)] if config.metrics else []
    words += ["--unit", config.unit] if config.unit != "auto" else []
    words += ["--missing-as-wrong"] if config.missing_as_wrong else []
    words += ["--no-text"] if config.no_text else []
    words += ["--html", str(config.html)] if config.html is not None else []
    return shlex.join(words)
