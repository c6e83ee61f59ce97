"""Joins stores of one corpus: shards of a feature, or what two people extracted; values are copied as raw bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from emofuse.common.console import printable
from emofuse.common.disk.files import behind_link
from emofuse.common.errors import DataError, SeveralProblemsError, UsageError
from emofuse.common.location import Location
from emofuse.manifests.schema import ASR, OF_TEXT, WITHDRAWN, Manifest, Utterance
from emofuse.store.core.assemble import PATIENCE, Gathered, assemble, fresh, gather, writing
from emofuse.store.core.feature import Feature
from emofuse.store.core.fitted_on import in_words
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import FeatureSpec, differences, source_digest

SHOWN = 3
SHARD = "shard"
"""What a feature's provenance says in a shard: its number, and of how many."""
PLANNED = "shard_budget"
"""What a feature's provenance says in a shard: the budget by which all utterances were dealt to the shards."""
_MOST_SHARDS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What came together."""

    utterances: int
    features: dict[str, int]
    """Feature -> utterances that it holds."""
    settled: tuple[str, ...]
    """Conflicts that were decided in favour of the store that was named first."""
    absent: dict[str, list[int]] = field(default_factory=dict)
    """Feature -> numbers of the shards (`extract --shard`) that are not among the stores."""
    lacking: dict[str, int] = field(default_factory=dict)
    """Feature of which all shards are there -> utterances that are in none of them."""


def merge(target: Path, sources: Sequence[Location], *, prefer_first: bool = False) -> Merged:
    """Write a store that holds what all the sources hold.

    Of an utterance or value that several hold, they must hold the same; a survey that only one has made counts for all.

    Args:
        target: A new file, or one of the sources, which is then replaced.
        sources: Stores of one corpus, read by one reader; they may lie behind URLs.
        prefer_first: Where manifest rows or values differ, take those of the store that is named first. Features made
            in different ways, or fitted on different things, are never mixed.

    Raises:
        UsageError: Other corpora, or conflicts: all are named.
        DataError: A source is damaged, or no room.
    """
    target = behind_link(target)
    with writing(target), ExitStack() as stack:
        own = [s for s in sources if isinstance(s, Path) and s.exists() and target.exists() and s.samefile(target)]
        if target.exists() and not own:
            raise UsageError(f"{target} exists already and is none of the stores to merge; delete it or name another")
        return _merge(target, [stack.enter_context(FeatureStore(s)) for s in sources], prefer_first)


def _merge(target: Path, sources: Sequence[FeatureStore], prefer_first: bool) -> Merged:
    fatal = _other_corpora(sources)
    by_name: dict[str, list[Feature]] = {}
    for store in sources:
        for feature in store.require_sound().features.values():
            by_name.setdefault(feature.name, []).append(feature)
    fatal += [problem for same in by_name.values() for problem in _made_otherwise(same)]
    refuse = "these stores cannot be merged"
    if fatal:
        raise SeveralProblemsError(f"{refuse}:", fatal)
    conflicts: list[str] = []
    manifest = _merged_manifest([s.manifest for s in sources], conflicts)
    conflicts += [problem for same in by_name.values() for problem in _other_values(same, manifest)]
    dealt = {name: _dealt_otherwise(same) for name, same in by_name.items()}
    if conflicts and not prefer_first:
        why = [*conflicts, *(problem for problems in dealt.values() for problem in problems)]
        raise SeveralProblemsError(f"{refuse}; --prefer-first takes what the store named first holds:", why)
    gathered = [g for same in by_name.values() if (g := gather(manifest, same))]
    absent = {
        g.spec.name: numbers
        for g in gathered
        if _lacks_some(g, manifest) and (numbers := _absent_shards(by_name[g.spec.name]))
    }
    gaps = {g.spec.name: _gap(g, manifest, by_name[g.spec.name]) for g in gathered if g.spec.name not in absent}
    lacking = {name: gap for name, gap in gaps.items() if gap}
    if problems := [problem for name in lacking for problem in dealt[name]]:
        raise SeveralProblemsError(f"{refuse}, for together they do not hold all:", problems)
    gathered = [g if g.spec.name in absent else replace(g, spec=_of_no_shard(g.spec)) for g in gathered]
    assemble(target, manifest, gathered)
    held = {g.spec.name: len(g.rows) for g in gathered}
    return Merged(utterances=len(manifest), features=held, settled=tuple(conflicts), absent=absent, lacking=lacking)


def _lacks_some(gathered: Gathered, manifest: Manifest) -> bool:
    return not set(_having(gathered, manifest)) <= set(gathered.rows.tolist())


def _having(gathered: Gathered, manifest: Manifest) -> list[int]:
    modality = gathered.spec.modality
    return [row for row, u in enumerate(manifest.utterances) if getattr(u, modality) or source_digest(modality, u)]


def _gap(gathered: Gathered, manifest: Manifest, same: Sequence[Feature]) -> int:
    """How many utterances of which a shard knows, and which none excludes, are in no store."""
    known, excluded = set[str](), set[str]()
    for feature in same:
        if SHARD in feature.provenance:
            known |= set(feature.store.manifest.ids)
            of = (None, gathered.spec.modality)
            excluded |= {e.id for e in feature.store.manifest.excluded if e.modality in of}
    lacking = set(_having(gathered, manifest)) - set(gathered.rows.tolist())
    return len({manifest.utterances[row].id for row in lacking} & known - excluded)


def _dealt_otherwise(same: Sequence[Feature]) -> list[str]:
    """Shards of one split whose utterances were dealt by different budgets."""
    shards = [f for f in same if PLANNED in f.provenance]
    return [
        f"feature {f.name!r}: the shard {shards[0].path} was dealt by batches of {shards[0].provenance[PLANNED]}, "
        f"{f.path} by batches of {f.provenance[PLANNED]}: extract all shards anew with one --budget"
        for f in shards[1:]
        if f.provenance[PLANNED] != shards[0].provenance[PLANNED] and _split(f) == _split(shards[0])
    ]


def _split(feature: Feature) -> Any:
    said = feature.provenance.get(SHARD)
    return said[-1] if isinstance(said, list) and said else None


def _absent_shards(same: Sequence[Feature]) -> list[int]:
    """Numbers of the shards of a feature that are missing; the largest split that any store is of counts."""
    said = [f.provenance.get(SHARD) for f in same]
    found = [s for s in said if isinstance(s, list) and len(s) == 2 and all(type(n) is int for n in s)]
    if not found:
        return []
    of = max(count for _, count in found)
    return sorted({*range(1, min(of, _MOST_SHARDS) + 1)} - {number for number, count in found if count == of})


def _of_no_shard(spec: FeatureSpec) -> FeatureSpec:
    return replace(spec, provenance={k: v for k, v in spec.provenance.items() if k not in (SHARD, PLANNED)})


def collect(target: Path, manifest: Manifest, names: Sequence[str], shards: Sequence[Path]) -> None:
    """Make the features `names`, whose utterances lie in several shards, part of the store `target`.

    Values are copied as they are and then read once against their checksums.

    Args:
        target: The store; may not exist yet, or hold these features in part, and others.
        manifest: What it should know afterwards, together with what it knows already.
        names: The features.
        shards: Stores that hold them, made alike.

    Raises:
        UsageError: A shard holds a feature that was made otherwise.
        DataError: Values are damaged, or no room; the shards are as they were.
    """
    target = behind_link(target)
    with writing(target, wait=PATIENCE), ExitStack() as stack:
        older = stack.enter_context(FeatureStore(target)).require_sound() if target.exists() else None
        stores = [stack.enter_context(FeatureStore(s)).require_sound() for s in shards]
        held = {name: [s.features[name] for s in stores if name in s.features] for name in names}
        problems = []
        for name, same in held.items():
            same += [older.features[name]] if older and name in older.features else []
            problems += _made_otherwise(same)
        if problems:
            raise SeveralProblemsError("these shards do not belong together:", problems)
        merged = manifest.merged_into(older.manifest if older else None)
        others = [[f] for f in older.features.values() if f.name not in held] if older else []
        assemble(target, merged, [g for same in (*others, *held.values()) if same and (g := gather(merged, same))])
    with FeatureStore(target) as store:
        damaged = {name: ids for name in names if name in store.features and (ids := store.features[name].damaged())}
    if damaged:
        said = "; ".join(f"{name}: {len(ids)} utterances, {ids[0]} first" for name, ids in damaged.items())
        raise DataError(f"{target} has damaged values ({said}): run the same command again, which encodes them anew")


def _other_corpora(sources: Sequence[FeatureStore]) -> list[str]:
    first = sources[0]
    return [
        f"{s.path} was {verb} {of!r}, {first.path} {verb} {ours!r}"
        for s in sources[1:]
        for verb, of, ours in (
            ("made for corpus", s.corpus, first.corpus),
            ("read by", s.manifest.reader, first.manifest.reader),
        )
        if of != ours
    ]


def _made_otherwise(same: Sequence[Feature]) -> list[str]:
    """In what the same feature of several stores differs beyond its utterances."""
    first, found = same[0], []
    for other in same[1:]:
        pairs = [
            (key, getattr(first.spec, key), getattr(other.spec, key))
            for key in ("modality", "encoder", "dimension", "layers", "view", "frame_rate", "dtype")
        ]
        differing = [f"{key}: {json.dumps(a)} and {json.dumps(b)}" for key, a, b in pairs if a != b]
        said = [f.provenance.get("fitted_on") for f in (first, other)]
        if said[0] != said[1]:
            differing.append(f"fitted on: {' and '.join(printable(in_words(s), 300) for s in said)}")
        differing += differences(first.fingerprint, other.fingerprint)
        if first.scale is not None and other.scale is not None and (first.scale != other.scale).any():
            differing.append("scale: int8 of other scales; merge what they were made from")
        found += [f"feature {first.name!r} of {first.path} and {other.path}: {d}" for d in differing]
    return found


def _merged_manifest(manifests: Sequence[Manifest], conflicts: list[str]) -> Manifest:
    merged = manifests[0]
    for other in manifests[1:]:
        known = {u.id: u for u in merged.utterances}
        for theirs in other.utterances:
            ours = known.get(theirs.id)
            known[theirs.id] = theirs if ours is None else _joined(ours, theirs, conflicts)
        excluded = {(e.id, e.modality): e for e in (*other.excluded, *merged.excluded)}
        for withdrawn in (e for e in excluded.values() if e.reason == WITHDRAWN):
            known.pop(withdrawn.id, None)
        left_out = [
            e
            for e in excluded.values()
            if e.id not in known or (e.modality and getattr(known[e.id], e.modality) is None)
        ]
        merged = replace(merged, utterances=tuple(known.values()), excluded=tuple(left_out))
    return merged.without_text() if any(m.withholds_text for m in manifests) else merged


def _joined(ours: Utterance, theirs: Utterance, conflicts: list[str]) -> Utterance:
    """One row of two: what only one says is taken over, what they say differently is a conflict."""
    taken = {}
    ours, theirs = _by_people(ours, theirs), _by_people(theirs, ours)
    said = [source_digest("text", u) for u in (ours, theirs)]
    if None not in said and said[0] != said[1] and None in (ours.text, theirs.text):
        conflicts.append(f"{ours.id}: text is another one (left out of one of the stores)")
        return ours
    for name in (f.name for f in fields(Utterance)):
        a, b = getattr(ours, name), getattr(theirs, name)
        if a in (None, {}):
            taken[name] = b
        elif b not in (None, {}, a):
            conflicts.append(f"{ours.id}: {name} is {a!r} and {b!r}")
    return replace(ours, **taken)


def _by_people(one: Utterance, other: Utterance) -> Utterance:
    """`one`, with the other's text where a recogniser wrote its own and the corpus the other's."""
    if one.text_kind != ASR or other.text_kind == ASR or source_digest("text", other) is None:
        return one
    return replace(one, text=other.text, **{name: getattr(other, name) for name in OF_TEXT})


def _other_values(same: Sequence[Feature], manifest: Manifest) -> list[str]:
    """Utterances of which two stores hold different values of the present audio or text."""
    held: dict[str, list[tuple[Feature, int]]] = {}
    for feature in same:
        for i, (id, mark) in enumerate(zip(feature.ids, feature.marks().tolist(), strict=True)):
            if mark:
                held.setdefault(id, []).append((feature, i))
    differing: dict[str, list[str]] = {}
    for utterance in manifest.utterances:
        candidates = held.get(utterance.id, ())
        if len(candidates) < 2:
            continue
        (first, at), *others = fresh(candidates, utterance)
        for other, i in others:
            if other.marks()[i] != first.marks()[at]:
                differing.setdefault(f"{first.path} and {other.path}", []).append(utterance.id)
    return [
        f"feature {same[0].name!r} of {where}: other values for {len(ids)} utterances, {', '.join(ids[:SHOWN])} first"
        for where, ids in differing.items()
    ]
