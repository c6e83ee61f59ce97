"""`emofuse store info` and `ls`: they print what the store contains, made safe for a terminal."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
from inspect_samples import M, flip, lines, partial_store, run, two_features
from store_samples import arrays, manifest

from emofuse.manifests.schema import Excluded, Manifest
from emofuse.store import FeatureData, write_store
from emofuse.store.core.fitted_on import describe_fitted_on

FEATURE = {"x": FeatureData(modality="audio", arrays=arrays(M, 4))}
EVIL = "a\x1b]0;gone\x07\x9b31m\u202e"


def test_info_counts_everything(path: Path) -> None:
    result = run("info", path)
    assert result.exit_code == 0
    assert f"{path}: corpus tiny read by tiny-1, 12 utterances, 0.02 h" in result.stdout
    for line in ("label: hap 6, sad 6", "session: 0 6, 1 6", "speaker: s0 4, s1 4, s2 4", "excluded: 1", "x: no label"):
        assert f"  {line}\n" in result.stdout
    rows = {row[0]: row for row in lines(result)}
    assert rows["bert"][1:6] == ["text", "imported", "10", "2", "0"]
    assert rows["hubert"][1:6] == ["audio", "imported", "12", "0", "0"]
    assert (rows["bert"][7], rows["hubert"][9]) == ("2x4", "50 Hz")
    assert 'hubert: weights="abc"' in result.stdout
    facts = json.loads(run("info", path, "--json").stdout)
    assert [f["missing"] for f in facts["features"]] == [2, 0]
    assert (facts["speaker"], facts["split"]) == ({"s0": 4, "s1": 4, "s2": 4}, {})
    assert facts["under_way"] == []


def test_info_of_several_stores_prints_each_and_names_those_that_are_none(path: Path, tmp_path: Path) -> None:
    two_features(tmp_path / "t.h5")
    both = run("info", path, tmp_path / "t.h5")
    assert both.exit_code == 0
    assert both.stdout.index(f"{path}: corpus tiny") < both.stdout.index(f"\n\n{tmp_path / 't.h5'}: corpus tiny")
    facts = json.loads(run("info", path, tmp_path / "t.h5", "--json").stdout)
    assert [f["path"] for f in facts] == [str(path), str(tmp_path / "t.h5")]
    one_missing = run("info", tmp_path / "none.h5", path)
    assert one_missing.exit_code == 2
    assert f"{path}: corpus tiny" in one_missing.stdout
    assert f"no store at {tmp_path / 'none.h5'}" in one_missing.stderr


def test_info_shows_the_good_stores_and_names_all_damaged_ones_at_the_end(path: Path, tmp_path: Path) -> None:
    junk, cut, absent = (tmp_path / name for name in ("junk.h5", "cut.h5", "absent.h5"))
    junk.write_text("not a store")
    cut.write_bytes(path.read_bytes()[:4000])
    result = run("info", junk, path, cut, absent)
    assert (result.exit_code, result.stdout.count("corpus tiny")) == (2, 1)
    headline, *problems = result.stderr.splitlines()
    assert headline == "error: 3 of 4 files cannot be shown:"
    assert [name.name for name in (junk, cut, absent) for line in problems if str(name) in line] == [
        "junk.h5",
        "cut.h5",
        "absent.h5",
    ]
    assert [facts["path"] for facts in json.loads(run("info", "--json", cut, path).stdout)] == [str(path)]
    assert (run("info", cut).exit_code, run("info", path, cut).exit_code) == (3, 2)


def test_verify_as_json_has_every_feature_and_what_is_damaged(path: Path) -> None:
    intact = json.loads(run("verify", path, "--json").stdout)
    assert (intact["path"], intact["quick"]) == (str(path), False)
    assert [(f["feature"], f["utterances"], f["intact"]) for f in intact["features"]] == [
        ("bert", 10, True),
        ("hubert", 12, True),
    ]
    flip(path, "hubert", "u003")
    damaged = run("verify", path, "--json")
    assert (damaged.exit_code, damaged.stderr) == (3, "")
    _, hubert = json.loads(damaged.stdout)["features"]
    assert (hubert["damaged"], hubert["intact"], hubert["unreadable"]) == (["u003"], False, None)
    assert run("verify", path, "--json", "--repair").exit_code == 2


def test_info_names_ten_excluded_items_and_says_how_many_more(tmp_path: Path) -> None:
    excluded = tuple(Excluded(id=f"x{i:02}", reason="no label") for i in range(13))
    write_store(tmp_path / "s.h5", replace(M, excluded=excluded), FEATURE)
    shown = run("info", tmp_path / "s.h5").stdout
    assert "    x09: no label\n    ... and 3 more (--json lists all)\n" in shown
    assert "x10" not in shown


def test_info_wraps_long_fingerprints(tmp_path: Path) -> None:
    fingerprint = {f"setting {i}": "a value of some length" for i in range(20)}
    data = FeatureData(modality="audio", arrays=arrays(M, 4), fingerprint=fingerprint)
    write_store(tmp_path / "s.h5", M, {"x": data})
    shown = run("info", tmp_path / "s.h5").stdout
    assert max(len(line) for line in shown.splitlines() if "setting" in line) <= 120
    assert "".join(shown.split()).count("avalueofsomelength") == 20


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (None, "no labels"),
        ([], "no labels"),
        ([{"corpus": "synthetic", "labels": True, "sessions": ["1"]}], "synthetic, session 1"),
        ([{"corpus": "Tiny", "speakers": ["b", "a"]}, {"corpus": "meld", "splits": ["train"], "labels": False}],
         "meld, split train, without labels; tiny, speaker a, b"),
        ([{"corpus": "unknown", "labels": True}], "unknown"),
        ("everything", "unknown"),
        ([{"corpus": "a\x1b[2J"}], "a\ufffd[2j"),
    ],
)  # fmt: skip
def test_info_says_what_an_encoder_was_fitted_on(tmp_path: Path, stated: object, expected: str) -> None:
    provenance = {} if stated is None else {"fitted_on": stated}
    write_store(tmp_path / "s.h5", M, {"x": FeatureData(modality="audio", arrays=arrays(M), provenance=provenance)})
    assert f"\n  x, fitted on: {expected}\n" in run("info", tmp_path / "s.h5").stdout
    (facts,) = json.loads(run("info", tmp_path / "s.h5", "--json").stdout)["features"]
    assert describe_fitted_on(facts["fitted_on"]) == describe_fitted_on(stated)
    assert facts["provenance"] == provenance


def test_info_names_only_the_first_of_many_speakers(tmp_path: Path) -> None:
    many = replace(M, utterances=tuple(replace(u, speaker=u.id) for u in manifest(30).utterances))
    write_store(tmp_path / "s.h5", many, {"x": FeatureData(modality="audio", arrays=arrays(many))})
    result = run("info", tmp_path / "s.h5").stdout
    assert "u011 1, ... (30 in all)" in result
    assert "u012" not in result


def test_info_of_a_corpus_without_texts_counts_missing_utterances(path: Path, tmp_path: Path) -> None:
    assert run("copy", path, tmp_path / "slim.h5", "--no-text").exit_code == 0
    facts = json.loads(run("info", tmp_path / "slim.h5", "--json").stdout)
    assert [f["missing"] for f in facts["features"]] == [2, 0]


def test_info_lists_features_in_progress_and_their_writer(path: Path) -> None:
    with partial_store(path, "wavlm", 5):
        result = run("info", path).stdout
        assert f"in progress: wavlm, 5 of 12 written, by host {os.uname().nodename}, process {os.getpid()}" in result
    result = run("info", path).stdout
    assert "in progress: wavlm, 5 of 12 written, no process is writing it: the same `extract` resumes it" in result
    part = run("info", path.with_name("s.h5.wavlm.part"))
    assert "5 of 12 written" in part.stdout
    assert run("ls", path.with_name("s.h5.wavlm.part"), "--missing", "wavlm").stdout.endswith("7 of 12 utterances\n")


def test_info_of_a_store_whose_first_feature_is_in_progress(tmp_path: Path) -> None:
    partial_store(tmp_path / "new.h5", "wavlm", 3).close()
    result = run("info", tmp_path / "new.h5")
    assert result.exit_code == 2
    assert "no store at" in result.stderr
    assert "in progress beside it: wavlm, 3 of 12 written" in result.stderr


def test_info_omits_partial_stores_of_another_store_and_survives_a_damaged_one(path: Path) -> None:
    partial_store(path.with_name("s.h5.b.h5"), "wavlm", 3).close()
    path.with_name("s.h5.broken.part").write_bytes(b"nothing")
    result = run("info", path)
    assert result.exit_code == 0
    assert "wavlm" not in result.stdout
    assert "in progress: broken, cannot be read: " in result.stdout


def test_a_damaged_index_is_reported_beside_the_sound_features(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["features/bert/length"][0] += 1
    for verb in (("info", path), ("show", path, "u000")):
        result = run(*verb)
        assert result.exit_code == 3, result.output
        assert "hubert" in result.stdout
        assert "damaged" in result.stdout


def test_ls_prints_one_line_per_utterance(path: Path) -> None:
    result = run("ls", path)
    rows = lines(result)
    assert rows[0] == ["id", "label", "session", "speaker", "split", "seconds", "bert", "hubert"]
    frames = [len(a) for a in arrays(M).values()]
    assert [row[0] for row in rows[1:-1]] == M.ids
    assert [int(row[7]) for row in rows[1:-1]] == frames
    assert rows[2][:6] == ["u001", "hap", "1", "s1", "-", "1.50"]
    assert rows[11][6] == "-", "bert ends after the tenth"
    assert rows[-1] == ["12 utterances"]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--label", "hap"), {"u001", "u003", "u005", "u007", "u009", "u011"}),
        (("--label", "hap", "--label", "sad"), set(M.ids)),
        (("--speaker", "s0", "--session", "0"), {"u000", "u006"}),
        (("--missing", "bert"), {"u010", "u011"}),
        (("--missing", "bert", "--label", "sad"), {"u010"}),
        (("--stale", "bert"), set()),
    ],
)
def test_ls_filters(path: Path, filters: tuple[str, ...], ids: set[str]) -> None:
    result = run("ls", path, *filters, "--json")
    assert {json.loads(line)["id"] for line in result.stdout.splitlines()} == ids
    plain = run("ls", path, *filters)
    assert plain.stdout.endswith(f"{len(ids)} of 12 utterances\n" if len(ids) < 12 else "12 utterances\n")


def test_ls_lists_valid_filter_values(path: Path) -> None:
    for option, wrong, valid in (
        ("--label", "hapy", "Did you mean 'hap'? Valid: hap, sad."),
        ("--session", "5", "Valid: 0, 1."),
        ("--speaker", "s9", "Valid: s0, s1, s2."),
        ("--split", "test", "Valid: none."),
        ("--missing", "brt", "Did you mean 'bert'? Valid: bert, hubert."),
        ("--stale", "nope", "Valid: bert, hubert."),
    ):
        result = run("ls", path, option, wrong)
        assert result.exit_code == 2
        assert valid in result.stderr


def test_ls_as_json_has_everything_and_limit_cuts(path: Path) -> None:
    result = run("ls", path, "--json", "--limit", 2).stdout.splitlines()
    row = json.loads(result[1])
    assert len(result) == 2
    assert (row["text"], row["extra"], row["turn"]) == (M.utterances[1].text, dict(M.utterances[1].extra), 1)
    assert row["frames"] == {"hubert": len(arrays(M)["u001"]), "bert": len(arrays(M, 4, 2, 1)["u001"])}
    assert run("ls", path, "--limit", 2).stdout.endswith("12 utterances, 2 shown\n")
    assert run("ls", path, "--limit", 0, "--json").stdout == ""


def test_what_changed_since_is_stale(path: Path) -> None:
    changed = tuple(replace(u, text="other") if u.id == "u002" else u for u in M.utterances)
    audio = FeatureData(modality="audio", arrays=arrays(M), frame_rate=50.0)
    write_store(path, replace(M, utterances=changed), {"again": audio})
    assert [json.loads(x)["id"] for x in run("ls", path, "--stale", "bert", "--json").stdout.splitlines()] == ["u002"]
    result = run("ls", path, "--stale", "bert").stdout
    assert "(!: stale)" in result
    assert re.search(r"^u002 .*\d!", result, re.M)
    assert {row[0]: row[5] for row in lines(run("info", path)) if row[0] == "bert"} == {"bert": "1"}
    shown = {row[0]: row for row in lines(run("show", path, "u002"))}
    assert shown["bert, layer 12"][3] == "stale"
    assert shown["hubert"][3] == "fresh"


def evil_store(path: Path) -> Path:
    """A store in which every text tries to control the terminal."""
    utterances = tuple(
        replace(u, label=EVIL, speaker=EVIL, session=EVIL, split=EVIL, text=EVIL, dialogue=EVIL, extra={EVIL: EVIL})
        for u in M.utterances
    )
    evil = Manifest(
        corpus=EVIL, reader=EVIL, utterances=utterances, excluded=(Excluded(id=EVIL, reason=EVIL, modality=EVIL),)
    )
    record = {EVIL: {EVIL: EVIL}}
    data = FeatureData(modality="audio", arrays=arrays(M), encoder=EVIL, fingerprint=record, provenance=record)
    write_store(path, evil, {"hubert": data, "lost": data})
    with h5py.File(path, "r+") as file:
        file["features"].move("lost", EVIL)
        del file[f"features/{EVIL}"].attrs["version"]
    return path


def test_json_keeps_untrusted_text_and_is_safe_to_print(tmp_path: Path) -> None:
    write_store(tmp_path / "s.h5", replace(M, excluded=(Excluded(id=EVIL, reason="á\U000e0001"),)), FEATURE)
    shown = run("info", tmp_path / "s.h5", "--json").stdout
    assert json.loads(shown)["excluded"] == [{"id": EVIL, "reason": "á\U000e0001", "modality": None}]
    assert shown.replace("\n", "").isprintable()
    assert "á" in shown


def test_untrusted_text_never_reaches_the_terminal_raw(tmp_path: Path) -> None:
    path, out = evil_store(tmp_path / "s.h5"), tmp_path / "card.json"
    good = tmp_path / "good.h5"
    write_store(good, M, {"hubert": FeatureData(modality="audio", arrays=arrays(M, seed=3))})
    sound = tmp_path / "sound.h5"
    with h5py.File(path) as old, h5py.File(sound, "w", libver=("v110", "v110")) as new:
        for key in old.attrs:
            new.attrs[key] = old.attrs[key]
        old.copy("manifest", new)
        old.copy("features/hubert", new.create_group("features"))
    commands = [
        *(["info", path], ["info", path, "--json"], ["ls", path], ["ls", path, "--json"], ["ls", path, "--label", "x"]),
        *(["show", path, "u003"], ["show", path, "nobody"], ["show", path, EVIL], ["ls", path, "--missing", "x"]),
        *(["diff", path, good], ["diff", sound, good, "--values"], ["diff", good, sound, "--values", "--json"]),
        *(["card", path], ["card", sound], ["card", sound, "--out", out], ["card", good, "--against", out]),
        ["card", good, "--against", sound],
    ]
    for arguments in commands:
        result = run(*arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exception)
        odd = {c for c in result.output if not c.isprintable() and c != "\n"}
        assert not odd, (arguments, odd)
    assert "�" in run("info", path).stdout
    assert run("diff", sound, good, "--values").exit_code == 1
