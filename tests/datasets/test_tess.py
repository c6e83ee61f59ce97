"""TESS as it is released and as it circulates (the clips are empty)."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import differences, lay_out

from emofuse.common.errors import UsageError
from emofuse.datasets.registry import CORPORA, read_corpus
from emofuse.datasets.tess import clip_id
from emofuse.manifests import protocol_files
from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.manifests.gender import gender_of

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
WORDS = (
    "back bar base bath bean beg bite boat bone book bought burn cab calm came cause chain chair chalk chat check "
    "cheek chief choice cool dab date dead death deep dime dip ditch dodge dog doll door fail fall far fat fit five "
    "food gap gas gaze germ get gin goal good goose gun half hall hash hate have haze hire hit hole home hurl hush "
    "jail jar join judge jug juice keen keep keg kick kill king kite knock late laud lean learn lease lid life limb "
    "live loaf long lore lose lot love luck make match merge mess met mill mob mode mood moon mop mouse nag name near "
    "neat nice note numb pad page pain pass pearl peg perch phone pick pike pole pool puff rag raid rain raise rat "
    "reach read red ring ripe road room rose rot rough rush said sail search seize sell shack shall shawl sheep shirt "
    "should shout size soap soup sour south sub such sure take talk tape team tell thin third thought thumb time tip "
    "tire ton tool tough turn vine voice void vote wag walk wash week wheat when which whip white wife wire witch "
    "yearn yes young youth "
)
FOLDERS = {"fear": "Fear", "ps": "Pleasant_surprise", "sad": "Sad"}


def names() -> list[str]:
    return [f"{s}_{FOLDERS.get(e, e)}/{s}_{w}_{e}.wav" for s in ("OAF", "YAF") for w in WORDS.split() for e in EMOTIONS]


def test_tess_at_full_size_with_its_misspelled_file_and_every_clip_twice(tmp_path: Path) -> None:
    clips = [name.replace("OAF_bite_neutral", "OA_bite_neutral") for name in names()]
    again = [f"TESS Toronto emotional speech set data/{name}" for name in clips]
    manifest, root = read_corpus("tess", lay_out(tmp_path, *clips, *again))
    assert differences(manifest, ["tess7", "tess7-speakers"]) == []
    assert CORPORA["tess"].missing_groups(manifest) == []
    assert {e.id for e in manifest.excluded} == set(again)
    assert {e.reason for e in manifest.excluded} == {"a second file of a clip"}
    misspelled = next(u for u in manifest.utterances if u.id == "OAF_bite_neutral")
    assert (misspelled.speaker, misspelled.audio) == ("OAF", "OAF_neutral/OA_bite_neutral.wav")
    assert (root / str(misspelled.audio)).is_file()


def test_what_a_file_name_says(tmp_path: Path) -> None:
    (u,) = read_corpus("tess", lay_out(tmp_path, "YAF_pleasant_surprised/YAF_knock_ps.wav"))[0].utterances
    assert (u.id, u.label, u.speaker, u.text) == ("YAF_knock_ps", "ps", "YAF", "Say the word knock.")
    assert dict(u.extra) == {"word": "knock", "sex": "female", "age": 26}
    assert gender_of(u) == "female"
    assert protocol_files.default_for("tess").class_of(u) == "surprise"


@pytest.mark.parametrize("name", ["OAF_back_calm", "YA_back_angry", "OAF_back", "XAF_back_sad"])
def test_other_files_are_no_clips(name: str) -> None:
    assert clip_id(Path(f"{name}.wav")) is None


def test_words_are_on_one_side_alone_and_two_speakers_need_a_fixed_number_of_steps(tmp_path: Path) -> None:
    utterances = read_corpus("tess", lay_out(tmp_path, *names()))[0].utterances
    for fold in build_folds(protocol_files.load("tess7"), utterances, "validation"):
        words = [{u.extra["word"] for u in side} for side in fold.sides.values()]
        assert sum(map(len, words)) == len(set.union(*words)) == 200
    by_speaker = protocol_files.load("tess7-speakers")
    folds = build_folds(by_speaker, utterances, "last")
    assert [(f.name, {u.speaker for u in f.train}) for f in folds] == [("OAF", {"YAF"}), ("YAF", {"OAF"})]
    with pytest.raises(UsageError, match="there are 2; with validation at least 3 are needed; pass --select last"):
        build_folds(by_speaker, utterances, "validation")
