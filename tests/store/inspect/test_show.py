"""`emofuse store show`: one utterance in detail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from inspect_samples import M, flip, lines, partial_store, run
from store_samples import arrays


def test_show_prints_everything(path: Path) -> None:
    result = run("show", path, "u003")
    values = arrays(M)["u003"].astype(np.float16).astype(np.float64)
    rows = {row[0]: row for row in lines(result)}
    assert result.exit_code == 0
    for line in ("audio: wav/u003.wav", "text: Sätze 3 “quoted”", "turn: 3", "extra scenario: improvised"):
        assert f"  {line}\n" in result.stdout
    numbers = [f"{x:.4g}" for x in (values.min(), values.mean(), values.max(), values.std())]
    assert rows["hubert"][1:] == [str(len(values)), f"{len(values) / 50:.2f}", "fresh", "ok", *numbers, "0.0%"]
    assert rows["bert, layer 12"][2] == "-", "tokens have no seconds"


def test_show_a_layer(path: Path) -> None:
    rows = {row[0]: row for row in lines(run("show", path, "u003", "--feature", "bert", "--layer", 11))}
    first = arrays(M, 4, 2, 1)["u003"][:, 0].astype(np.float16)
    assert rows["bert, layer 11"][5] == f"{first.min():.4g}"
    wrong = run("show", path, "u003", "--feature", "bert", "--layer", 3)
    assert wrong.exit_code == 2
    assert "Valid: 11, 12." in wrong.stderr
    none = run("show", path, "u003", "--feature", "hubert", "--layer", 3)
    assert (none.exit_code, none.stderr) == (2, "error: --layer 3: no layer axis in hubert\n")


def test_show_names_the_nearest_of_many(path: Path) -> None:
    result = run("show", path, "u0033")
    assert result.exit_code == 2
    assert "no utterance 'u0033' among the 12 of" in result.stderr
    nearest = result.stderr.split("Nearest: ")[1].split(". ")[0].split(", ")
    assert len(nearest) == 3
    assert nearest[0] == "'u003'"
    assert "Nearest: 'u010', 'u011'. " in run("show", path, "U01").stderr, "what was typed is a part of these"
    assert "is excluded from" in run("show", path, "x").stderr
    assert "'no label'" in run("show", path, "x").stderr
    assert "has no values of utterance 'u011'" in run("show", path, "u011", "--feature", "bert").stderr


def test_show_a_damaged_utterance_and_its_sound_neighbour(path: Path) -> None:
    flip(path, "hubert", "u003")
    result = run("show", path, "u003")
    assert result.exit_code == 3
    assert {row[0]: row for row in lines(result)}["hubert"][4] == "damaged"
    assert "hubert: no picture, its values are damaged" in result.stdout
    assert run("show", path, "u004").exit_code == 0


def test_show_what_is_not_written_yet(path: Path) -> None:
    with partial_store(path, "wavlm", 3):
        result = run("show", path.with_name("s.h5.wavlm.part"), "u009")
    assert result.exit_code == 0
    assert "wavlm: no picture, its values are not written" in result.stdout
