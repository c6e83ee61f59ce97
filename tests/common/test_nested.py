"""Nested mappings as one level."""

from __future__ import annotations

from typing import Any

from emofuse.common.nested import flatten, plain_text


def test_keys_keep_their_order_and_deep_nesting_is_no_error() -> None:
    nested = {"z": {"b": {"c": 1}, "d": []}, "e": {}, "a": 2}
    assert list(flatten(nested).items()) == [("z.b.c", 1), ("z.d", []), ("e", {}), ("a", 2)]
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"k": deep or 1}
    assert len(flatten(deep)) == 1


def test_values_as_text() -> None:
    assert [plain_text(v) for v in ([1, ["a", None]], None, {}, 0.5, False)] == ["1, a, ", "", "", "0.5", "False"]
