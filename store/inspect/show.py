"""One utterance of a store, seen closely: its values' statistics, and whether they can be trusted."""

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
    """What one feature holds of one utterance."""

    feature: Feature
    values: NDArray[np.float32] | None
    """[T, D], of one layer; none where they are damaged or not yet written."""
    layer: int | None
    """The layer that was looked at, where frames have a layer axis."""
    frames: int
    mark: str
    """`ok`, `damaged` or `not written`."""
    source: str
    """`fresh`, `stale` (computed from other audio or text than it has now) or `unknown` (no digest to compare)."""

    @property
    def seconds(self) -> float | None:
        """Frames over frame rate; none for text, and where a frame is a mean over all."""
        rate = self.feature.frame_rate
        return self.frames / rate if rate and self.feature.view == "frames" else None

    def statistics(self) -> dict[str, float] | None:
        """Minimum, mean, maximum, standard deviation and the share of zeros, of the values that are finite."""
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


def find(store: FeatureStore, id: str) -> Utterance:
    """An utterance by id.

    Raises:
        UsageError: The store has none of that name; the nearest are named, and why it is excluded if it is.
    """
    for u in store.manifest.utterances:
        if u.id == id:
            return u
    reasons = [e.reason for e in store.manifest.excluded if e.id == id]
    if reasons:
        raise UsageError(f"utterance {id!r} is excluded from {store.path}: {'; '.join(map(repr, reasons))}")
    near = _nearest(id, store.manifest.ids)
    guess = f" Nearest: {', '.join(map(repr, near))}." if near else ""
    raise UsageError(
        f"no utterance {id!r} among the {len(store.manifest)} of {store.path}.{guess} "
        f"`emofuse store ls {store.path}` lists all"
    )


def _nearest(id: str, known: list[str]) -> list[str]:
    """Three ids that may have been meant: those that hold what was typed, else those that look like it."""
    typed = id.casefold()
    within = [k for k in known if typed and typed in k.casefold()]
    return within[:3] or difflib.get_close_matches(id, known, n=3, cutoff=0.3)


def closeups(store: FeatureStore, utterance: Utterance, name: str | None, layer: int | None) -> list[UtteranceView]:
    """What the features hold of an utterance.

    Args:
        store: The store.
        utterance: One of its utterances.
        name: The feature to look at; none: every one that has the utterance.
        layer: The layer to look at; none: the last one.

    Raises:
        UnknownNameError: No such feature or layer.
        UsageError: The named feature lacks the utterance, or a layer is asked for where there are none.
    """
    chosen = list(store.features.values()) if name is None else [store.feature(name)]
    held = [f for f in chosen if utterance.id in f.position]
    if name is not None and not held:
        raise UsageError(f"feature {name!r} of {store.path} has no values of utterance {utterance.id!r}")
    if layer is not None and not any(f.layers for f in held):
        raise UsageError(f"--layer {layer}: no layer axis in {', '.join(f.name for f in held) or 'what there is'}")
    return [_closeup(f, utterance, layer) for f in held]


def _closeup(f: Feature, utterance: Utterance, layer: int | None) -> UtteranceView:
    at, layers = f.position[utterance.id], [str(n) for n in f.layers]
    if layer is not None and layers and str(layer) not in layers:
        raise UnknownNameError(f"layer of feature {f.name!r}", str(layer), layers)
    shown = (f.layers[-1] if layer is None else layer) if layers else None
    mark = int(f.marks()[at])
    state = "not written" if not mark else "ok" if mark_of(f.raw(at)) == mark else "damaged"
    values: NDArray[Any] | None = None
    if state == "ok":
        values = f.read([utterance.id]).values.astype(np.float32)
        values = values if shown is None else values[:, f.layers.index(shown)]
    now = source_digest(f.modality, utterance)
    return UtteranceView(
        feature=f,
        values=values,
        layer=shown,
        frames=int(f.lengths[at]),
        mark=state,
        source="unknown" if now is None else "fresh" if now == f.sources[at] else "stale",
    )
