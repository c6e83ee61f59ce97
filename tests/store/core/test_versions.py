"""Files of every released version of the format still read as they did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_samples import arrays, manifest

from emofuse.manifests.schema import ASR
from emofuse.store import FeatureStore
from emofuse.store.inspect.verify import verify

ARCHIVES = Path(__file__).parents[2] / "archives"


@pytest.mark.parametrize("version", [1])
def test_an_archive_reads_as_it_was_written(version: int) -> None:
    path = ARCHIVES / f"store-v{version}.h5"
    m = manifest(3)
    with FeatureStore(path) as store:
        assert store.manifest == m
        assert list(store.features) == ["bert", "hubert", "t5"]
        hubert, bert, t5 = (store.feature(name) for name in ("hubert", "bert", "t5"))
        assert (hubert.frame_rate, hubert.fingerprint, hubert.provenance) == (
            50.0,
            {"weights": "abc"},
            {"emofuse": "0.1.0"},
        )
        assert (bert.layers, bert.spec.dtype, bert.encoder) == ((11, 12), "bfloat16", "bert")
        for feature, values, tolerance in (
            (hubert, arrays(m, 4), 1e-3),
            (bert, arrays(m, 4, layers=2, seed=1), 8e-3),
            (t5, arrays(m, 4, seed=2), 0.0),
        ):
            want = np.concatenate([*values.values()])
            np.testing.assert_allclose(feature.read(m.ids).values, want, rtol=tolerance, atol=1e-4 if tolerance else 0)
    assert all(found.intact for found in verify(path))


def test_an_archive_with_a_recognised_text_says_so() -> None:
    path, m = ARCHIVES / "store-v1-manifest-v3.h5", manifest(3)
    recognised = replace(m.utterances[1], text_kind=ASR, text_source=f"tiny/recogniser@1, weights {'0' * 32}")
    with FeatureStore(path) as store:
        assert store.manifest == replace(m, utterances=(m.utterances[0], recognised, m.utterances[2]))
        np.testing.assert_array_equal(
            store.feature("hashed").read(m.ids).values, np.concatenate([*arrays(m, 4).values()])
        )
    assert all(found.intact for found in verify(path))
