"""MSP-IMPROV as it is released: names, ratings and transcriptions in its forms (the clips are empty)."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.registry import read_corpus
from emofuse.manifests import protocol_files
from emofuse.manifests.gender import gender_of
from emofuse.manifests.schema import Excluded, Utterance

RATINGS = """UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.800000; V:3.600000; D:3.000000 ; N:NaN;
20131113-p1; Neutral; Neutral,Concerned; A:3.000000; V:4.000000; D:3.000000; N:4.000000;
20131113-p2; Happy; Happy; A:3.000000; V:4.000000; D:3.000000; N:4.000000;
20131114-p3; Neutral; Neutral; A:2.000000; V:3.000000; D:3.000000; N:4.000000;

UTD-IMPROV-S20H-M06-T-FM03.avi; X; A:4.1; V:2.0; D:3.5; N:4.0;
20131114-p3; Other-Bored; Other; A:2.000000; V:3.000000; D:3.000000; N:4.000000;
"""
IDS = ("MSP-IMPROV-S01A-F01-P-FM01", "MSP-IMPROV-S20H-M06-T-FM03")


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(params=["", "Audio/"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write(tmp_path / "Evalution.txt", RATINGS)
    write(tmp_path / request.param / f"session1/S01A/P/{IDS[0]}.wav")
    write(tmp_path / request.param / f"session6/S20H/T/{IDS[1]}.wav")
    return tmp_path


def test_what_names_and_ratings_say(root: Path) -> None:
    write(root / f"All_human_transcriptions/session1/{IDS[0]}.txt", "How can I\nnot. \n")
    first, second = read_corpus("msp-improv", root)[0].utterances
    assert first == Utterance(
        id=IDS[0],
        audio=first.audio,
        text="How can I not.",
        label="N",
        speaker="F01",
        session="1",
        dialogue="1-S01A-P",
        extra={
            "scenario": "natural",
            "sentence": "S01",
            "intended": "A",
            "gender": "F",
            "arousal": 2.8,
            "valence": 3.6,
            "dominance": 3.0,
            "votes": "N:2 H:1",
        },
    )
    assert (first.audio or "").endswith(f"session1/S01A/P/{IDS[0]}.wav")
    assert gender_of(first) == "female"
    assert (second.label, second.speaker, second.session, second.text) == ("X", "M06", "6", None)
    assert (second.extra["scenario"], second.extra["votes"]) == ("target-improvised", "O:1")


def test_clips_without_rating_and_ratings_without_clip_are_excluded(root: Path) -> None:
    write(root / "session1/S01A/P/MSP-IMPROV-S01A-M01-P-MF01.wav")
    write(root / "session1/S01A/P/noise.wav")
    write(root / "Evalution.txt", RATINGS + "UTD-IMPROV-S02N-F02-R-FF01.avi; N; A:2; V:3; D:3; N:3;\n")
    manifest = read_corpus("msp-improv", root)[0]
    assert manifest.ids == [*IDS]
    assert set(manifest.excluded) == {
        Excluded(id="session1/S01A/P/noise.wav", reason="not named as a clip of MSP-IMPROV"),
        Excluded(id="MSP-IMPROV-S01A-M01-P-MF01", reason="no label: not in Evalution.txt"),
        Excluded(
            id="MSP-IMPROV-S02N-F02-R-FF01",
            reason="no audio file session2/S02N/R/MSP-IMPROV-S02N-F02-R-FF01.wav",
            modality="audio",
        ),
    }


def test_a_rating_file_without_clips_is_refused(root: Path) -> None:
    write(root / "Evalution.txt", "Dear user, ...\n")
    with pytest.raises(UsageError, match=r"Evalution\.txt names no clip; lines such as"):
        read_corpus("msp-improv", root)


def test_the_protocol_has_the_counts_of_the_paper() -> None:
    protocol = protocol_files.default_for("msp-improv")
    assert protocol.expected is not None
    # Busso et al. 2017, table 4: natural, target read, other improvised, target improvised
    paper = {
        "anger": 38 + 169 + 470 + 115,
        "happiness": 1372 + 88 + 1048 + 136,
        "sadness": 66 + 80 + 633 + 106,
        "neutral": 1164 + 241 + 1789 + 283,
    }
    assert protocol.expected.classes == paper
    assert protocol.expected.total == sum(paper.values()) == 7798
