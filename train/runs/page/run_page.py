"""The page of a run, section by section, from its files and from what else is at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from emofuse.common.page.blocks import Page, Section
from emofuse.train.runs.page.calibration import calibration_sections
from emofuse.train.runs.page.classes import classes_section
from emofuse.train.runs.page.groups import groups_sections
from emofuse.train.runs.page.learning import learning_sections
from emofuse.train.runs.page.modalities import modalities_sections
from emofuse.train.runs.page.protocol_words import protocol_section
from emofuse.train.runs.page.provenance import made_section
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.page.result import result_section
from emofuse.train.runs.page.score_tables import scores_section
from emofuse.train.runs.page.utterances import utterances_section


def _no_sound(id: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageExtras:
    """What a page shows besides the content of the run's files."""

    texts: Mapping[str, str] | None = None
    """Id -> what is said in the utterance; None where withheld or unknown."""
    sound: Callable[[str], str | None] = _no_sound
    """The link to the recording of an utterance, None where there is none."""
    remarks: Callable[[], Sequence[str]] = tuple
    """What of texts and recordings is not shown, and why; phrases that begin in lower case. Asked after `sound`."""
    model_sections: Sequence[Section] = ()
    """What the trained models show; stands after the learning curves."""
    more_command: str | None = None
    """A command that adds what is not drawn here."""


def run_page(record: RunRecord, extras: PageExtras = PageExtras()) -> Page:
    """The page of a run or of an evaluation."""
    sections = [
        result_section(record),
        protocol_section(record),
        scores_section(record),
        classes_section(record),
        *groups_sections(record),
        *modalities_sections(record),
        *calibration_sections(record),
        *learning_sections(record),
        *extras.model_sections,
        utterances_section(record, extras.texts, extras.sound, extras.remarks),
        made_section(record, extras.more_command),
    ]
    return Page(
        title=f"{record.metrics['model']} on {record.metrics['protocol']}",
        subtitle=record.name,
        sections=sections,
        classes=record.metrics["classes"],
    )
