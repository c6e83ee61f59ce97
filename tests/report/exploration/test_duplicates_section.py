"""Duplicates on the page: identical recordings and possible near-duplicates across folds, with their speakers."""

from __future__ import annotations

from emofuse.common.page.blocks import Table, Text
from emofuse.manifests.schema import Utterance
from emofuse.report.exploration.measure.collection import Collection, Entry
from emofuse.report.exploration.measure.copies import Copies
from emofuse.report.exploration.sections.copies import copy_section
from emofuse.report.exploration.sections.material import Material
from emofuse.train.resolve.leaks.near_duplicates import NearDuplicate


def entry(id: str, speaker: str, label: str = "calm") -> Entry:
    """An utterance as the page shows it."""
    return Entry(id=id, corpus="tiny", utterance=Utterance(id=id), label=label, speaker=speaker, session=None,
                 gender=None, sentence=None)  # fmt: skip


def test_identical_recordings_and_near_duplicates_are_tables() -> None:
    pair, other = (entry("03-01", "03"), entry("03-02", "03", "sad")), entry("07-01", "07")
    near = NearDuplicate(test="03-01", other="07-01", fold=2, correlation=0.98765)
    copies = Copies(equal_audio=(pair,), near=[near], protocol="tiny4", scanned=3)
    section = copy_section(
        Material(collection=Collection(stores=(), entries=(*pair, other)), features=(), copies=copies)
    )
    text, identical, possible = section.blocks
    assert isinstance(text, Text)
    assert text.lines[0] == "1 recording occurs more than once, byte by byte, among 3 utterances."
    assert isinstance(identical, Table)
    assert [column.name for column in identical.columns] == ["recording", "id", "label"]
    assert identical.rows == [("1", "03-01", "calm"), ("1", "03-02", "sad")]
    assert identical.caption == "The same in all rows: speaker (03)."
    assert isinstance(possible, Table)
    assert possible.title == "Possible near-duplicates across the folds of tiny4"
    assert possible.rows == [("03-01", "03", "07-01", "07", 2, 0.98765)]
