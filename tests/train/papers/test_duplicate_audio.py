"""A table whose store has the same audio on two sides of a fold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import train_samples as samples
from paper_samples import raw, request, run

from emofuse.common.errors import UsageError
from emofuse.train.papers.published_table import parse
from emofuse.train.papers.row_jobs import plan_fits_of_table


def test_a_table_on_duplicate_audio_is_refused_or_marked(folder: Path) -> None:
    same = tuple(replace(u, audio_digest="one clip" if u.id.endswith("u000") else u.id) for u in samples.utterances())
    path = samples.store(folder / "same.h5", same)
    table = parse("tiny-table9", raw(folder))
    with pytest.raises(UsageError, match="the same audio is on the test side"):
        plan_fits_of_table(request(folder, table, stores=(path,), only=("Audio",)))
    call = request(folder, table, stores=(path,), only=("Audio",), allow_duplicates=True)
    _, where, _ = run(call)
    mark = "4 test utterances with audio that is also in training or validation (--allow-duplicates)"
    assert mark in (where / "table.csv").read_text()
    assert mark in (where / "table.md").read_text()
