"""`emofuse store card`: what a card contains and what it never contains; changed, cut and invented cards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xxhash
from click.testing import CliRunner, Result
from store_samples import arrays, manifest

from emofuse.manifests.schema import Excluded, Manifest
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.commands.store import store as command
from emofuse.store.compare import card_file as reading
from emofuse.store.compare.card import digest_of, make_card, write_card

M = manifest()


def store(path: Path, of: Manifest = M, seed: int = 0, **changes: Any) -> Path:
    data = FeatureData(
        modality="audio", arrays=arrays(of, seed=seed), **{"fingerprint": {"w": {"layer": 1}}, **changes}
    )
    write_store(path, of, {"hubert": data})
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return store(tmp_path / "a.h5")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["card", *map(str, arguments)])


def card_of(path: Path) -> dict[str, Any]:
    with FeatureStore(path) as opened:
        return make_card(opened)


def test_the_contents_of_a_card(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "card.json"
    result = run(path, "--out", out)
    card = json.loads(out.read_text())
    assert result.stdout == f"{out}: 12 utterances; hubert; digest {card['digest']}\n"
    assert (card["format"], card["version"], card["corpus"]) == ("emofuse-card", 1, "tiny")
    assert (card["speakers"], card["excluded"], card["labels"]) == (3, 1, {"hap": 6, "sad": 6})
    assert card["sessions"] == {"0": {"sad": 6}, "1": {"hap": 6}}
    assert card["utterances"][3] == {"id": "u003", "seconds": 3.5, "audio_digest": f"{3:032x}"}
    feature = card["features"]["hubert"]
    assert (feature["fingerprint"], feature["dimension"], feature["utterances"]) == ({"w": {"layer": 1}}, 6, 12)
    canonical = json.dumps({k: v for k, v in card.items() if k != "digest"}, sort_keys=True, separators=(",", ":"))
    assert card["digest"] == xxhash.xxh3_128_hexdigest(canonical.encode())
    assert json.loads(run(path).stdout) == card, "without --out it is printed"


def test_a_card_has_nothing_that_a_licence_protects(tmp_path: Path) -> None:
    secret = tuple(
        replace(u, text=f"hush {u.id}", speaker="Jane Doe", session="Jane Doe", dialogue="talk", extra={"note": "hush"})
        for u in M.utterances
    )
    withdrawn = (Excluded(id="left42", reason="withdrawn"),)
    path = store(tmp_path / "a.h5", replace(M, utterances=secret, excluded=withdrawn), provenance={"machine": "mine"})
    printed, page = run(path).stdout, tmp_path / "card.html"
    assert run(path, "--html", page).stdout == f"page: {page}\n"
    for word in ("hush", "Jane", "Doe", "talk", "wav/", "left42", "withdrawn", "mine"):
        assert word not in printed
        assert word not in page.read_text()
    assert str(tmp_path) not in page.read_text()
    for u in secret:
        assert u.text is not None
        assert xxhash.xxh3_128_hexdigest(u.text.encode()) not in printed
    with FeatureStore(path) as opened:
        assert opened.manifest.digest() not in printed, "it depends on the texts"
        assert opened.feature("hubert").index_digest not in printed
    card = json.loads(printed)
    assert card["sessions"] == {"of u000": {"hap": 6, "sad": 6}}
    assert card["speakers"] == 1
    assert all(set(u) == {"id", "seconds", "audio_digest"} for u in card["utterances"]), "not even labels"


def test_a_card_depends_on_no_text_and_no_order(path: Path, tmp_path: Path) -> None:
    other = replace(M, utterances=tuple(replace(u, text="other") for u in M.utterances[::-1]))
    assert card_of(store(tmp_path / "b.h5", other)) == card_of(path)


def test_a_text_corpus_has_no_audio_digests(tmp_path: Path) -> None:
    spoken = tuple(replace(u, audio=None, audio_digest=None, seconds=None) for u in M.utterances)
    write_store(
        tmp_path / "a.h5",
        replace(M, utterances=spoken),
        {"bert": FeatureData(modality="text", arrays=arrays(M))},
    )
    card = card_of(tmp_path / "a.h5")
    assert card["hours"] == 0
    assert {(u["seconds"], u["audio_digest"]) for u in card["utterances"]} == {(None, None)}
    (tmp_path / "card.json").write_bytes(write_card(card))
    assert run(tmp_path / "a.h5", "--against", tmp_path / "card.json").exit_code == 0


def test_the_same_data_by_card_and_by_store(path: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "card.json", store(tmp_path / "b.h5", provenance={"machine": "theirs"})
    result = run(path, "--out", out, "--against", again)
    assert result.exit_code == 0
    assert result.stdout.endswith(
        f"{path} (here) and {again} (there) are the same\ndata: the same\nfeatures: the same\n"
    )
    assert run(again, "--against", out).exit_code == 0


def edited(**fields: Any) -> Manifest:
    return replace(M, utterances=tuple(replace(u, **fields) if u.id in ("u002", "u005") else u for u in M.utterances))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (manifest(10), ["ids only here: 2: u010, u011", "label 'hap': here 6, there 5"]),
        (manifest(14), ["ids only there: 2: u012, u013"]),
        (edited(seconds=1.0), ["durations differ: 2: u002 2.5 | 1.0, u005 5.5 | 1.0"]),
        (edited(audio_digest="f" * 32), ["audio differs: 2: u002, u005"]),
        (edited(audio_digest=None), ["audio scanned in only one of them: 2: u002, u005"]),
        (edited(label="ang"), ["  label 'ang': here 0, there 2", "  session '0', label 'sad': here 6, there 5"]),
        (replace(M, corpus="big"), ['corpus: here "tiny", there "big"']),
        (manifest(40), ["ids only there: 28: u012, u013,", "u021, ... and 18 more"]),
    ],
)
def test_other_data_is_named(path: Path, tmp_path: Path, other: Manifest, expected: list[str]) -> None:
    there = store(tmp_path / "b.h5", other)
    assert run(there, "--out", tmp_path / "card.json").exit_code == 0
    for against in (there, tmp_path / "card.json"):
        result = run(path, "--against", against)
        assert result.exit_code == 1
        assert "data: differ\n" in result.stdout
        for line in expected:
            assert line in result.stdout


def test_other_features_of_the_same_data_are_named(path: Path, tmp_path: Path) -> None:
    other = store(tmp_path / "b.h5", seed=1)
    result = run(path, "--against", other)
    assert result.exit_code == 1
    assert "data: the same\nfeatures: differ\n" in result.stdout
    assert "  hubert: values: other bits\n" in result.stdout
    changed = run(path, "--against", store(tmp_path / "c.h5", fingerprint={"w": {"layer": 2}}))
    assert "features: differ\n  hubert: fingerprint.w.layer: here 1, there 2\n" in changed.stdout
    assert "bits" not in changed.stdout
    write_store(other, M, {"bert": FeatureData(modality="text", arrays=arrays(M))})
    assert "  bert: only there\n" in run(path, "--against", other).stdout
    assert "  bert: only here\n" in run(other, "--against", path).stdout


def fitted(**lists: list[str]) -> dict[str, Any]:
    return {"fitted_on": [{"corpus": "tiny", "labels": True, **lists}]}


def test_a_card_has_and_compares_what_an_encoder_was_fitted_on(path: Path, tmp_path: Path) -> None:
    other, out = store(tmp_path / "b.h5", provenance=fitted(sessions=["1"])), tmp_path / "card.json"
    assert card_of(path)["features"]["hubert"]["fitted_on"] == []
    assert card_of(other)["features"]["hubert"]["fitted_on"] == fitted(sessions=["1"])["fitted_on"]
    assert run(other, "--out", out).exit_code == 0
    for against in (other, out):
        result = run(path, "--against", against)
        assert result.exit_code == 1
        assert (
            'hubert: fitted_on: here [], there [{"corpus": "tiny", "labels": true, "sessions": ["1"]}]' in result.stdout
        )
    assert run(other, "--against", store(tmp_path / "c.h5", provenance=fitted(sessions=["1"]))).exit_code == 0


def test_fitted_on_names_no_speaker(tmp_path: Path) -> None:
    named = tuple(replace(u, session="Jane Doe" if u.id > "u006" else u.session,
                          speaker="Jane Doe" if u.id > "u006" else "John") for u in M.utterances)  # fmt: skip
    of = replace(M, utterances=named)
    fitted_on = [
        {
            "corpus": "tiny",
            "labels": True,
            "speakers": ["Jane Doe", "John", "Jim left"],
            "sessions": ["Jane Doe", "0", "7"],
        },
        {
            "corpus": "elsewhere",
            "labels": True,
            "speakers": ["Jane Doe"],
            "ids": ["Jim_1", "Jim_2"],
            "splits": ["train"],
        },
    ]
    path = store(tmp_path / "a.h5", of, provenance={"fitted_on": fitted_on})
    assert card_of(path)["features"]["hubert"]["fitted_on"] == [
        {"corpus": "elsewhere", "labels": True, "ids": ["2 more"], "speakers": ["1 more"], "splits": ["train"]},
        {
            "corpus": "tiny",
            "labels": True,
            "sessions": ["0", "7", "of u007"],
            "speakers": ["1 more", "of u000", "of u007"],
        },
    ]
    result = run(path).stdout
    for word in ("Jane", "John", "Jim"):
        assert word not in result
    (tmp_path / "card.json").write_text(result)
    assert run(path, "--against", tmp_path / "card.json").exit_code == 0


def test_int8_with_another_scale_is_other_values(tmp_path: Path) -> None:
    digests = set()
    for number, factor in enumerate((1.0, 2.0)):
        source, slim = tmp_path / f"{number}.h5", tmp_path / f"slim{number}.h5"
        values = {id: a * factor for id, a in arrays(M).items()}
        write_store(source, M, {"x": FeatureData(modality="audio", arrays=values, dtype="float32")})
        assert CliRunner().invoke(command, ["copy", str(source), str(slim), "--dtype", "int8"]).exit_code == 0
        with FeatureStore(slim) as opened:
            marks = opened.feature("x").marks().tolist()
        digests.add((tuple(marks), card_of(slim)["features"]["x"]["marks"]))
    assert len({marks for marks, _ in digests}) == 1, "the same bits"
    assert len({digest for _, digest in digests}) == 2


def test_another_reader_is_a_remark(path: Path, tmp_path: Path) -> None:
    result = run(path, "--against", store(tmp_path / "b.h5", replace(M, reader="tiny-2", excluded=())))
    assert result.exit_code == 0
    assert 'remark: reader: here "tiny-1", there "tiny-2"\nremark: excluded: here 1, there 0\n' in result.stdout


def changed(change: Callable[[dict[str, Any]], Any], honest: bool = True) -> Callable[[dict[str, Any]], bytes]:
    """A card after `change`, with its digest computed again (`honest`) or not."""

    def make(card: dict[str, Any]) -> bytes:
        change(card)
        return write_card({**card, "digest": digest_of(card)} if honest else card)

    return make


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda card: b"", 2, "is not a card of a store"),
        (lambda card: b"\xff\xfe\x00", 2, "is not a card of a store"),
        (lambda card: b"[1, 2]", 2, 'not a JSON object with "format": "emofuse-card"'),
        (lambda card: b'{"format": "other"}', 2, "not a JSON object with"),
        (lambda card: b"[" * 200_000, 2, "is not a card of a store"),
        (lambda card: b'{"format": "emofuse-card", "version": ' + b"9" * 6000 + b"}", 2, "is not a card of a store"),
        (lambda card: b'{"format": "emofuse-card", "version": NaN}', 2, "NaN is not a number"),
        (lambda card: write_card(card)[:-40], 2, "is not a card of a store"),
        (changed(lambda card: card.update(version=2)), 2, "card of version 2; this emofuse reads version 1: update"),
        (changed(lambda card: card.update(version=True)), 2, "card of version True"),
        (changed(lambda card: card.pop("hours")), 2, "the card has missing or unknown fields: 'hours'"),
        (changed(lambda card: card.update(text="hush")), 2, "the card has missing or unknown fields: 'text'"),
        (changed(lambda card: card.update(utterances={})), 2, "utterances of the card is '{}'"),
        (changed(lambda card: card.update(labels={"a": -1})), 2, "labels of the card is"),
        (changed(lambda card: card.update(sessions={"a": 1})), 2, "sessions of the card is"),
        (changed(lambda card: card["utterances"].append([])), 2, "utterance 13 is list, expected an object"),
        (changed(lambda card: card["utterances"].append(card["utterances"][0])), 2, "utterance 'u000' occurs twice"),
        (changed(lambda card: card["utterances"][0].update(seconds="1")), 2, "seconds of utterance 1 is '1'"),
        (changed(lambda card: card["utterances"][0].update(seconds=10**400)), 2, "seconds of utterance 1 is"),
        (changed(lambda card: card["utterances"][0].update(audio_digest="x" * 32)), 2, "audio_digest of utterance 1"),
        (changed(lambda card: card["utterances"][0].update(id="\ud800")), 2, "is not a card of a store"),
        (changed(lambda card: card["features"].update(x=1)), 2, "feature 'x' is int, expected an object"),
        (changed(lambda card: card["features"]["hubert"].update(layers=["1"])), 2, "layers of feature 'hubert'"),
        (changed(lambda card: card["features"]["hubert"].update(fitted_on=1)), 2, "fitted_on of feature 'hubert'"),
        (changed(lambda card: card["features"]["hubert"].update(fitted_on=[[]])), 2, "fitted_on of feature 'hubert'"),
        (changed(lambda card: card["features"]["hubert"].pop("fitted_on")), 2, "unknown fields: 'fitted_on'"),
        (changed(lambda card: card["utterances"][0].update(seconds=9.5), honest=False), 3, "does not match its own"),
        (changed(lambda card: card.update(digest="0" * 32), honest=False), 3, "does not match its own digest"),
    ],
)  # fmt: skip
def test_an_untrusted_card_is_checked(
    path: Path, tmp_path: Path, make: Callable[[dict[str, Any]], bytes], code: int, message: str
) -> None:
    try:
        content = make(card_of(path))
    except UnicodeEncodeError:  # a digest that no honest program could make
        content = write_card({**card_of(path), "corpus": "\ud800"})
    (tmp_path / "card.json").write_bytes(content)
    result = run(path, "--against", tmp_path / "card.json")
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1, "one line, no traceback"


def test_a_card_has_a_largest_size(path: Path, tmp_path: Path) -> None:
    big = tmp_path / "card.json"
    with big.open("wb") as file:
        file.truncate(reading.LARGEST + 1)
    result = run(path, "--against", big)
    assert result.exit_code == 2
    assert "is larger than 67108864 bytes" in result.stderr


def test_an_untrusted_card_cannot_control_the_terminal(path: Path, tmp_path: Path) -> None:
    card = card_of(path)
    evil = "\x1b[31m\x9b\u202e"
    card.update(corpus=evil, reader=evil, labels={evil: 1}, sessions={evil: {evil: 1}})
    card["utterances"][0]["id"] = evil
    card["features"] = {evil: card["features"]["hubert"], "hubert": {**card["features"]["hubert"], "encoder": evil}}
    (tmp_path / "card.json").write_bytes(write_card({**card, "digest": digest_of(card)}))
    result = run(path, "--against", tmp_path / "card.json")
    assert result.exit_code == 1
    assert {c for c in result.output if not c.isprintable()} == {"\n"}
    card["features"][evil] = 1
    (tmp_path / "card.json").write_bytes(write_card({**card, "digest": digest_of(card)}))
    result = run(path, "--against", tmp_path / "card.json")
    assert result.exit_code == 2
    assert {c for c in result.output if not c.isprintable()} == {"\n"}


def test_wrong_use_and_damage(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    result = run(path, "--out", path)
    assert (result.exit_code, path.read_bytes() == before) == (2, True)
    assert "is an HDF5 file and is not overwritten" in result.stderr
    assert run(path, "--against", tmp_path / "none.json").exit_code == 2
    assert run(tmp_path / "none.h5").exit_code == 2
    (tmp_path / "cut.h5").write_bytes(before[: len(before) // 2])
    assert run(path, "--against", tmp_path / "cut.h5").exit_code == 3


def test_a_card_of_a_partial_store_counts_what_is_written(tmp_path: Path) -> None:
    from inspect_samples import partial_store

    with partial_store(tmp_path / "a.h5", "wavlm", 5) as writer:
        card = card_of(writer.partial)
    feature = card["features"]["wavlm"]
    assert feature["utterances"] == 5
    assert feature["frames"] == sum(len(a) for a in [*arrays(M).values()][:5])
