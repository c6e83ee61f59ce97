"""A feature that the store already has from the same source: its metadata stays; only what was undeclared is added."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.output.console import printable
from emofuse.store import FeatureSpec, FeatureStore
from emofuse.store.core.fitted_on import UNKNOWN_FITTED_ON, describe_fitted_on, normalise_fitted_on
from emofuse.store.core.partial import partial_path

IMPORTED = "imported"
"""The encoder of a feature whose encoder was not declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingFeature:
    """A feature as it is stored now."""

    path: Path
    """The store, or the partial store that an unfinished import left."""
    spec: FeatureSpec
    up_to_date: frozenset[str]
    """Utterances whose stored values are of their present audio or text; empty in a partial store."""
    complete: bool
    """Whether it is in the store itself, not in a partial store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredMetadata:
    """What an import declares about a feature; None means not declared."""

    encoder: str | None
    frame_rate: float | None
    """Hz."""
    fitted_on: list[dict[str, Any]] | None
    declared_by: str
    """What declares `fitted_on`: `--fitted-on`, `the source`, or `nobody`."""


def find_existing(path: Path, spec: FeatureSpec) -> ExistingFeature | None:
    """The feature of this name, if it was imported from the same source and has the same dtype.

    Raises:
        DataError: The store or the partial store is damaged.
    """
    for place, complete in ((path, True), (partial_path(path, spec.name), False)):
        if not place.exists():
            continue
        with FeatureStore(place) as store:
            f = store.features.get(spec.name)
            if f is not None and f.fingerprint == spec.fingerprint and f.spec.dtype == spec.dtype:
                up_to_date = frozenset(f.ids) - set(f.stale) if complete else frozenset()
                return ExistingFeature(path=place, spec=f.spec, up_to_date=up_to_date, complete=complete)
    return None


def with_declared(existing: ExistingFeature, declared: DeclaredMetadata) -> tuple[FeatureSpec, tuple[str, ...]]:
    """Add what is declared for the first time.

    Returns:
        The stored spec with the additions, and each addition as text.

    Raises:
        UsageError: What is declared contradicts what is stored.
    """
    spec = existing.spec
    additions: list[str] = []
    conflicts: list[str] = []
    changes = _fitted_on_change(spec, declared, additions, conflicts)
    for key, option, undeclared, value in (
        ("encoder", "--encoder", IMPORTED, declared.encoder),
        ("frame_rate", "--frame-rate", None, declared.frame_rate),
    ):
        stored = getattr(spec, key)
        if value in (None, stored):
            continue
        if stored == undeclared:
            changes[key] = value
            additions.append(f"now has {key.replace('_', ' ')} {printable(str(value))}")
        else:
            conflicts.append(f"its {key.replace('_', ' ')} is {printable(str(stored))}, {option} says {value}")
    if conflicts:
        remedy = (
            f"`emofuse store rm {existing.path} {spec.name}` removes it first"
            if existing.complete
            else f"delete {existing.path} to start over"
        )
        raise UsageError(
            f"{existing.path} already has feature {spec.name!r} from the same source, with other metadata: "
            f"{'; '.join(conflicts)}. Omit the option to keep what is stored; if that is wrong, {remedy}"
        )
    return replace(spec, **changes), tuple(additions)


def _fitted_on_change(
    spec: FeatureSpec, declared: DeclaredMetadata, additions: list[str], conflicts: list[str]
) -> dict[str, Any]:
    """The changed fields of the spec; appends to `additions` or `conflicts`."""
    stored = spec.provenance.get("fitted_on")
    if declared.fitted_on is None or normalise_fitted_on(declared.fitted_on) == normalise_fitted_on(stored):
        return {}
    statement = printable(describe_fitted_on(declared.fitted_on), 300)
    if normalise_fitted_on(stored) != UNKNOWN_FITTED_ON:
        conflicts.append(
            f"it was fitted on {printable(describe_fitted_on(stored), 300)}, {declared.declared_by} says {statement}"
        )
        return {}
    additions.append(f"is now recorded as fitted on {statement}")
    fitted_on = {"fitted_on": declared.fitted_on, "fitted_on_said_by": declared.declared_by}
    return {"provenance": {**spec.provenance, **fitted_on}}
