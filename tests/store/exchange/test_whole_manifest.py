"""Parquet restores the whole manifest: reader, excluded items, and the digests of texts that were left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import store_samples
from exchange_samples import assert_same_frames, check, make_store, manifest, run_export, run_import, stored_frames

from emofuse.manifests.schema import WITHDRAWN, Excluded, Manifest
from emofuse.store import FeatureData, FeatureStore

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def corpus() -> Manifest:
    return manifest().excluding(
        [Excluded(id="u001", reason=WITHDRAWN), Excluded(id="u002", reason="x", modality="text")]
    )


def exported(folder: Path, of: Manifest) -> tuple[Path, dict[str, Any]]:
    """A Parquet file of a store with the text feature `bert`, and its frames."""
    frames = {id: f for id, f in store_samples.arrays(of).items() if id != "u002"}
    make_store(folder / "a.h5", of, bert=FeatureData(modality="text", arrays=frames, dtype="float32", encoder="bert"))
    check(run_export(folder / "a.h5", "parquet", folder / "out.parquet", feature="bert"), 0)
    return folder / "out.parquet", frames


@pytest.mark.parametrize("withheld", [False, True])
def test_the_manifest_comes_back_with_what_it_leaves_out(withheld: bool, tmp_path: Path) -> None:
    of = corpus().without_text() if withheld else corpus()
    out, frames = exported(tmp_path, of)
    check(
        run_import(tmp_path / "b.h5", "parquet", out, "--corpus", "tiny", modality="text"), 0, "10 utterances written"
    )
    assert_same_frames(stored_frames(tmp_path / "b.h5"), frames)
    with FeatureStore(tmp_path / "b.h5") as store:
        restored = store.manifest
        assert not store.feature("there").stale
    assert (restored.reader, restored.withholds_text) == ("tiny-1", withheld)
    assert restored.utterances == tuple(u for u in of.utterances if u.id in frames)
    assert set(restored.excluded) == set(of.excluded)
    assert ("text_digest" in pq.read_schema(out).names) == withheld
    before = (tmp_path / "b.h5").read_bytes()
    check(run_import(tmp_path / "b.h5", "parquet", out, modality="text"), 0, "nothing to do")
    assert (tmp_path / "b.h5").read_bytes() == before


def test_under_another_name_it_is_another_reading(tmp_path: Path) -> None:
    out, _ = exported(tmp_path, corpus())
    check(run_import(tmp_path / "b.h5", "parquet", out, "--corpus", "mine", modality="text"), 0)
    with FeatureStore(tmp_path / "b.h5") as store:
        assert (store.manifest.corpus, store.manifest.reader) == ("mine", "import-parquet-1")
        assert set(store.manifest.excluded) == set(corpus().excluded)


@pytest.mark.parametrize(
    "stored",
    [1, {}, {"corpus": "tiny", "reader": "\ud800", "excluded": []}, {"corpus": "tiny", "reader": "r", "excluded": 1},
     {"corpus": "tiny", "reader": "r", "excluded": [{"id": "u"}]},
     {"corpus": "tiny", "reader": "r", "excluded": [{"id": "u", "reason": "\x1b[2J", "more": 1}]}],
)  # fmt: skip
def test_a_damaged_record_is_exit_code_3(stored: Any, tmp_path: Path) -> None:
    out, _ = exported(tmp_path, corpus())
    table = pq.read_table(out)
    record = json.loads(table.schema.metadata[b"emofuse"])
    changed = {b"emofuse": json.dumps({**record, "manifest": stored}).encode()}
    pq.write_table(table.replace_schema_metadata(changed), out)
    result = run_import(tmp_path / "b.h5", "parquet", out, "--corpus", "tiny", modality="text")
    assert "\x1b" not in check(result, 3, "the source's record of its manifest is damaged")
    assert not (tmp_path / "b.h5").exists()


def test_a_text_takes_precedence_over_a_digest(tmp_path: Path) -> None:
    columns = {"id": ["u000"], "text": ["here"], "text_digest": ["f" * 32], "x": [[[1.0, 2.0]]]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    check(run_import(tmp_path / "b.h5", "parquet", tmp_path / "x.parquet", "--corpus", "mine", modality="text"), 0)
    with FeatureStore(tmp_path / "b.h5") as store:
        assert (store.manifest.utterances[0].text, store.manifest.withholds_text) == ("here", False)
