"""The page of a comparison, section by section."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.common.output.console import plural
from emofuse.common.page.blocks import Page
from emofuse.train.comparison.comparison import Comparison
from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.comparison.page.agreement import agreement_section
from emofuse.train.comparison.page.classes import classes_section
from emofuse.train.comparison.page.groups import groups_section
from emofuse.train.comparison.page.provenance import made_section, statistics_section
from emofuse.train.comparison.page.record import ComparisonRecord, PageMaterial, letters_line
from emofuse.train.comparison.page.result import result_section
from emofuse.train.comparison.page.settings import settings_section
from emofuse.train.comparison.page.utterances import utterances_section


def comparison_page(comparison: Comparison, runs: Sequence[RunPredictions], material: PageMaterial) -> Page:
    """The page of a comparison.

    Args:
        comparison: What was found.
        runs: The compared runs, in the order of `comparison.runs`.
        material: What else is at hand.
    """
    record = ComparisonRecord.of(comparison, runs, material)
    first = runs[0]
    of_class = not first.found
    groups = groups_section(record) if first.target.has_class else None
    names = [run.name for run in comparison.runs]
    title = " and ".join(names) if len(names) == 2 else plural(len(names), "run")
    return Page(
        title=f"{title} on {comparison.protocol}",
        subtitle=f"A comparison of finished runs. {letters_line(names)}",
        classes=record.classes,
        key=record.key,
        sections=[
            result_section(record),
            settings_section(record),
            *([classes_section(record)] if of_class else []),
            *([groups] if groups else []),
            *([agreement_section(record), utterances_section(record)] if first.target.has_class else []),
            statistics_section(record),
            made_section(record),
        ],
    )
