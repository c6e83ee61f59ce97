"""Entry points of other packages: listed by name, loaded when used, and reported when wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.registry import Registry

GROUP = "emofuse.tests"


def install(folder: Path, package: str, points: str, source: str = "") -> None:
    """Create an installed package: its module and its metadata."""
    info = folder / f"{package}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n")
    (folder / f"{package}.py").write_text(source)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[int]:
    monkeypatch.syspath_prepend(str(tmp_path))
    numbers: Registry[int] = Registry("number", GROUP, int)
    numbers.add("one", "the first", 1)
    return numbers


def test_a_plugin_is_listed_without_import_and_loaded_when_used(tmp_path: Path, registry: Registry[int]) -> None:
    install(
        tmp_path, "plugin_two", "two = plugin_two:TWO\nbad = plugin_two:ABSENT", '"""The second.\n\nMore."""\nTWO = 2\n'
    )

    assert (registry.names(), "two" in registry) == (["bad", "one", "two"], True)
    assert "plugin_two" not in sys.modules
    assert (registry["one"], registry["two"]) == (1, 2)
    entry = registry.entry("two")
    assert (entry.description, entry.package) == ("The second", "plugin_two 1.2")
    assert registry.entry("one").package is None
    with pytest.raises(UnknownNameError, match=r"no number named 'tow'\. Did you mean 'two'\? Valid: bad, one, two\."):
        registry["tow"]


def test_a_plugin_that_cannot_be_loaded_is_named_and_the_others_work(
    tmp_path: Path, registry: Registry[int], capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "plugin_bad", "bad = plugin_bad:BAD\nten = plugin_bad:TEN", "TEN = 10\n")
    with pytest.raises(UsageError, match=r"number 'bad' of plugin_bad 1\.2 cannot be loaded: AttributeError: .*BAD"):
        registry["bad"]
    assert [entry.name for entry in registry] == ["one", "ten"]
    assert "note: number 'bad' of plugin_bad 1.2 cannot be loaded" in capsys.readouterr().err


def test_a_plugin_of_another_type_is_refused(tmp_path: Path, registry: Registry[int]) -> None:
    install(tmp_path, "plugin_text", "two = plugin_text:TWO", "TWO = 'two'\n")
    with pytest.raises(UsageError, match=r"'two' of plugin_text 1\.2 is plugin_text:TWO, a str; expected a .*int"):
        registry["two"]


def test_a_name_that_is_registered_twice_is_refused(tmp_path: Path, registry: Registry[int]) -> None:
    install(tmp_path, "plugin_a", "one = plugin_a:ONE\nsix = plugin_a:SIX", "ONE = SIX = 1\n")
    install(tmp_path, "plugin_b", "six = plugin_b:SIX", "SIX = 6\n")
    with pytest.raises(UsageError, match=r"number 'one' is registered by emofuse and by plugin_a 1\.2: uninstall"):
        registry["one"]
    with pytest.raises(UsageError, match=r"number 'six' is registered by plugin_[ab] 1\.2 and by plugin_[ab] 1\.2"):
        registry["six"]
