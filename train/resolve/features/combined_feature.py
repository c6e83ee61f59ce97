"""A modality whose values pass through a front (`models/front.py`): one feature with layers, or several features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from emofuse.common.errors import UsageError
from emofuse.common.lazy import lazy_property
from emofuse.store import Feature
from emofuse.train.resolve.features.joined_feature import JoinedFeature

Member: TypeAlias = Feature | JoinedFeature


class CombinedFeature:
    """Features of one modality, whose values are put end to end at each frame, with all their layers.

    `spec` and `frame_rate` are those of the first one: the others are aligned with its frames.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        first, several = members[0], len(members) > 1
        self.spec, self.modality, self.frame_rate, self.lengths = (
            first.spec, first.modality, first.frame_rate, first.lengths
        )  # fmt: skip
        self.name = "+".join(f.name for f in members)
        self.encoder = "+".join(dict.fromkeys(f.encoder for f in members))
        self.dimension = sum(f.dimension for f in members)
        """Of the features end to end, without their layers."""
        self.layers = () if several else first.layers
        self.fingerprint = {f.name: dict(f.fingerprint) for f in members} if several else first.fingerprint
        self.provenance = {f.name: dict(f.provenance) for f in members} if several else first.provenance
        self.dtype: Any = {f.name: f.spec.dtype for f in members} if several else first.spec.dtype
        """How the store holds the values; of several features by name."""
        self.complete = all(f.complete for f in members)

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """(layers, dimension) of each feature; no layers are 0."""
        return tuple((len(f.layers), f.dimension) for f in self.members)

    @lazy_property
    def position(self) -> dict[str, int]:
        """Id of an utterance that every feature has -> its index in `lengths`."""
        common = set.intersection(*(set(f.position) for f in self.members))
        return {id: i for id, i in self.members[0].position.items() if id in common}

    @property
    def stale(self) -> list[str]:
        """Utterances whose audio or text has changed since the values of any of the features were extracted."""
        return list(dict.fromkeys(id for f in self.members for id in f.stale))

    def encoder_seconds(self, ids: Sequence[str]) -> float | None:
        """How long all encoders took for some utterances; None unless that is recorded of each."""
        found = [f.encoder_seconds(ids) for f in self.members]
        return None if None in found else sum(filter(None, found))


def require_alignment(feature: CombinedFeature) -> None:
    """Refuse features whose frames have no common time.

    Raises:
        UsageError: Names the two features and the reason.
    """
    first, *others = feature.members
    for other in others:
        one, two = (int(f.lengths.max(initial=1)) for f in (first, other))
        pair = f"--{feature.modality} {first.name} --{feature.modality} {other.name}"
        if two == 1:
            continue
        if one == 1:
            raise UsageError(
                f"{pair}: {first.name!r} has one vector per utterance and {other.name!r} has frames, and frames follow "
                f"the first feature: name {other.name!r} first"
            )
        if feature.modality == "text":
            if _tokenizer(first) is None or _tokenizer(first) != _tokenizer(other):
                raise UsageError(
                    f"{pair}: their encoders cut words into different pieces, which do not align: use features of one "
                    "vector per utterance (extract --views mean), or model linear, which pools each feature by itself"
                )
        elif first.frame_rate is None or other.frame_rate is None:
            without = first if first.frame_rate is None else other
            raise UsageError(f"{pair}: {without.name!r} records no frame rate, by which frames are aligned in time")


def _tokenizer(feature: Member) -> Any:
    return feature.fingerprint.get("tokenizer")
