"""Libraries that only some uses need: found, or named with the extra that installs them."""

from __future__ import annotations

import json
import sys

import pytest

from emofuse.common.errors import UsageError
from emofuse.common.optional import optional_library


def test_a_library_that_is_there_is_imported() -> None:
    assert optional_library("json", "exchange", "this format") is json


def test_one_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "audformat", None)
    with pytest.raises(UsageError, match=r"^the database db needs audformat.*: pip install 'emofuse\[audformat\]'$"):
        optional_library("audformat", "audformat", "the database db")
