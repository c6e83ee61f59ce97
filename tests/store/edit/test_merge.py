"""Two stores of one corpus become one, bit for bit; what they hold differently is named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edit_samples import damage, run
from store_samples import arrays, manifest

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import WITHDRAWN, Manifest
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.core.assemble import assemble, find_feature_sources
from emofuse.store.core.partial import replace_lock
from emofuse.store.edit.merge import Merged, merge
from emofuse.store.edit.rewrite import add, remove_utterances
from emofuse.store.inspect.verify import verify

M = manifest(30)
A = arrays(M, dimension=16)


def store_with(path: Path, ids: list[str], of: Manifest = M, name: str = "hubert", **changes: Any) -> Path:
    data = FeatureData(**{"modality": "audio", "arrays": {i: A[i] for i in ids}, "fingerprint": {"w": 1}, **changes})
    write_store(path, of, {name: data})
    return path


def merged(target: Path, *paths: Path, **options: Any) -> Merged:
    return merge(target, paths, **options)


def test_shards_become_the_file_that_one_writer_makes(tmp_path: Path) -> None:
    shards = [store_with(tmp_path / f"{k}.h5", M.ids[k::3]) for k in range(3)]
    whole = store_with(tmp_path / "whole.h5", M.ids)
    done = run("merge", tmp_path / "all.h5", *shards)
    assert (done.returncode, done.stderr) == (0, "")
    assert "30 utterances; hubert 30" in done.stdout
    with FeatureStore(tmp_path / "all.h5") as store, FeatureStore(whole) as want:
        assert store.digest == want.digest
        assert store.feature("hubert").marks().tolist() == want.feature("hubert").marks().tolist()
        read = store.feature("hubert").read(M.ids).values
    np.testing.assert_array_equal(read, np.concatenate([*A.values()]).astype("f2"))
    assert (tmp_path / "all.h5").read_bytes() == whole.read_bytes()


def test_shards_that_know_only_their_own_utterances(tmp_path: Path) -> None:
    one, two = manifest(20), manifest(15, first=15)
    merged(
        tmp_path / "all.h5", store_with(tmp_path / "1.h5", one.ids, one), store_with(tmp_path / "2.h5", two.ids, two)
    )
    with FeatureStore(tmp_path / "all.h5") as store:
        assert store.manifest == M
        assert store.feature("hubert").ids == M.ids
    assert all(v.intact for v in verify(tmp_path / "all.h5"))


def test_features_of_two_people_are_merged_in_place(tmp_path: Path) -> None:
    silent = replace(M, utterances=tuple(replace(u, audio_digest=None, seconds=None) for u in M.utterances))
    mine = store_with(tmp_path / "mine.h5", M.ids)
    hers = store_with(tmp_path / "hers.h5", M.ids, silent, "bert", modality="text", dtype="bfloat16")
    assert merged(mine, mine, hers) == Merged(utterances=30, features={"hubert": 30, "bert": 30}, resolved=())
    with FeatureStore(mine) as store:
        assert store.manifest == M, "a survey that one has made counts for both"
        assert sorted(store.features) == ["bert", "hubert"]
        assert store.feature("bert").spec.dtype == "bfloat16"
    with pytest.raises(UsageError, match="already exists and is none of the stores to merge"):
        merged(hers, mine)


def test_conflicts_are_named_and_can_be_resolved(tmp_path: Path) -> None:
    other = {i: a + (i == "u007") for i, a in A.items()}
    relabelled = replace(M, utterances=tuple(replace(u, label="neu") if u.id == "u002" else u for u in M.utterances))
    one = store_with(tmp_path / "1.h5", M.ids)
    two = store_with(tmp_path / "2.h5", M.ids, relabelled, arrays=other)
    refused = run("merge", tmp_path / "all.h5", one, two)
    assert refused.returncode == 2
    assert "u002: label is 'sad' and 'neu'" in refused.stderr
    assert "different values for 1 utterance, u007 first" in refused.stderr
    assert "--prefer-first" in refused.stderr
    assert not (tmp_path / "all.h5").exists()
    done = run("merge", tmp_path / "all.h5", two, one, "--prefer-first")
    assert done.returncode == 0, done.stderr
    assert "taken from the first: u002: label" in done.stdout
    with FeatureStore(tmp_path / "all.h5") as store:
        assert store.manifest == relabelled
        np.testing.assert_array_equal(store.feature("hubert").read(["u007"]).values, other["u007"].astype("f2"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fingerprint": {"w": 2}}, "w: stored 1, asked for 2"),
        ({"dtype": "float32"}, 'dtype: "float16" and "float32"'),
        ({"encoder": "wavlm"}, 'encoder: "imported" and "wavlm"'),
        ({"provenance": {"fitted_on": [{"corpus": "tiny"}]}}, "fitted on: no labels and tiny"),
    ],
)
def test_features_with_different_settings_are_never_mixed(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    one, two = store_with(tmp_path / "1.h5", M.ids[:9]), store_with(tmp_path / "2.h5", M.ids[9:], **changes)
    with pytest.raises(UsageError) as caught:
        merged(tmp_path / "all.h5", one, two, prefer_first=True)
    assert expected in str(caught.value)


def test_another_corpus_is_refused(tmp_path: Path) -> None:
    one = store_with(tmp_path / "1.h5", M.ids)
    two = store_with(tmp_path / "2.h5", M.ids, manifest(30, corpus="meld"))
    with pytest.raises(UsageError, match=r"made for corpus 'meld', .* made for corpus 'tiny'"):
        merged(tmp_path / "all.h5", one, two)


def test_a_damaged_copy_never_wins_over_a_sound_one(tmp_path: Path) -> None:
    good, bad = store_with(tmp_path / "good.h5", M.ids), store_with(tmp_path / "bad.h5", M.ids)
    damage(bad, "hubert", "u004")
    for order in ((bad, good), (good, bad)):
        merged(tmp_path / "all.h5", *order)
        assert all(v.intact for v in verify(tmp_path / "all.h5"))
        (tmp_path / "all.h5").unlink()


def test_a_stale_value_never_wins_over_a_fresh_one(tmp_path: Path) -> None:
    newer = replace(
        M, utterances=tuple(replace(u, audio_digest="f" * 32) if u.id == "u003" else u for u in M.utterances)
    )
    old, new = (
        store_with(tmp_path / "old.h5", M.ids),
        store_with(tmp_path / "new.h5", M.ids, newer, arrays={i: a + 1 for i, a in A.items()}),
    )
    add(old, newer)
    with FeatureStore(old) as store:
        assert store.feature("hubert").stale == ["u003"]
    merged(tmp_path / "all.h5", old, new, prefer_first=True)
    with FeatureStore(tmp_path / "all.h5") as store:
        assert store.feature("hubert").stale == []
        np.testing.assert_array_equal(store.feature("hubert").read(["u003"]).values, (A["u003"] + 1).astype("f2"))
        np.testing.assert_array_equal(store.feature("hubert").read(["u005"]).values, A["u005"].astype("f2"))


def test_withdrawn_utterances_stay_out_of_a_merge(tmp_path: Path) -> None:
    one, two = store_with(tmp_path / "1.h5", M.ids), store_with(tmp_path / "2.h5", M.ids)
    remove_utterances(one, [], ["s1"], keep_out=True)
    gone = {u.id for u in M.utterances if u.speaker == "s1"}
    for order in ((one, two), (two, one)):
        merged(tmp_path / "all.h5", *order)
        with FeatureStore(tmp_path / "all.h5") as store:
            assert gone.isdisjoint(store.manifest.ids)
            assert gone.isdisjoint(store.feature("hubert").ids)
            assert {e.id for e in store.manifest.excluded if e.reason == WITHDRAWN} == gone
        (tmp_path / "all.h5").unlink()


def test_another_text_is_a_conflict_also_where_one_is_left_out(tmp_path: Path) -> None:
    other = replace(M, utterances=tuple(replace(u, text="goodbye") if u.id == "u002" else u for u in M.utterances))
    one, two = store_with(tmp_path / "1.h5", M.ids, M.without_text()), store_with(tmp_path / "2.h5", M.ids, other)
    with pytest.raises(UsageError, match="u002: text is different"):
        merged(tmp_path / "all.h5", one, two)
    same = store_with(tmp_path / "3.h5", M.ids)
    merged(tmp_path / "all.h5", one, same)
    with FeatureStore(tmp_path / "all.h5") as store:
        assert store.manifest == M.without_text()


def test_a_merge_sees_what_was_committed_before_it_has_the_lock(tmp_path: Path) -> None:
    target, other = store_with(tmp_path / "1.h5", M.ids), store_with(tmp_path / "2.h5", M.ids, name="wavlm")
    with replace_lock(target):
        waiting = subprocess.Popen(
            [sys.executable, "-c", MERGE.format(target=str(target), other=str(other))],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "ready\n"
        with FeatureStore(store_with(tmp_path / "3.h5", M.ids, name="bert")) as store:
            collected = [g for f in store.features.values() if (g := find_feature_sources(M, [f]))]
            assemble(target, M, collected)  # another writer, which has the lock
    assert waiting.wait(60) == 0
    with FeatureStore(target) as store:
        assert sorted(store.features) == ["bert", "wavlm"]


MERGE = """
import time
from pathlib import Path
import emofuse.store.edit.merge as module
from emofuse.store.core.partial import replace_lock
module.replace_lock = lambda path: replace_lock(path, wait=30)
print("ready", flush=True)
module.merge(Path({target!r}), [Path({target!r}), Path({other!r})])
"""
