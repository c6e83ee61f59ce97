"""What is written is what is read: every element of the format, by us and by h5py alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import arrays, manifest

from emofuse.common.errors import DataError, UnknownNameError, UsageError
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.store import FeatureData, FeatureSpec, FeatureStore, write_store
from emofuse.store.core.spec import decode_values, encode_values


def test_a_path_may_be_text(tmp_path: Path) -> None:
    m = manifest()
    write_store(str(tmp_path / "s.h5"), m, {"hubert": FeatureData(modality="audio", arrays=arrays(m))})
    with FeatureStore(str(tmp_path / "s.h5")) as store:
        assert store["hubert"].ids == m.ids


@pytest.mark.parametrize("layers", [(), (0, 6, 12)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("float32", 0.0), ("bfloat16", 8e-3)])
def test_values_come_back(tmp_path: Path, dtype: str, tolerance: float, layers: tuple[int, ...]) -> None:
    m = manifest()
    given_arrays = arrays(m, layers=len(layers))
    data = FeatureData(modality="audio", arrays=given_arrays, layers=layers, dtype=dtype, frame_rate=50.0)
    write_store(tmp_path / "s.h5", m, {"hubert": data})
    with FeatureStore(tmp_path / "s.h5") as store:
        feature = store.feature("hubert")
        asked = ["u007", "u000", "u011"]
        got = feature.read(asked)
        want = np.concatenate([given_arrays[i] for i in asked])
        assert got.lengths.tolist() == [len(given_arrays[i]) for i in asked]
        assert got.values.shape == want.shape
        np.testing.assert_allclose(got.values.astype("f4"), want, rtol=tolerance, atol=1e-6)
        assert (feature.layers, feature.frame_rate, feature.complete) == (layers, 50.0, True)
        assert feature.read([]).values.shape[0] == 0
        buffer = np.empty((2 * len(want), *want.shape[1:]), "u2" if dtype == "bfloat16" else dtype)
        again = feature.read(asked, out=buffer)
        np.testing.assert_array_equal(again.values, got.values)
        assert dtype == "bfloat16" or np.shares_memory(again.values, buffer)
        with pytest.raises(UsageError, match="`out` is"):
            feature.read(asked, out=buffer[:1])


def test_the_manifest_comes_back_whole(tmp_path: Path) -> None:
    m = manifest()
    odd = Utterance(id="odd", text="a\tb\n漢字 🙂", extra={"x": 1.5, "y": "z"}, start=None, turn=-3)
    m = replace(m, utterances=(*m.utterances, odd), excluded=(Excluded(id="q", reason="r", modality="audio"),))
    write_store(tmp_path / "s.h5", m, {"bert": FeatureData(modality="text", arrays=arrays(manifest()))})
    with FeatureStore(tmp_path / "s.h5") as store:
        assert store.manifest == m
        assert store.feature("bert").ids == manifest().ids


def test_h5py_alone_reads_it(tmp_path: Path) -> None:
    m = manifest()
    given_arrays = arrays(m)
    write_store(tmp_path / "s.h5", m, {"hubert": FeatureData(modality="audio", arrays=given_arrays)})
    with h5py.File(tmp_path / "s.h5") as file:
        group = file["features/hubert"]
        i = 5
        start, length, row = group["start"][i], group["length"][i], group["row"][i]
        ends = file["manifest/id_offsets"][()]
        id = file["manifest/id"][ends[row] : ends[row + 1]].tobytes().decode()
        np.testing.assert_array_equal(group["values"][start : start + length], given_arrays[id].astype("f2"))
        assert (file.attrs["type"], group.attrs["type"]) == (b"emofuse-store", b"feature")
        assert group["values"].chunks is not None
        assert group["values"].compression is None
        objects: list[str] = []
        file.visititems(
            lambda name, node: objects.append(name) if getattr(node, "dtype", np.dtype("u1")).kind == "O" else None
        )
        assert objects == []


def test_a_second_feature_joins_and_the_first_stays(tmp_path: Path) -> None:
    m, path = manifest(), tmp_path / "s.h5"
    first, second = arrays(m), arrays(m, dimension=9, seed=1)
    write_store(path, m, {"hubert": FeatureData(modality="audio", arrays=first)})
    with FeatureStore(path) as reader:  # a reader that opened earlier keeps the file that it has
        write_store(path, m, {"bert": FeatureData(modality="text", arrays=second)})
        np.testing.assert_array_equal(reader.feature("hubert").read(["u003"]).values, first["u003"].astype("f2"))
        assert list(reader.features) == ["hubert"]
    with FeatureStore(path) as store:
        assert list(store.features) == ["bert", "hubert"]
        np.testing.assert_array_equal(
            store.feature("hubert").read(m.ids).values, np.concatenate([*first.values()]).astype("f2")
        )
        np.testing.assert_array_equal(
            store.feature("bert").read(m.ids).values, np.concatenate([*second.values()]).astype("f2")
        )
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


def test_the_file_is_hardly_larger_than_its_values(tmp_path: Path) -> None:
    m = manifest(40)
    given_arrays = {i: np.zeros((500, 768), "f4") for i in m.ids}
    write_store(tmp_path / "s.h5", m, {"hubert": FeatureData(modality="audio", arrays=given_arrays)})
    payload = 40 * 500 * 768 * 2
    assert (tmp_path / "s.h5").stat().st_size < 1.01 * payload


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    m = manifest()
    for name in ("a.h5", "b.h5"):
        write_store(tmp_path / name, m, {"hubert": FeatureData(modality="audio", arrays=arrays(m))})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_unknown_names(tmp_path: Path) -> None:
    m = manifest()
    write_store(tmp_path / "s.h5", m, {"hubert": FeatureData(modality="audio", arrays=arrays(manifest(5)))})
    with FeatureStore(tmp_path / "s.h5") as store:
        with pytest.raises(
            UnknownNameError, match=r"no feature in .*s.h5 named 'huber'. Did you mean 'hubert'\? Valid: hubert"
        ):
            store.feature("huber")
        with pytest.raises(UsageError, match=r"no utterance 'u009' in feature 'hubert' of .*; ids are text, such as"):
            store.feature("hubert").read(["u001", "u009"])
    with pytest.raises(UsageError, match=r"no store at .*absent.h5; make one: extract"):
        FeatureStore(tmp_path / "absent.h5")


@pytest.mark.parametrize("layers", [(), (3, 4)])
def test_a_store_is_a_mapping_of_features_and_a_feature_one_of_arrays(tmp_path: Path, layers: tuple[int, ...]) -> None:
    m = manifest(5)
    values = arrays(m, layers=len(layers))
    data = FeatureData(modality="audio", arrays=values, layers=layers, dtype="bfloat16")
    text = FeatureData(modality="text", arrays=arrays(m, dimension=2))
    write_store(tmp_path / "s.h5", m, {"hubert": data, "bert": text})
    with FeatureStore(tmp_path / "s.h5") as store:
        assert list(store) == ["bert", "hubert"]
        assert "hubert" in store
        assert "huber" not in store
        assert store["hubert"] is store.feature("hubert")
        assert list(store["hubert"]) == m.ids
        assert "u003" in store["hubert"]
        assert "u009" not in store["hubert"]
        assert repr(store) == f"FeatureStore({str(tmp_path / 's.h5')!r}, {m.corpus}: bert, hubert)"
        shape = ", ".join(map(str, values["u003"].shape[1:]))
        assert repr(store["hubert"]) == f"Feature('hubert', audio: 5 utterances, [T, {shape}])"
        assert store["hubert"]["u003"].dtype == np.float32
        np.testing.assert_allclose(store["hubert"]["u003"], values["u003"], rtol=8e-3)
        with pytest.raises(UnknownNameError, match="Did you mean 'hubert'"):
            store["huber"]
        with pytest.raises(UsageError, match=r"no utterance 'u009' in feature 'hubert' of .*; ids are text, such as"):
            store["hubert"]["u009"]


def test_an_array_of_one_utterance_is_verified(tmp_path: Path) -> None:
    m, path = manifest(3), tmp_path / "s.h5"
    write_store(path, m, {"hubert": FeatureData(modality="audio", arrays=arrays(m))})
    with FeatureStore(path) as store:
        offset = store["hubert"].values_offset
        with path.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))
        assert len(store["hubert"]["u001"])
        with pytest.raises(DataError, match="u000 first"):
            store["hubert"]["u000"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([[np.nan]], "not finite"),
        ([[np.inf]], "not finite"),
        ([[70000.0]], r"70000 does not fit float16.*--dtype bf16"),
    ],
)
def test_values_that_cannot_be_stored(tmp_path: Path, values: list[list[float]], complaint: str) -> None:
    m = manifest(1)
    with pytest.raises(DataError, match=f"u000: .*{complaint}"):
        write_store(tmp_path / "s.h5", m, {"x": FeatureData(modality="audio", arrays={"u000": np.array(values)})})
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b"])
def test_feature_names_stay_inside_their_group(name: str) -> None:
    with pytest.raises(UsageError, match="use letters, digits"):
        FeatureSpec(name=name, modality="audio", encoder="x", dimension=1)


@pytest.mark.parametrize(
    ("bits", "rounded"),
    [
        (0x3F808000, 0x3F80),  # halfway, the lower neighbour is even
        (0x3F818000, 0x3F82),  # halfway, the upper neighbour is even
        (0x3F808001, 0x3F81),  # just above halfway
        (0x3F817FFF, 0x3F81),  # just below halfway
        (0xBF818000, 0xBF82),  # the same for negative values
        (0x3FFF8000, 0x4000),  # the carry reaches the exponent
        (0x00008000, 0x0000),  # a subnormal value
    ],
)
def test_bfloat16_ties_are_rounded_to_even(bits: int, rounded: int) -> None:
    values = np.array([bits], "<u4").view("<f4")
    assert encode_values(values, "bfloat16").tolist() == [rounded]


@settings(deadline=None)
@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32, allow_subnormal=False), min_size=1, max_size=50))
def test_bfloat16_is_rounded_to_the_nearest(values: list[float]) -> None:
    import torch

    given_values = np.array(values, "f4")
    ours = decode_values(encode_values(given_values, "bfloat16"), "bfloat16")
    np.testing.assert_array_equal(ours, torch.from_numpy(given_values).to(torch.bfloat16).float().numpy())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=6, unique=True))
def test_any_text_comes_back(texts: list[str]) -> None:
    import tempfile

    m = Manifest(corpus="c", reader="c-1", utterances=tuple(Utterance(id=f"i{k}", text=t) for k, t in enumerate(texts)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.h5"
        write_store(path, m, {"x": FeatureData(modality="text", arrays={i: np.ones((1, 1)) for i in m.ids})})
        with FeatureStore(path) as store:
            assert [u.text for u in store.manifest.utterances] == texts


def test_store_info_as_json(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from emofuse.store.commands.store import store as command

    m = manifest()
    data = FeatureData(modality="audio", arrays=arrays(m), fingerprint={"weights": "abc"}, frame_rate=50.0)
    write_store(tmp_path / "s.h5", m, {"hubert": data})
    result = CliRunner().invoke(command, ["info", str(tmp_path / "s.h5"), "--json"])
    facts = json.loads(result.stdout)
    assert (facts["corpus"], facts["utterances"], facts["label"]) == ("tiny", 12, {"hap": 6, "sad": 6})
    assert facts["features"][0]["fingerprint"] == {"weights": "abc"}
    assert facts["features"][0]["state"] == "complete"
    assert [(e["id"], e["reason"]) for e in facts["excluded"]] == [("x", "no label")]
    plain = CliRunner().invoke(command, ["info", str(tmp_path / "s.h5")])
    assert "hubert" in plain.stdout
    assert "50 Hz" in plain.stdout


def test_an_utterance_without_a_frame_is_named(tmp_path: Path) -> None:
    values = arrays(manifest())
    values["u003"] = values["u003"][:0]
    with pytest.raises(UsageError, match="every utterance needs a frame: u003 has 0 frames"):
        write_store(tmp_path / "s.h5", manifest(), {"hubert": FeatureData(modality="audio", arrays=values)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"zz": np.ones((2, 3)), "u000": np.ones((2, 3))}, "'zz' is not in the manifest"),
        ({}, "one width, got none"),
        ({"u000": np.ones((2, 3)), "u001": np.ones((2, 4))}, r"one width, got \[\(3,\), \(4,\)\]"),
        ({"u000": np.ones(3)}, r"needs arrays \[T, D\]: u000: \(3,\)"),
    ],
)
def test_arrays_that_make_no_feature(tmp_path: Path, values: dict[str, np.ndarray], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        write_store(tmp_path / "s.h5", manifest(), {"hubert": FeatureData(modality="audio", arrays=values)})
    ones = {i: np.ones((1, 2)) for i in manifest().ids}
    small = FeatureData(modality="audio", arrays=ones, dtype="int8")
    with pytest.raises(UsageError, match="copy --dtype int8"):
        write_store(tmp_path / "s.h5", manifest(), {"x": small})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("node", ["/", "/manifest", "/features/hubert"])
def test_versions_that_do_not_exist_are_refused(tmp_path: Path, node: str) -> None:
    path, m = tmp_path / "s.h5", manifest()
    write_store(path, m, {"hubert": FeatureData(modality="audio", arrays=arrays(m))})
    with h5py.File(path, "r+") as file:
        file[node].attrs["version"] = 0
    with pytest.raises(DataError, match="version 0, which does not exist"), FeatureStore(path) as store:  # noqa: PT012
        store.feature("hubert")
        assert store.manifest, "whichever of the three reports it first"


def test_a_repeated_sentence_is_known_without_the_texts() -> None:
    texts = ("Hello, there!", "hello there", "Something else")
    m = Manifest(corpus="c", reader="c-1", utterances=tuple(Utterance(id=t, text=t) for t in texts)).without_text()
    first, second, third = (u.sentence for u in m.utterances)
    assert first == second != third
    assert first is not None
    assert len({u.text_digest for u in m.utterances}) == 3
