"""Which utterances of a store make up the task, and whether they are as many as the protocol expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emofuse.common.errors import UsageError
from emofuse.manifests.folds import check_groups
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.train.resolve.joined_store import AnyFeature, AnyStore


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSelection:
    """The utterances that a model is fitted and tested on, and what became of the others."""

    utterances: tuple[Utterance, ...]
    """Those with a class of the protocol and every feature."""
    excluded: Mapping[str, str]
    """Id -> reason of those that lack a feature, the known gaps of the release left aside."""
    found: int
    """What is compared with the expected total: `utterances` and the known gaps."""
    differences: tuple[str, ...] = ()
    """How the counts differ from the expected ones, as far as `--allow-missing` lets them."""
    remarks: tuple[str, ...] = ()


def select_task(store: AnyStore, protocol: Protocol, features: Mapping[str, AnyFeature], allowed: int) -> TaskSelection:
    """Select the task's utterances and compare their counts with the protocol's.

    Without expected counts there is nothing to differ from: what lacks a feature is excluded and listed.

    Args:
        allowed: By how much each count may differ.

    Raises:
        UsageError: No utterance is left, some are in no fold, or the counts differ by more than is allowed.
    """
    labelled = [u for u in store.manifest.utterances if protocol.class_of(u) is not None]
    if not labelled:
        labels = sorted({str(u.label) for u in store.manifest.utterances})
        raise UsageError(
            f"no utterance of {store.path} has a label of protocol {protocol.name}; it has: {', '.join(labels)}"
        )
    check_groups(protocol, labelled)
    held = {m: set(f.position) - set(f.stale) for m, f in features.items()}
    available = set.intersection(*held.values())
    kept = tuple(u for u in labelled if u.id in available)
    if not kept:
        raise UsageError(f"no utterance of protocol {protocol.name} in {store.path} has every feature: extract again")
    excluded = {u.id: _reason(store, u.id, held) for u in labelled if u.id not in available}
    if protocol.expected is None:
        known = set(store.manifest.ids)
        excluded |= {e.id: e.reason for e in store.manifest.excluded if e.modality in held and e.id not in known}
        useless = ("--allow-missing has no effect: the protocol states no counts",) if allowed else ()
        return TaskSelection(utterances=kept, excluded=excluded, found=len(kept), remarks=useless)
    gaps = sorted(excluded.keys() & set(protocol.expected.without_audio))
    excluded = {id: reason for id, reason in excluded.items() if id not in gaps}
    counted = [u for u in labelled if u.id not in excluded]
    differences = protocol.differences(labelled, available)
    off = max(protocol.off(counted), len(excluded))
    if off > allowed:
        lines = [*differences, *_lacking(held, excluded)]
        raise UsageError(
            f"the counts of protocol {protocol.name} do not come out of {store.path} "
            f"(off by {off}, allowed {allowed}):\n  - "
            + "\n  - ".join(lines)
            + f"\nFinish or repair the extraction, or go on with a reduced task: --allow-missing {off}"
        )
    remarks = (f"known gaps of the release, without features: {', '.join(gaps)}",) if gaps else ()
    return TaskSelection(
        utterances=kept, excluded=excluded, found=len(counted), differences=tuple(differences), remarks=remarks
    )


def _reason(store: AnyStore, id: str, held: Mapping[str, set[str]]) -> str:
    said = {(e.id, e.modality): e.reason for e in store.manifest.excluded}
    lacking = [modality for modality, ids in held.items() if id not in ids]
    return "; ".join(said.get((id, m)) or said.get((id, None)) or f"no up-to-date {m} feature" for m in lacking)


def _lacking(held: Mapping[str, set[str]], excluded: Mapping[str, str]) -> list[str]:
    found = []
    for modality, ids in held.items():
        absent = [i for i in excluded if i not in ids]
        if absent:
            shown = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
            found.append(
                f"without an up-to-date {modality} feature: {len(absent)} ({shown}); "
                f"{absent[0]!r} because: {excluded[absent[0]]}"
            )
    return found
