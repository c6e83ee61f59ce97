"""The page of a run is made after its scores, and never at their cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from record_samples import record

from emofuse.train.runs import run_files
from emofuse.train.runs.run_files import REPORT_FILES, write_report


def test_a_fault_in_the_page_is_told_and_keeps_no_run_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*about: Any) -> None:
        raise KeyError("a template\nis broken")

    monkeypatch.setattr(run_files, "run_page", fail)
    folder = tmp_path / "run.part"
    folder.mkdir()
    why_not = write_report(folder, record(), ())
    assert why_not == (
        f"KeyError: 'a template\\nis broken'. The scores are complete; emofuse report {tmp_path / 'run'} tries again"
    )
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_no_fault_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*about: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_files, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(tmp_path, record(), ())


def test_both_files_are_written(tmp_path: Path) -> None:
    assert write_report(tmp_path, record(), ()) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(REPORT_FILES)
