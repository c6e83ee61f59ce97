"""CREMA-D as it is released: file names of its scheme, in the numbers that its authors state (the clips are empty)."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import lay_out

from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.cremad import ACTORS, SENTENCES, clip_id
from emofuse.datasets.registry import read_corpus
from emofuse.manifests import protocol_files
from emofuse.manifests.gender import gender_of

HEADER = "ActorID,Age,Sex,Race,Ethnicity\n"


def test_what_a_file_name_and_the_table_of_actors_say(tmp_path: Path) -> None:
    lay_out(tmp_path, "AudioWAV/1001_IEO_ANG_HI.wav", "AudioWAV/1002_DFA_NEU_XX.wav", "AudioWAV/1040_ITH_SAD_X.wav")
    (tmp_path / "VideoDemographics.csv").write_text(HEADER + "1001,51,Male,Caucasian,Not Hispanic\n")
    first, second, third = read_corpus("cremad", tmp_path)[0].utterances
    assert (first.label, first.speaker, first.text) == ("ANG", "1001", "It's eleven o'clock.")
    assert dict(first.extra) == {"sentence": "IEO", "intensity": "high", "sex": "male", "age": 51}
    assert gender_of(first) == "male"
    assert dict(second.extra) == {"sentence": "DFA"}
    assert (third.id, third.label) == ("1040_ITH_SAD_X", "SAD")
    assert len(SENTENCES) == 12
    assert len(ACTORS) == 91


@pytest.mark.parametrize("name", ["1092_IEO_ANG_HI", "1001_XYZ_ANG_HI", "1001_IEO_SUR_HI", "1001_IEO_ANG_XXX"])
def test_other_files_are_no_clips(name: str) -> None:
    assert clip_id(Path(f"{name}.wav")) is None


def test_the_protocol_has_every_actor_once_and_the_stated_counts() -> None:
    protocol = protocol_files.default_for("cremad")
    assert protocol.name == "cremad6"
    grouped = [actor for group in protocol.fold_groups for actor in group]
    assert sorted(grouped) == sorted(ACTORS)
    assert protocol.expected is not None
    assert protocol.expected.total == sum(protocol.expected.classes.values()) == 7442


def test_options_of_other_corpora_are_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, "1001_IEO_ANG_HI.wav")
    with pytest.raises(Exception, match="--meld-clips has no effect"):
        read_corpus("cremad", tmp_path, ReaderOptions(meld_clips="recut"))
