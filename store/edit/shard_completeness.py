"""Shards: stores that `extract --shard` writes with a share of the utterances each, and what is missing among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from emofuse.manifests.schema import Manifest
from emofuse.store.core.assemble import FeatureSources
from emofuse.store.core.feature import Feature
from emofuse.store.core.spec import FeatureSpec, source_digest

SHARD_KEY = "shard"
"""Provenance of a feature in a shard: [the shard's number, number of shards]."""
SHARD_BUDGET_KEY = "shard_budget"
"""Provenance of a feature in a shard: the batch budget by which the utterances were divided among the shards."""
_MOST_SHARDS = 100_000


def without_shard(spec: FeatureSpec) -> FeatureSpec:
    """The feature without the provenance of a shard."""
    keys = (SHARD_KEY, SHARD_BUDGET_KEY)
    return replace(spec, provenance={k: v for k, v in spec.provenance.items() if k not in keys})


def missing_shards(same: Sequence[Feature]) -> list[int]:
    """Numbers of the shards of one feature that are missing; the largest number of shards in any store counts."""
    recorded = [f.provenance.get(SHARD_KEY) for f in same]
    shards = [s for s in recorded if isinstance(s, list) and len(s) == 2 and all(type(n) is int for n in s)]
    if not shards:
        return []
    count = max(total for _, total in shards)
    return sorted({*range(1, min(count, _MOST_SHARDS) + 1)} - {number for number, total in shards if total == count})


def budget_conflicts(same: Sequence[Feature]) -> list[str]:
    """Shards of one feature, of as many shards, whose utterances were divided by different budgets."""
    shards = [f for f in same if SHARD_BUDGET_KEY in f.provenance]
    return [
        f"feature {f.name!r}: the shard {shards[0].path} was made with batches of "
        f"{shards[0].provenance[SHARD_BUDGET_KEY]}, {f.path} with batches of {f.provenance[SHARD_BUDGET_KEY]}: extract "
        "all shards again with one --budget"
        for f in shards[1:]
        if f.provenance[SHARD_BUDGET_KEY] != shards[0].provenance[SHARD_BUDGET_KEY]
        and _shard_count(f) == _shard_count(shards[0])
    ]


def _shard_count(feature: Feature) -> Any:
    shard = feature.provenance.get(SHARD_KEY)
    return shard[-1] if isinstance(shard, list) and shard else None


def is_incomplete(sources: FeatureSources, manifest: Manifest) -> bool:
    """Whether utterances of the feature's modality are missing from it."""
    return not set(_rows_with_modality(sources, manifest)) <= set(sources.rows.tolist())


def count_missing(sources: FeatureSources, manifest: Manifest, same: Sequence[Feature]) -> int:
    """Number of utterances that a shard knows, that no shard excludes, and that no store has values of."""
    known, excluded = set[str](), set[str]()
    for feature in same:
        if SHARD_KEY in feature.provenance:
            shard = feature.file.manifest
            known |= set(shard.ids)
            excluded |= {e.id for e in shard.excluded if e.modality in (None, sources.spec.modality)}
    rows = set(_rows_with_modality(sources, manifest)) - set(sources.rows.tolist())
    return len({manifest.utterances[row].id for row in rows} & known - excluded)


def _rows_with_modality(sources: FeatureSources, manifest: Manifest) -> list[int]:
    modality = sources.spec.modality
    return [row for row, u in enumerate(manifest.utterances) if getattr(u, modality) or source_digest(modality, u)]
