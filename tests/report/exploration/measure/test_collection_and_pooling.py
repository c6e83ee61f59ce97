"""Which utterances are explored, under which names, and the vectors of their features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from train_samples import store, utterances

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.manifests.schema import Utterance
from emofuse.report.exploration.measure import pooled_features
from emofuse.report.exploration.measure.collection import collect, sample
from emofuse.report.exploration.measure.copies import find_copies
from emofuse.report.exploration.measure.pooled_features import pooled
from emofuse.store import FeatureData, FeatureStore


def vectors(of: Sequence[Utterance]) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return {u.id: rng.standard_normal((4, 3)).astype(np.float32) for u in of}


def test_pooled_values_are_means_whatever_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled_features, "BATCH_BYTES", 400)
    with FeatureStore(store(tmp_path / "s.h5")) as opened:
        collection = collect([opened], None)
        layered = opened["hubert"]
        first = collection.entries[0].id
        mean = pooled(collection, collection.entries, "hubert")
        one = pooled(collection, collection.entries, "hubert", layer=1)
        assert mean.values.shape == (64, 6)
        np.testing.assert_allclose(mean.values[0], layered[first].astype(np.float32).mean((0, 1)), rtol=1e-3)
        np.testing.assert_allclose(one.values[0], layered[first][:, 1].astype(np.float32).mean(0), rtol=1e-3)
        with pytest.raises(UnknownNameError, match="0, 1, 2"):
            pooled(collection, collection.entries, "hubert", layer=7)
        with pytest.raises(UsageError, match="has no layers"):
            pooled(collection, collection.entries, "logmel", layer=0)


def test_broken_and_missing_values_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = utterances()
    arrays = {id: values.astype(np.float16) for id, values in vectors(of).items()}
    del arrays[of[5].id]
    path = store(tmp_path / "s.h5", of, features={"x": FeatureData(modality="audio", arrays=arrays)})
    usual = pooled_features._mean  # emofuse itself writes no NaN; another program may
    monkeypatch.setattr(
        pooled_features, "_mean", lambda v, c: usual(np.where(v == arrays[of[3].id][0, 0], np.nan, v), c)
    )
    with FeatureStore(path) as opened:
        collection = collect([opened], None)
        found = pooled(collection, collection.entries, "x")
    assert (len(found.values), found.missing, found.broken) == (62, 1, (of[3].id,))
    assert len(found.remarks) == 2


def test_labels_are_renamed_where_the_default_protocol_only_renames(tmp_path: Path) -> None:
    of = tuple(replace(u, label="WL"[i % 2]) for i, u in enumerate(utterances()))
    with FeatureStore(
        store(tmp_path / "s.h5", of, "emodb", {"x": FeatureData(modality="audio", arrays=vectors(of))})
    ) as opened:
        assert collect([opened], None).classes == ["L", "anger"]
        task = collect([opened], "emodb4")
        assert (task.classes, len(task.entries), task.left_out) == (["anger"], 32, 32)
        with pytest.raises(UsageError, match="protocol meld7 is for meld, not for emodb; valid: emodb4"):
            collect([opened], "meld7")


def test_several_stores_are_named_by_corpus_and_one_corpus_is_refused(tmp_path: Path) -> None:
    one, other = store(tmp_path / "b.h5", corpus="beta"), store(tmp_path / "a.h5", corpus="alpha")
    with FeatureStore(one) as first, FeatureStore(other) as second:
        collection = collect([first, second], None)
        assert {e.corpus for e in collection.entries} == {"alpha", "beta"}
        assert all(e.speaker == f"{e.corpus}:{e.utterance.speaker}" for e in collection.entries)
        assert len(pooled(collection, collection.entries, "logmel").values) == 128
        with pytest.raises(UsageError, match="2 stores of corpus alpha"):
            collect([second, second], None)


def test_sample_is_spread_over_labels_and_speakers(tmp_path: Path) -> None:
    with FeatureStore(store(tmp_path / "s.h5")) as opened:
        entries = collect([opened], None).entries
    chosen = sample(entries, 16)
    assert Counter(e.label for e in chosen) == {"ang": 4, "hap": 4, "neu": 4, "sad": 4}
    assert len({e.speaker for e in chosen}) > 4
    assert sample(entries, 100) == list(entries)


def test_copies_of_audio_and_sentences_with_several_labels(tmp_path: Path) -> None:
    of = list(utterances())
    of[9] = replace(of[9], audio_digest="a" * 32, text="Words, 8!")
    of[8] = replace(of[8], audio_digest="a" * 32)
    with FeatureStore(store(tmp_path / "s.h5", tuple(of))) as opened:
        collection = collect([opened], None)
        found = find_copies(collection, [opened["logmel"]])
    assert [[e.id for e in group] for group in found.equal_audio] == [[of[8].id, of[9].id]]
    sentence = next(t for t in found.texts if t.text == "words 8")
    assert sentence.labels == Counter(e.label for e in sentence.entries)
    assert found.near_unsearched
    assert found.ids == {of[8].id, of[9].id}


def test_the_equal_pair_of_ravdess(tmp_path: Path, shared: Path) -> None:
    from emofuse.extract.audio.clips import probe

    folder = shared / "ravdess" / "audio" / "Actor_07" if (shared / "ravdess").is_dir() else None
    if folder is None:
        folder = shared / "data" / "ravdess" / "audio" / "Actor_07"
    ids = ["03-01-03-01-02-01-07", "03-01-03-01-02-02-07", "03-01-03-01-01-01-07"]
    if not (folder / f"{ids[0]}.wav").is_file():
        pytest.skip("no RAVDESS")
    of = tuple(
        Utterance(id=id, audio=f"{id}.wav", audio_digest=probe(folder / f"{id}.wav").digest, label="happy")
        for id in ids
    )
    with FeatureStore(
        store(tmp_path / "s.h5", of, features={"x": FeatureData(modality="audio", arrays=vectors(of))})
    ) as opened:
        found = find_copies(collect([opened], None), [])
    assert [[e.id for e in group] for group in found.equal_audio] == [ids[:2]]
