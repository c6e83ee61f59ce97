"""The page of a run, section by section, from its files and from what else is at hand."""

from __future__ import annotations

from emofuse.common.page.blocks import Page
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.runs.page.calibration import calibration_sections
from emofuse.train.runs.page.classes import classes_section
from emofuse.train.runs.page.extras import NOTHING_MORE, PageExtras
from emofuse.train.runs.page.groups import groups_sections
from emofuse.train.runs.page.learning import learning_sections
from emofuse.train.runs.page.modalities import modalities_sections
from emofuse.train.runs.page.protocol_words import protocol_section
from emofuse.train.runs.page.provenance import made_section
from emofuse.train.runs.page.rated_utterances import rated_utterances_section
from emofuse.train.runs.page.ratings import ratings_sections
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.page.result import result_section
from emofuse.train.runs.page.score_tables import scores_section
from emofuse.train.runs.page.utterances import utterances_section


def run_page(record: RunRecord, extras: PageExtras = NOTHING_MORE) -> Page:
    """The page of a run or of an evaluation."""
    target = target_of(record.metrics)
    sections = [
        result_section(record),
        protocol_section(record),
        scores_section(record),
        *([classes_section(record)] if target.classes else []),
        *ratings_sections(record),
        *groups_sections(record),
        *modalities_sections(record),
        *calibration_sections(record),
        *learning_sections(record),
        *extras.model_sections,
        utterances_section(record, extras) if target.classes else rated_utterances_section(record, extras),
        made_section(record, extras.more_command),
    ]
    return Page(
        title=f"{record.metrics['model']} on {record.metrics['protocol']}",
        subtitle=record.name,
        sections=sections,
        classes=record.metrics["classes"],
    )
