"""Digests of a folder name what was altered, lost or added."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofuse.common.disk import digests
from emofuse.common.disk.run_folder import write_json
from emofuse.common.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("metrics.json", "fold_1/model.safetensors", "fold_1/digests.json", "seed_0/x.part", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = {name: digests.digest_of(tmp_path / name) for name in digests.files_in(tmp_path)}
    digests.write_digest_file(tmp_path, found)
    return tmp_path


def test_all_files_are_covered_except_hidden_and_temporary_ones(folder: Path) -> None:
    assert list(digests.read_digests(folder) or {}) == [
        "fold_1/digests.json",
        "fold_1/model.safetensors",
        "metrics.json",
    ]


def test_what_was_altered_or_lost_is_named(folder: Path) -> None:
    recorded = digests.read_digests(folder)
    assert recorded is not None
    assert digests.altered_files(folder, recorded) == []
    (folder / "metrics.json").write_text("other")
    (folder / "fold_1" / "model.safetensors").unlink()
    assert digests.altered_files(folder, recorded) == [
        "fold_1/model.safetensors is missing",
        "metrics.json was altered",
    ]
    assert digests.altered_files(folder, recorded, ["metrics.json"]) == ["metrics.json was altered"]


def test_a_folder_without_digests_has_none(tmp_path: Path) -> None:
    assert digests.read_digests(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        {"algorithm": "md5", "files": {}},
        {"algorithm": "xxh3-128", "files": []},
        {"algorithm": "xxh3-128", "files": {"metrics.json": 3}},
        {"algorithm": "xxh3-128", "files": {"../metrics.json": "0"}},
        {"algorithm": "xxh3-128", "files": {"/etc/passwd": "0"}},
    ],
)
def test_damaged_digests_are_one_data_error(tmp_path: Path, content: object) -> None:
    write_json(tmp_path / "digests.json", content)
    with pytest.raises(DataError, match=r"digests\.json is damaged"):
        digests.read_digests(tmp_path)
