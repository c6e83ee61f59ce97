"""Small manifests and arrays for the tests of the store."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.schema import Excluded, Manifest, Utterance


def manifest(count: int = 12, first: int = 0, corpus: str = "tiny") -> Manifest:
    """`count` utterances with audio and text."""
    utterances = tuple(
        Utterance(
            id=f"u{i:03d}",
            audio=f"wav/u{i:03d}.wav",
            audio_digest=f"{i:032x}",
            seconds=0.5 + i,
            text=f"Sätze {i} “quoted”",
            label="hap" if i % 2 else "sad",
            speaker=f"s{i % 3}",
            session=str(i % 2),
            dialogue=f"d{i // 4}",
            turn=i,
            extra={"valence": 2.5, "scenario": "improvised"},
        )
        for i in range(first, first + count)
    )
    return Manifest(
        corpus=corpus, reader=f"{corpus}-1", utterances=utterances, excluded=(Excluded(id="x", reason="no label"),)
    )


def arrays(of: Manifest, dimension: int = 6, layers: int = 0, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random frames for every utterance; the same seed gives an utterance the same frames in any manifest."""
    values = {}
    for u in of.utterances:
        rng = np.random.default_rng([seed, int(u.id[1:])])
        shape = (int(rng.integers(1, 40)), *((layers,) if layers else ()), dimension)
        values[u.id] = rng.standard_normal(shape).astype(np.float32)
    return values
