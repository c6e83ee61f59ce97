"""Which utterances of a store make up the task, and whether their counts are those that the protocol expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emofuse.common.errors import UsageError, raise_problems
from emofuse.manifests.folds.cross_validation import check_groups
from emofuse.manifests.folds.sides_from_file import fold_file_problems, fold_file_remarks
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.row_filter import where_problems, where_text
from emofuse.manifests.schema import Utterance
from emofuse.manifests.targets.truth import classes_in, truth_problems, truth_remarks
from emofuse.train.resolve.features.joined_store import AnyFeature, AnyStore


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSelection:
    """The utterances that a model is trained and tested on, and why others are excluded."""

    utterances: tuple[Utterance, ...]
    """Utterances with a class of the protocol and with every feature."""
    excluded: Mapping[str, str]
    """Id -> reason, of utterances without a feature; without the known gaps of the corpus release."""
    counted: int
    """What is compared with the expected total: `utterances` and the known gaps."""
    missing: tuple[Utterance, ...] = ()
    """Utterances with a class of the protocol that lack a feature, also the known gaps of the release."""
    differences: tuple[str, ...] = ()
    """Counts that differ from the expected ones and that `--allow-missing` accepts."""
    remarks: tuple[str, ...] = ()


def select_task(store: AnyStore, protocol: Protocol, features: Mapping[str, AnyFeature], allowed: int) -> TaskSelection:
    """Select the task's utterances and compare their counts with the protocol's.

    A protocol without expected counts accepts any counts; utterances without a feature are excluded and listed.

    Args:
        features: By modality.
        allowed: By how much each count may differ.

    Raises:
        UsageError: No utterance is left, some belong to no fold, or a count differs by more than `allowed`.
    """
    labelled = _labelled_utterances(store, protocol, allowed)
    usable = {m: set(f.position) - set(f.stale) for m, f in features.items()}
    available = set.intersection(*usable.values())
    selected = tuple(u for u in labelled if u.id in available)
    if not selected:
        raise UsageError(f"no utterance of protocol {protocol.name} in {store.path} has every feature: extract again")
    missing = tuple(u for u in labelled if u.id not in available)
    excluded = {u.id: _reason(store, u.id, usable) for u in missing}
    about_folds = [*fold_file_remarks(protocol, store.manifest), *_truth_remarks(store, protocol, labelled)]
    if protocol.expected is None:
        known = set(store.manifest.ids)
        excluded |= {e.id: e.reason for e in store.manifest.excluded if e.modality in usable and e.id not in known}
        remarks = ["--allow-missing has no effect: the protocol states no counts"] if allowed else []
        return TaskSelection(
            utterances=selected,
            excluded=excluded,
            counted=len(selected),
            missing=missing,
            remarks=(*remarks, *about_folds),
        )
    gaps = sorted(excluded.keys() & set(protocol.expected.without_audio))
    about_gaps = [f"known gaps of the release, without features: {', '.join(gaps)}"] if gaps else []
    excluded = {id: reason for id, reason in excluded.items() if id not in gaps}
    counted = [u for u in labelled if u.id not in excluded]
    differences = protocol.differences(labelled, available)
    off = max(protocol.largest_difference(counted), len(excluded))
    if off > allowed:
        lines = [*differences, *_missing_features(usable, excluded)]
        raise UsageError(
            f"the counts of {store.path} do not match protocol {protocol.name} (off by {off}, allowed {allowed}):\n  - "
            + "\n  - ".join(lines)
            + f"\nFinish or repair the extraction, or continue with a reduced task: --allow-missing {off}"
        )
    return TaskSelection(
        utterances=selected,
        excluded=excluded,
        counted=len(counted),
        missing=missing,
        differences=tuple(differences),
        remarks=(*about_gaps, *about_folds),
    )


def _labelled_utterances(store: AnyStore, protocol: Protocol, allowed: int) -> Sequence[Utterance]:
    """Utterances with a class of the protocol, each of which belongs to a fold, with names in one spelling."""
    problems = where_problems(protocol.where, store.manifest.utterances, protocol.names)
    problems += fold_file_problems(protocol, store.manifest, allowed)
    raise_problems(problems, f"{store.path} does not match protocol {protocol.name}")
    labelled = protocol.with_one_spelling([u for u in store.manifest.utterances if protocol.has(u)])
    if not labelled:
        raise_problems(_missing_annotation(store, protocol), f"{store.path} does not match protocol {protocol.name}")
        labels = sorted({str(u.label) for u in store.manifest.utterances})
        where = f" where {where_text(protocol.where)}" if protocol.where else ""
        raise UsageError(
            f"no utterance of {store.path} has a label of protocol {protocol.name}{where}; it has: {', '.join(labels)}"
        )
    raise_problems(truth_problems(protocol.target, labelled), f"{store.path} does not match protocol {protocol.name}")
    check_groups(protocol, labelled)
    return labelled


def _candidates(store: AnyStore, protocol: Protocol) -> list[Utterance]:
    """The utterances that the task would have if all had votes and ratings."""
    target, labels = protocol.target, protocol.labels
    by_label = bool(labels) and target.kind != "distribution"
    return [
        u
        for u in store.manifest.utterances
        if protocol.selects(u) and (not by_label or classes_in(protocol.own_label(u), target, labels))
    ]


def _truth_remarks(store: AnyStore, protocol: Protocol, labelled: Sequence[Utterance]) -> list[str]:
    if protocol.declared_target is None:
        return []
    remarks = truth_remarks(protocol.target, _candidates(store, protocol), labelled)
    if protocol.target.kind == "multilabel":
        selected = sum(protocol.selects(u) for u in store.manifest.utterances)
        without = selected - len(labelled)
        remarks += [f"without a label of the protocol and left out: {without} of {selected}"] if without else []
    return remarks


def _missing_annotation(store: AnyStore, protocol: Protocol) -> list[str]:
    """The votes or ratings that no utterance has; what utterances have instead."""
    target, candidates = protocol.target, _candidates(store, protocol)
    needed = [d.field for d in target.dimensions] + [target.votes_field] * (target.kind == "distribution")
    absent = [key for key in needed if all(key not in u.extra for u in candidates)]
    known = sorted({key for u in candidates for key in u.extra})
    return [f"no utterance has {key!r}; further annotations: {', '.join(known) or 'none'}" for key in absent]


def _reason(store: AnyStore, id: str, usable: Mapping[str, set[str]]) -> str:
    """Why an utterance has no feature of some modality, as the manifest records it."""
    recorded = {(e.id, e.modality): e.reason for e in store.manifest.excluded}
    missing = [modality for modality, ids in usable.items() if id not in ids]
    return "; ".join(recorded.get((id, m)) or recorded.get((id, None)) or f"no up-to-date {m} feature" for m in missing)


def _missing_features(usable: Mapping[str, set[str]], excluded: Mapping[str, str]) -> list[str]:
    """One line per modality: how many utterances have no feature, the first ids, and the first reason."""
    lines = []
    for modality, ids in usable.items():
        missing = [i for i in excluded if i not in ids]
        if missing:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            lines.append(
                f"without an up-to-date {modality} feature: {len(missing)} ({shown}); "
                f"{missing[0]!r} because: {excluded[missing[0]]}"
            )
    return lines
