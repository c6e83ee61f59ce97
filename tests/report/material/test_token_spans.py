"""Which characters the frames of a run's text feature are of, or one sentence that says why that is unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emofuse.report.material.token_spans import span_finder
from emofuse.train import Run


def run(**features: Any) -> Run:
    """A run with these features, and no files."""
    found = Run(folder=Path("run"), metrics={})
    provenance = {m: f.pop("provenance", {}) for m, f in features.items()}
    vars(found)["config"] = {"run": {"features": features, "protocol": {}}, "provenance": provenance}
    return found


def text(encoder: str, fingerprint: dict[str, Any] | None = None, **about: Any) -> dict[str, Any]:
    return {"name": encoder, "encoder": encoder, "fingerprint": fingerprint or {}, **about}


def test_words_of_the_hashed_encoder() -> None:
    finder, reason = span_finder(run(text=text("hashed")))
    assert reason == ""
    assert finder is not None
    assert finder(["Oh no!", ""]) == [[(0, 2), (3, 5), (5, 6)], [(0, 0)]]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"text": text("somebodys-own")}, "encoder somebodys-own does not say which characters its frames are of"),
        ({"text": text("hashed", {"over_frames": ["mean"]})}, "the feature has one frame for the whole text"),
        (
            {"text": text("hf-text", provenance={"encoder_options": ["--weights", "gone/away"]})},
            "the tokenizer of encoder hf-text was not found: gone/away is neither a folder nor downloaded; name the "
            "folder of the weights with --weights",
        ),
    ],
)
def test_one_sentence_says_why_there_are_none(features: dict[str, Any], expected: str) -> None:
    assert span_finder(run(**features)) == (None, f"words are not shown: {expected}")


def test_the_weights_of_a_fold_and_of_the_first_corpus_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "fold_2").mkdir()
    per_fold = {
        "name": "bert",
        "encoder": "bert",
        "fingerprint": {"bert@2": {}, "bert@3": {}},
        "provenance": {"bert@2": {"encoder_options": ["--weights", str(tmp_path)]}},
    }
    _, reason = span_finder(run(text=per_fold))
    assert (
        reason
        == f"words are not shown: {tmp_path / 'fold_2'} has no tokenizer: expected one of tokenizer.json, "
        + "spiece.model, sentencepiece.bpe.model, spm.model, tokenizer.model, vocab.txt, vocab.json, merges.txt; "
        + "download the whole folder; name the folder of the weights with --weights"
    )
    joint = run(text=text("hf-text", provenance={"a": {"encoder_options": ["--weights", "gone/away"]}}))
    joint.config["run"]["protocol"]["joint"] = {"corpora": ["a"]}
    assert "gone/away" in span_finder(joint)[1]
