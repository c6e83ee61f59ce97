"""Every exchange format: a round trip loses no value, only ids join, the report is complete."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import store_samples
from exchange_samples import (
    FITTED,
    assert_same_frames,
    check,
    make_store,
    manifest,
    manifest_file,
    run_export,
    run_import,
    stored_frames,
)
from paths import ROOT
from round_trip_samples import WRITTEN, place

from emofuse.common.errors import UsageError
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.store import FeatureData, FeatureStore
from emofuse.store.commands.exchange import EXPORT_FORMATS, IMPORT_FORMATS
from emofuse.store.commands.store import store as cli
from emofuse.store.exchange import FORMATS
from emofuse.train.resolve.leaks.leakage import find_leaks

FILES = [name for name in WRITTEN if not FORMATS[name].writes_folder]


@pytest.mark.parametrize("form", WRITTEN)
def test_a_round_trip_keeps_values_ids_and_metadata(form: str, tmp_path: Path) -> None:
    frames, out, back = make_store(tmp_path / "a.h5"), place(form, tmp_path), tmp_path / "b.h5"
    check(run_export(tmp_path / "a.h5", form, out), 0, "12 utterances of hubert")
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    check(
        run_import(back, form, out, "--manifest", manifest_path),
        0,
        "12 utterances written",
        "12 utterances matched by id",
    )
    assert_same_frames(stored_frames(back), frames)
    with FeatureStore(back) as store:
        feature = store.feature("there")
        assert feature.provenance["fitted_on"] == FITTED
        assert (feature.encoder, feature.frame_rate, feature.view) == ("hubert", 50.0, "frames")
        assert feature.provenance["source"] == out.name
        assert feature.provenance["original_fingerprint"] == {"weights": "abc"}
        assert str(tmp_path) not in str(dict(feature.provenance))
    before = back.read_bytes()
    check(run_import(back, form, out), 0, "nothing to do")
    assert back.read_bytes() == before


@pytest.mark.parametrize("form", WRITTEN)
def test_partial_overlap_is_done_reported_and_exit_code_1(form: str, tmp_path: Path) -> None:
    frames, out, back = make_store(tmp_path / "a.h5", manifest(10)), place(form, tmp_path), tmp_path / "b.h5"
    check(run_export(tmp_path / "a.h5", form, out), 0)
    other = store_samples.manifest(8, first=4)  # u004..u011 against u000..u009
    check(
        run_import(back, form, out, "--manifest", manifest_file(tmp_path / "m.jsonl", other)),
        1,
        "6 utterances matched by id",
        "4 in the source only, unknown to the manifest: ",
        "2 in the manifest only, missing in the source: u010, u011",
    )
    assert_same_frames(stored_frames(back), {id: f for id, f in frames.items() if id >= "u004"})


@pytest.mark.parametrize("form", WRITTEN)
def test_nothing_matches_is_refused_with_ids_of_both_sides(form: str, tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    out, back = place(form, tmp_path), tmp_path / "b.h5"
    check(run_export(tmp_path / "a.h5", form, out), 0)
    other = store_samples.manifest(12, first=500)
    result = run_import(back, form, out, "--manifest", manifest_file(tmp_path / "m.jsonl", other))
    check(result, 2, "no id of the source is in the manifest", "u000", "u500", "never matched by position")
    assert not back.exists()
    assert not list(tmp_path.glob("b.h5*"))


@pytest.mark.parametrize("form", WRITTEN)
def test_another_source_of_the_same_name_is_refused_by_the_field(form: str, tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    other = store_samples.arrays(manifest(), seed=1)
    make_store(tmp_path / "c.h5", manifest(), hubert=FeatureData(modality="audio", arrays=other, frame_rate=50.0))
    one, two, back = place(form, tmp_path), place(form, tmp_path / "two"), tmp_path / "b.h5"
    check(run_export(tmp_path / "a.h5", form, one), 0)
    check(run_export(tmp_path / "c.h5", form, two), 0)
    check(run_import(back, form, one, "--manifest", manifest_file(tmp_path / "m.jsonl"), "--dtype", "fp32"), 0)
    check(
        run_import(back, form, two, "--dtype", "fp32"),
        2,
        "has feature 'there' made with different settings",
        "content: stored",
    )
    check(run_import(back, form, two, name="other"), 0)


@pytest.mark.parametrize("form", WRITTEN)
def test_stale_and_missing_utterances_are_left_out_and_reported(form: str, tmp_path: Path) -> None:
    of = manifest(12)
    some = {id: f for id, f in store_samples.arrays(of).items() if id not in ("u003", "u007")}
    make_store(tmp_path / "a.h5", of, hubert=FeatureData(modality="audio", arrays=some, frame_rate=50.0))
    check(
        run_export(tmp_path / "a.h5", form, place(form, tmp_path)), 1, "10 utterances", "2 were left out", "u003, u007"
    )


@pytest.mark.parametrize("form", WRITTEN)
def test_an_existing_place_is_never_overwritten(form: str, tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    out = place(form, tmp_path)
    out.mkdir() if form not in FILES else out.write_text("mine")
    if form not in FILES:
        (out / "mine").write_text("x")
    check(run_export(tmp_path / "a.h5", form, out), 2, "exists; name another place")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", out.name]


@pytest.mark.parametrize("form", ["npy", "emobox", "parquet"])
def test_layers_come_back_with_their_numbers(form: str, tmp_path: Path) -> None:
    of = manifest(5)
    frames = store_samples.arrays(of, layers=3)
    layered = FeatureData(modality="audio", arrays=frames, layers=(4, 7, 12), frame_rate=50.0, dtype="float32")
    make_store(tmp_path / "a.h5", of, hubert=layered)
    out, back = place(form, tmp_path), tmp_path / "b.h5"
    check(run_export(tmp_path / "a.h5", form, out), 0)
    check(run_import(back, form, out, "--manifest", manifest_file(tmp_path / "m.jsonl", of)), 0)
    assert_same_frames(stored_frames(back), frames)
    with FeatureStore(back) as store:
        assert store.feature("there").layers == (4, 7, 12)


@pytest.mark.parametrize("form", ["merbench", "emotion2vec", "mmsa", "lhotse"])
def test_formats_without_a_layer_axis_say_so(form: str, tmp_path: Path) -> None:
    of = manifest(4)
    layered = FeatureData(modality="audio", arrays=store_samples.arrays(of, layers=3), layers=(0, 1, 2))
    make_store(tmp_path / "a.h5", of, hubert=layered)
    check(run_export(tmp_path / "a.h5", form, tmp_path / "x"), 2, f"{form} has no layer axis")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("form", WRITTEN)
def test_short_floats_come_back_bit_for_bit(form: str, dtype: str, tmp_path: Path) -> None:
    of = manifest(4)
    short = FeatureData(modality="audio", arrays=store_samples.arrays(of), frame_rate=50.0, dtype=dtype)
    make_store(tmp_path / "a.h5", of, hubert=short)
    out, back = place(form, tmp_path), tmp_path / "b.h5"
    check(run_export(tmp_path / "a.h5", form, out), 0)
    check(run_import(back, form, out, "--manifest", manifest_file(tmp_path / "m.jsonl", of)), 0, dtype)
    assert_same_frames(stored_frames(back), stored_frames(tmp_path / "a.h5", "hubert"))


def test_unknown_names_and_options_without_effect(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    check(run_export(tmp_path / "a.h5", "parket", tmp_path / "x"), 2, "Did you mean 'parquet'?", "emobox")
    check(run_export(tmp_path / "a.h5", "npy", tmp_path / "x", feature="huber"), 2, "Did you mean 'hubert'?")
    check(run_export(tmp_path / "a.h5", "npy", tmp_path / "x", "--test", "session=1"), 2, "--test has no effect on npy")
    check(run_export(tmp_path / "a.h5", "npy", tmp_path / "x", "--feature", "hubert"), 2, "takes one --feature, got 2")
    check(run_export(tmp_path / "a.h5", "huggingface", tmp_path / "x"), 2, "read-only", "--to parquet")
    check(run_export(tmp_path / "a.h5", "npy", tmp_path / "out"), 0)
    into = tmp_path / "a.h5"
    check(run_import(into, "npy", tmp_path / "out", "--corpus", "x"), 2, "--corpus has no effect")
    check(run_import(tmp_path / "n.h5", "npy", tmp_path / "out"), 2, "--manifest M.jsonl")
    check(run_import(tmp_path / "n.h5", "npy", tmp_path / "out", "--corpus", "x"), 2, "only ids")
    check(run_import(into, "npy", tmp_path / "nowhere"), 2, "no such folder")
    check(run_import(into, "npy", tmp_path / "out", "--frame-rate", "-1"), 2, "more than 0")
    check(run_import(into, "npy", tmp_path / "out", "--fitted-on", "tiny:colour=1"), 2, "--fitted-on")
    check(run_import(into, "npy", tmp_path / "out", "--fitted-on", "none"), 2, "the source itself says")


def test_an_undeclared_fitted_on_is_unknown_and_fit_refuses_it(tmp_path: Path) -> None:
    frames = make_store(tmp_path / "a.h5")
    (tmp_path / "src").mkdir()
    for id, f in frames.items():
        np.save(tmp_path / "src" / f"{id}.npy", f)
    check(
        run_import(tmp_path / "a.h5", "npy", tmp_path / "src"),
        0,
        "it is unspecified what its encoder",
        "--fitted-on",
    )
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.feature("there").provenance["fitted_on"] == [{"corpus": "unknown", "labels": True}]
        assert store.feature("there").encoder == "imported"
        with pytest.raises(UsageError, match="it is unspecified what the encoder of feature 'there' was fitted on"):
            find_leaks("there", store.feature("there").provenance, "tiny", [])
    check(run_import(tmp_path / "a.h5", "npy", tmp_path / "src", "--fitted-on", "tiny:session=1"), 0)
    with FeatureStore(tmp_path / "a.h5") as store:
        assert store.feature("there").provenance["fitted_on"] == FITTED


def test_the_leakage_check_survives_a_round_trip(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    check(run_export(tmp_path / "a.h5", "npy", tmp_path / "out"), 0)
    check(run_import(tmp_path / "b.h5", "npy", tmp_path / "out", "--manifest", manifest_file(tmp_path / "m.jsonl")), 0)
    with FeatureStore(tmp_path / "b.h5") as store:
        people = store.manifest.utterances
        folds = [
            Fold(number=int(s), name=f"session {s}", validated=None, train=people[:0], validation=(), test=tuple(
                u for u in people if u.session == s)) for s in ("0", "1")
        ]  # fmt: skip
        refused, _ = find_leaks("there", store.feature("there").provenance, "tiny", folds)
    assert [line[:18] for line in refused] == ["fold 1 (session 1)"]


@pytest.mark.parametrize(
    "line",
    [li.strip() for li in (ROOT / "docs/how-to/exchange.md").read_text().split("\n") if li.startswith("    emofuse")],
)
def test_the_commands_of_the_documentation_are_commands(line: str) -> None:
    arguments = shlex.split(line)
    assert arguments[:2] == ["emofuse", "store"]
    context = cli.commands[arguments[2]].make_context(arguments[2], arguments[3:])
    assert (context.params.get("to") or context.params.get("format")) in FORMATS


def test_help_names_every_format() -> None:
    assert sorted(EXPORT_FORMATS.split(", ")) == sorted(WRITTEN)
    assert sorted(IMPORT_FORMATS.split(", ")) == FORMATS.names()


def test_a_missing_library_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from click.testing import CliRunner\n"
        "from emofuse.store.commands.store import store\n"
        "r = CliRunner().invoke(store, ['import', 'a.h5', '--from', 'parquet', '--source', '/', '--name', 'x', "
        "'--modality', 'audio', '--corpus', 'x'])\n"
        "print(r.exit_code, r.output)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "2 error: this format needs pyarrow" in result.stdout, result.stdout + result.stderr
    assert "pip install 'emofuse[exchange]'" in result.stdout
