"""Writes a store from arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from emofuse.common.errors import UsageError, raise_problems
from emofuse.manifests.schema import Manifest, Modality
from emofuse.store.core.spec import FeatureSpec
from emofuse.store.core.writer import FeatureWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureData:
    """A feature whose values are in memory."""

    modality: Modality
    arrays: Mapping[str, NDArray[Any]]
    """Utterance id -> [T, D] or [T, L, D], any float type."""
    encoder: str = "imported"
    layers: tuple[int, ...] = ()
    """The layers along the layer axis; empty for arrays [T, D]."""
    view: str = "frames"
    """What the arrays are of an utterance's frames: `frames`, or `mean`, `statistics`, ... with T = 1."""
    frame_rate: float | None = None
    """Frames per second (Hz); None for text."""
    dtype: str = "float16"
    """The type that the file stores: float16, float32 or bfloat16."""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    """Everything that changes the values; compared."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Recorded, never compared."""

    def spec(self, name: str) -> FeatureSpec:
        """The feature's description.

        Raises:
            UsageError: Arrays that are not [T, D] (or [T, L, D] with `layers`) with one D.
        """
        axes, shape = (3, "[T, L, D]") if self.layers else (2, "[T, D]")
        wrong = [f"{id}: {a.shape}" for id, a in self.arrays.items() if a.ndim != axes]
        raise_problems(wrong, f"feature {name!r} needs arrays {shape}")
        frame_shapes = {a.shape[1:] for a in self.arrays.values()}
        if len(frame_shapes) != 1:
            raise UsageError(
                f"feature {name!r} needs arrays {shape} with one width, got {sorted(frame_shapes) or 'none'}"
            )
        return FeatureSpec(
            name=name,
            modality=self.modality,
            encoder=self.encoder,
            dimension=next(iter(frame_shapes))[-1],
            layers=self.layers,
            view=self.view,
            frame_rate=self.frame_rate,
            dtype=self.dtype,
            fingerprint=self.fingerprint,
            provenance=self.provenance,
        )


def write_store(path: Path | str, manifest: Manifest, features: Mapping[str, FeatureData]) -> None:
    """Write features into a new or an existing store, one after the other; the file is complete after each.

    Raises:
        UsageError: Arrays that are not [T, D] (or [T, L, D]) with one D, or ids that are not in the manifest.
        DataError: Values that are not finite or do not fit the type, or the disk is full.
    """
    for name, data in features.items():
        lengths = {id: len(a) for id, a in data.arrays.items()}
        with FeatureWriter(Path(path), manifest, data.spec(name), lengths) as writer:
            for id in writer.pending:
                writer.put(id, data.arrays[id])
            writer.commit()
