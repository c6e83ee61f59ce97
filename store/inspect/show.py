"""One utterance of a store in detail: statistics of its values, and whether they can be trusted."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.manifests.schema import Utterance
from emofuse.store.core.feature import Feature
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import mark_of, source_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceView:
    """One feature's values of one utterance."""

    feature: Feature
    values: NDArray[np.float32] | None
    """[T, D], of one layer; None where they are damaged or not yet written."""
    layer: int | None
    """The layer shown, where frames have a layer axis."""
    frames: int
    mark: str
    """`ok`, `damaged` or `not written`."""
    source: str
    """`fresh`, `stale` (computed from other audio or text than it has now) or `unknown` (no digest to compare)."""

    @property
    def seconds(self) -> float | None:
        """Frames over frame rate; None for text, and where the one frame is a mean over all."""
        rate = self.feature.frame_rate
        return self.frames / rate if rate and self.feature.view == "frames" else None

    def statistics(self) -> dict[str, float] | None:
        """Minimum, mean, maximum, standard deviation and the share of zeros, over all finite values."""
        if self.values is None:
            return None
        finite = self.values[np.isfinite(self.values)].astype(np.float64)
        if not finite.size:
            return None
        return {
            "min": float(finite.min()),
            "mean": float(finite.mean()),
            "max": float(finite.max()),
            "deviation": float(finite.std()),
            "zeros": float((finite == 0).mean()),
        }


def find_utterance(store: FeatureStore, id: str) -> Utterance:
    """An utterance by id.

    Raises:
        UsageError: The store has no such utterance; names similar ids, or why it is excluded.
    """
    for u in store.manifest.utterances:
        if u.id == id:
            return u
    reasons = [e.reason for e in store.manifest.excluded if e.id == id]
    if reasons:
        raise UsageError(f"utterance {id!r} is excluded from {store.path}: {'; '.join(map(repr, reasons))}")
    similar = _similar(id, store.manifest.ids)
    hint = f" Nearest: {', '.join(map(repr, similar))}." if similar else ""
    raise UsageError(
        f"no utterance {id!r} among the {len(store.manifest)} of {store.path}.{hint} "
        f"`emofuse store ls {store.path}` lists all"
    )


def _similar(id: str, known: list[str]) -> list[str]:
    """Up to three ids that may have been meant: those that contain what was typed, otherwise similar ones."""
    typed = id.casefold()
    containing = [k for k in known if typed and typed in k.casefold()]
    return containing[:3] or difflib.get_close_matches(id, known, n=3, cutoff=0.3)


def utterance_views(
    store: FeatureStore, utterance: Utterance, name: str | None, layer: int | None
) -> list[UtteranceView]:
    """The features' values of an utterance.

    Args:
        store: The store.
        utterance: One of its utterances.
        name: The feature to show; None means every feature that has the utterance.
        layer: The layer to show; None means the last one.

    Raises:
        UnknownNameError: No such feature or layer.
        UsageError: The named feature does not have the utterance, or a layer is named where there is no layer axis.
    """
    candidates = list(store.features.values()) if name is None else [store.feature(name)]
    features = [f for f in candidates if utterance.id in f.position]
    if name is not None and not features:
        raise UsageError(f"feature {name!r} of {store.path} has no values of utterance {utterance.id!r}")
    if layer is not None and not any(f.layers for f in features):
        names = ", ".join(f.name for f in features) or "any feature of the utterance"
        raise UsageError(f"--layer {layer}: no layer axis in {names}")
    return [_view(f, utterance, layer) for f in features]


def _view(f: Feature, utterance: Utterance, layer: int | None) -> UtteranceView:
    position, layers = f.position[utterance.id], [str(n) for n in f.layers]
    if layer is not None and layers and str(layer) not in layers:
        raise UnknownNameError(f"layer of feature {f.name!r}", str(layer), layers)
    shown = (f.layers[-1] if layer is None else layer) if layers else None
    mark = int(f.marks()[position])
    state = "not written" if not mark else "ok" if mark_of(f.raw(position)) == mark else "damaged"
    values: NDArray[Any] | None = None
    if state == "ok":
        values = f.read([utterance.id]).values.astype(np.float32)
        values = values if shown is None else values[:, f.layers.index(shown)]
    digest = source_digest(f.modality, utterance)
    return UtteranceView(
        feature=f,
        values=values,
        layer=shown,
        frames=int(f.lengths[position]),
        mark=state,
        source="unknown" if digest is None else "fresh" if digest == f.sources[position] else "stale",
    )
