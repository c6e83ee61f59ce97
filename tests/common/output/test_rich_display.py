"""What notebooks show of a store and of a run."""

from __future__ import annotations

from emofuse.common.output.rich_display import html_display


def test_texts_of_other_people_are_escaped_and_cut() -> None:
    shown = html_display("a<b>\x1b", ["x" * 400], ("one", "two"), [("<script>", 2)])
    assert "<p><strong>a&lt;b&gt;\N{REPLACEMENT CHARACTER}</strong></p>" in shown
    assert "<td>&lt;script&gt;</td><td>2</td>" in shown
    assert "x" * 300 not in shown
