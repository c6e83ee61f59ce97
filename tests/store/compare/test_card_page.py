"""The pages of `emofuse store card --html`: a card and a comparison for people, with texts that stay text."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from store_samples import arrays, manifest

from emofuse.common.page.render import render
from emofuse.store import FeatureData, write_store
from emofuse.store.commands.store import store as command
from emofuse.store.compare import card_page as pages
from emofuse.store.compare.card import compare, digest_of
from emofuse.store.compare.card_file import card_at

M = manifest()
ATTACK = "</script><img src=x onerror=alert(1)>"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["card", *map(str, arguments)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    data = FeatureData(modality="audio", arrays=arrays(M), fingerprint={"weights": {"layer": 7}})
    write_store(tmp_path / "a.h5", M, {"hubert": data})
    return tmp_path / "a.h5"


@pytest.fixture
def card(path: Path) -> dict[str, Any]:
    return card_at(path)


def test_the_page_has_what_the_card_has(path: Path, card: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "card.html"
    assert run(path, "--html", page).exit_code == 0
    html = page.read_text()
    assert all(u["id"] in html and u["audio_digest"] in html for u in card["utterances"])
    assert card["digest"] in html
    assert card["features"]["hubert"]["marks"] in html
    assert re.search(r"weights\.layer</th>\s*<td[^>]*>7<", html)
    assert re.search(r"<tfoot><tr>\s*<th[^>]*>all</th><td[^>]*>6</td><td[^>]*>6</td><td[^>]*>12<", html)
    assert 'aria-label="hap 6, sad 6."' in html


def test_two_cards_are_compared_on_a_page(path: Path, tmp_path: Path) -> None:
    other, page = tmp_path / "b.h5", tmp_path / "cards.html"
    shorter = tuple(replace(u, seconds=1.0) if u.id == "u002" else u for u in M.utterances)
    data = FeatureData(modality="audio", arrays=arrays(M), fingerprint={"weights": {"layer": 8}})
    write_store(other, replace(M, utterances=shorter), {"hubert": data})
    result = run(path, "--against", other, "--html", page)
    assert result.exit_code == 1
    assert "durations differ: 1: u002" in result.stdout, "the lines are printed all the same"
    html = page.read_text()
    assert '<p class="value">Different</p>' in html
    assert "durations differ: 1: u002 2.5 | 1.0" in html
    assert "fingerprint.weights.layer: here 7, there 8" in html
    assert run(path, "--against", path, "--html", page).exit_code == 0
    assert '<p class="value">The same</p>' in page.read_text()


def test_a_hostile_card_stays_text(card: dict[str, Any]) -> None:
    evil = ATTACK + "\u202e$x$"
    hubert = {**card["features"]["hubert"], "encoder": evil, "fingerprint": {evil: evil}}
    there = {**card, "corpus": evil, "reader": evil, "labels": {evil: 12}, "sessions": {evil: {evil: 12}}}
    there |= {"features": {evil: hubert, "hubert": hubert}, "utterances": [{**card["utterances"][0], "id": evil}]}
    there["digest"] = digest_of(there)
    for page in (pages.card_page(there), pages.cards_page(card, there, compare(card, there))):
        html = render(page)
        assert "<img" not in html
        assert "\u202e" not in html
        assert "&lt;img src=x" in html


def test_a_card_without_labels_durations_or_features_has_a_page(card: dict[str, Any]) -> None:
    silent = [{"id": u["id"], "seconds": None, "audio_digest": None} for u in card["utterances"]]
    empty = {**card, "features": {}, "labels": {"": 12}, "sessions": {"": {"": 12}}, "utterances": silent}
    html = render(pages.card_page(empty))
    assert "The store has no features." in html
    assert "no label" in html
    assert "Durations" not in html
    assert "Utterances of each label" in html
    assert "no session" not in html


def test_a_large_card_has_its_first_utterances_and_says_so(
    card: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_UTTERANCES", 5)
    html = render(pages.card_page(card))
    assert "The first 5; the card itself, a JSON file, has all 12." in html
    assert "u004" in html
    assert "u005" not in html


def test_a_missing_extra_is_named_and_nothing_is_written(path: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['jinja2'] = None\n"
        "from emofuse.store.commands.store import store; store()"
    )
    page, out = tmp_path / "card.html", tmp_path / "card.json"
    arguments = ["card", str(path), "--html", str(page), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'emofuse[report]'" in done.stderr
    assert not page.exists()
    assert not out.exists()


def test_labels_have_the_names_of_their_classes(card: dict[str, Any]) -> None:
    labels = {"W": 7, "L": 5}
    html = render(pages.card_page({**card, "corpus": "emodb", "labels": labels, "sessions": {"": labels}}))
    assert re.search(r"W \(anger\)</th><td[^>]*>7<", html)
    assert re.search(r"L</th><td[^>]*>5<", html), "no class has it"
    assert re.search(r"<tfoot><tr>\s*<th[^>]*>all</th><td[^>]*>12<", html)


def test_absent_values_have_no_null_in_the_differences(card: dict[str, Any]) -> None:
    labels = {"F": 12}
    there = {**card, "labels": labels, "sessions": {"": labels}}
    lines = compare(card, there).counts
    assert lines[0] == "label 'F': here 0, there 12"
    assert "no session, label 'F': here 0, there 12" in lines
    hubert = {**card["features"]["hubert"], "frame_rate": None}
    other = {**card, "features": {"hubert": {**hubert, "frame_rate": 50.0}}}
    expected = ("frame_rate: here none, there 50.0",)
    assert compare({**card, "features": {"hubert": hubert}}, other).features["hubert"] == expected
