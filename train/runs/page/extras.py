"""What the page of a run shows besides the content of the run's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from emofuse.common.page.blocks import Section
from emofuse.manifests.schema import Utterance


def _no_sound(id: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageExtras:
    """What a page shows besides the content of the run's files."""

    texts: Mapping[str, str] = field(default_factory=dict)
    """Id -> what is said in the utterance, where known and not withheld."""
    about: Mapping[str, Utterance] = field(default_factory=dict)
    """Id -> what the store says of the utterance: how long it is, which turn of its dialogue."""
    sound: Callable[[str], str | None] = _no_sound
    """The link to the recording of an utterance, None where there is none."""
    remarks: Callable[[], Sequence[str]] = tuple
    """What of texts and recordings is not shown, and why; phrases that begin in lower case. Asked after `sound`."""
    model_sections: Sequence[Section] = ()
    """What the trained models show; stands after the learning curves."""
    more_command: str | None = None
    """A command that adds what is not drawn here."""


NOTHING_MORE = PageExtras()
"""Of a page that shows the run's files alone."""
