"""The page of a run, section by section, from its files and from what else is at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emofuse.common.page.blocks import Headline, Link, Page, Section, Warnings
from emofuse.manifests.metrics import short_name
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.reporting.score_text import score


def _no_sound(id: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageExtras:
    """What a page shows besides the content of the run's files."""

    texts: Mapping[str, str] | None = None
    """Id -> what is said in the utterance; None where withheld or unknown."""
    sound: Callable[[str], str | None] = _no_sound
    """The link to the recording of an utterance, None where there is none."""
    model_sections: Sequence[Section] = ()
    """What the trained models show; stands after the learning curves."""
    more_command: str | None = None
    """A command that adds what is not drawn here."""
    links: Sequence[Link] = ()
    """Other pages."""


def run_page(record: RunRecord, extras: PageExtras = PageExtras()) -> Page:
    """The page of a run or of an evaluation."""
    metrics = record.metrics
    sections = [_result(metrics), *extras.model_sections]
    return Page(title=f"{metrics['model']} on {metrics['protocol']}", sections=sections)


def _result(metrics: Mapping[str, Any]) -> Section:
    name = metrics["metrics"][0]
    blocks: list[Any] = [Headline(value=score(metrics["pooled"][name]), label=f"{short_name(name)}, pooled")]
    if found := caveats(metrics):
        blocks.append(Warnings(lines=found))
    return Section(name="result", title="Result", blocks=blocks)
