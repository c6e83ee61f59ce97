"""`emofuse manifest` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import commands
from extract_samples import put_wav


def test_a_protocol_that_needs_texts_says_so_and_the_manifest_is_written(tmp_path: Path) -> None:
    for speaker in ("DC", "JE", "JK", "KL"):
        put_wav(tmp_path / "savee" / speaker / "a01.wav", 0.2)
    result = commands.run("manifest", ["savee", "--root", "savee", "--out", "m.jsonl", "--quiet"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "protocol savee7-sentences: needs texts: 4 of 4 utterances have none" in result.stdout
    assert "protocol savee7: utterances in all: found 4, expected 480" in result.stdout
    assert (tmp_path / "m.jsonl").is_file()


def test_a_protocol_without_expected_counts_claims_no_match(tmp_path: Path) -> None:
    header = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
    (tmp_path / "Labels").mkdir()
    (tmp_path / "Labels/labels_consensus.csv").write_text(f"{header}MSP-PODCAST_0001_0008.wav,N,2,4,3,127,Male,Train\n")
    (tmp_path / "Audios").mkdir()
    (tmp_path / "Audios/MSP-PODCAST_0001_0008.wav").touch()
    result = commands.run("manifest", ["msp-podcast", "--root", ".", "--out", "m.jsonl", "--quick"], tmp_path)
    assert "protocol msp-podcast8: 1 utterance; the protocol expects no counts" in result.stdout
    assert "counts as expected" not in result.stdout


def test_json_of_a_corpus_has_counts_exclusions_and_protocols_and_nothing_else(tmp_path: Path) -> None:
    for speaker in ("DC", "JE"):
        put_wav(tmp_path / "savee" / speaker / "a01.wav", 0.2)
    (tmp_path / "savee" / "DC" / "a02.wav").write_bytes(b"no wav")
    result = commands.run("manifest", ["savee", "--root", "savee", "--out", "m.jsonl", "--quiet", "--json"], tmp_path)
    facts = json.loads(result.stdout)
    assert (result.returncode, facts["utterances"], facts["speaker"]) == (1, 2, {"DC": 1, "JE": 1})
    assert [item["modality"] for item in facts["excluded"]] == ["audio"]
    assert facts["protocols"]["savee7"].startswith("utterances in all: found 2, expected 480")
    assert (tmp_path / facts["written_to"]).is_file()
