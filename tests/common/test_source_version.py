"""The commit of the running code: from its checkout, from what pip recorded, or unknown; never an error."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from emofuse.common import source_version
from emofuse.common.umbrella import main


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    source_version.commit.cache_clear()
    yield
    source_version.commit.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_is_asked_and_changes_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    git(tmp_path, "tag", "v1")
    head = git(tmp_path, "rev-parse", "HEAD")
    monkeypatch.setattr(source_version, "_ROOT", tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert source_version.commit() == head
    (tmp_path / "a.py").write_text("2")
    source_version.commit.cache_clear()
    assert source_version.commit() == f"{head}-dirty"
    version = CliRunner().invoke(main, ["--version"]).output
    assert version.startswith("emofuse, version ")
    assert version.endswith(f"(commit {head}-dirty)\n")


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ('{"url": "https://example.org/e.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}', "abc"),
        ('{"url": "file:///e", "dir_info": {}}', "unknown"),
        ("[]", "unknown"),
        ("{", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_installed_package_has_what_pip_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: str | None, expected: str
) -> None:
    info = tmp_path / "emofuse-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: emofuse\nVersion: 9\n")
    if recorded is not None:
        (info / "direct_url.json").write_text(recorded)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(source_version, "_ROOT", tmp_path)
    assert source_version.commit() == expected


def test_a_folder_above_with_a_repository_of_its_own_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "emofuse-9.dist-info").mkdir()
    (tmp_path / "emofuse-9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: emofuse\nVersion: 9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(source_version, "_ROOT", tmp_path / "site-packages")
    assert source_version.commit() == "unknown"


def test_a_machine_without_git_or_with_a_damaged_repository_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").write_text("damaged")
    monkeypatch.setattr(source_version, "_ROOT", tmp_path)
    assert source_version.commit() == "unknown"
    source_version.commit.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert source_version.commit() == "unknown"
