"""Which features of a store a model is fitted on, and the exact `extract` command wherever one is missing."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.common.errors import EmofuseError, UnknownNameError, UsageError
from emofuse.train.models.base import ModelSpec
from emofuse.train.resolve.extract_hints import (
    UNLAYERED,
    adding,
    extract_command,
    for_lacking,
    for_unknown,
    made_by,
    renewed,
    usual_name,
)
from emofuse.train.resolve.joined_store import AnyFeature, AnyStore, JoinedFeature, JoinedStore, held_by, offered, parts


def select_features(
    store: AnyStore, name: str, spec: ModelSpec, wanted: dict[str, str | None], problems: list[EmofuseError]
) -> tuple[dict[str, AnyFeature], list[str]]:
    """The features of a model by modality, and remarks for the user.

    Args:
        name: The model's registered name.
        wanted: What the user named per modality, or none.
        problems: Mistakes are appended here.
    """
    for modality in wanted:
        if wanted[modality] is not None and modality not in spec.modalities:
            problems.append(
                UsageError(f"--{modality} has no effect: model {name} uses {' and '.join(spec.modalities)} alone")
            )
    chosen: dict[str, AnyFeature] = {}
    remarks: list[str] = []
    for modality in _modalities(store, name, spec, wanted, problems):
        try:
            feature, remark = _feature(store, name, spec, modality, wanted[modality])
            _usable(store, name, spec, feature)
        except UsageError as error:
            problems.append(error)
        else:
            chosen[modality] = feature
            remarks += [remark] if remark else []
    return chosen, remarks


def _modalities(
    store: AnyStore, name: str, spec: ModelSpec, wanted: dict[str, str | None], problems: list[EmofuseError]
) -> list[str]:
    named = [m for m in spec.modalities if wanted[m] is not None]
    present = [m for m in spec.modalities if any(_fits(f, spec, m) for f in offered(store).values())]
    if spec.needs == "all":
        return list(spec.modalities)
    if spec.needs == "any":
        if not (named or present):
            problems.append(UsageError(f"{store.path} has no feature for model {name}; {_advice(store, spec)}"))
        return named or present
    if len(named or present) > 1:
        problems.append(UsageError(f"model {name} takes one feature: give --audio NAME or --text NAME, not both"))
        return []
    if not (named or present):
        problems.append(UsageError(f"{store.path} has no feature for model {name}; {_advice(store, spec)}"))
    return named or present


def _fits(feature: AnyFeature, spec: ModelSpec, modality: str) -> bool:
    return feature.modality == modality and bool(feature.layers) == spec.layered


def _advice(store: AnyStore, spec: ModelSpec) -> str:
    commands = [
        adding(store, m, encoder, layered=spec.layered)
        for m, encoder in spec.features.items()
        if all(s.manifest.has(m) for s in parts(store))
    ]
    return "add one: " + "\n  or: ".join(commands)


def _feature(
    store: AnyStore, name: str, spec: ModelSpec, modality: str, wanted: str | None
) -> tuple[AnyFeature, str | None]:
    held = offered(store)
    of_modality = {n: f for n, f in held.items() if f.modality == modality}
    candidates = {n: f for n, f in of_modality.items() if _fits(f, spec, modality)} or of_modality
    default = spec.features[modality]
    # One part of a feature may be named, too: it is a feature of its own.
    named: dict[str, AnyFeature] = {**store.features, **held}
    if wanted is not None and wanted not in named:
        wanted = usual_name(wanted) if usual_name(wanted) in named else wanted
    if wanted is not None and wanted in named:
        if named[wanted].modality != modality:
            raise UsageError(f"--{modality} {wanted}: that feature is {named[wanted].modality}")
        return named[wanted], None
    silent = [s for s in parts(store) if not s.manifest.has(modality)]
    if silent:
        needed = [
            f"{s.path}: corpus {s.corpus} has no {modality}, and model {name} needs it"
            + for_lacking(s, modality, default)
            for s in silent
        ]
        raise UsageError("\n".join(needed))
    if wanted is not None or not candidates:
        usual = [default, *(n for s in parts(store) for n, f in s.features.items() if _fits(f, spec, modality))]
        _in_all(store, modality, usual if wanted is None else [wanted])
    if wanted is not None:
        hint = for_unknown(store, modality, wanted, list(of_modality), layered=spec.layered)
        raise UnknownNameError(f"{modality} feature in {store.path}", wanted, of_modality, hint)
    if default in candidates:
        return candidates[default], None
    if len(candidates) == 1:
        only = next(iter(candidates.values()))
        every = " that every store has" if isinstance(store, JoinedStore) else ""
        return only, f"{modality} feature {only.name!r}, the only one{every} (the preset names {default!r})"
    if candidates:
        raise UsageError(
            f"{store.path} has several {modality} features, {', '.join(sorted(candidates))}: give --{modality} NAME"
        )
    raise UsageError(
        f"{store.path} has no {modality} feature; add one: {adding(store, modality, default, layered=spec.layered)}"
    )


def _in_all(store: AnyStore, modality: str, names: Sequence[str]) -> None:
    """Refuse the first of `names` that any store has, since others lack it."""
    name = next((n for n in names if any(n in s.features for s in parts(store))), None)
    if name is None:
        return
    having = [s for s in parts(store) if name in s.features]
    held = having[0].features[name]
    if held.modality != modality:
        raise UsageError(f"--{modality} {name}: that feature is {held.modality}")
    where = f"feature {name!r} is in {', '.join(str(s.path) for s in having)} alone"
    raise UsageError(f"{where}; add it: {extract_command(store, held.encoder, like=held, name=name)}")


def _alike(store: AnyStore, spec: ModelSpec, feature: JoinedFeature) -> None:
    """Refuse a feature that the stores have made in different ways."""
    if not feature.differences:
        return
    first = next(iter(feature.parts.values()))
    kind = "layers" if spec.layered else "last" if any(f.layers for f in feature.parts.values()) else "alike"
    again = f"or make it anew in all: {renewed(store, feature.modality, first.encoder, first, kind)}"
    raise UsageError(
        f"feature {feature.name!r} was not made in the same way in all stores:\n    "
        + "\n    ".join(feature.differences)
        + f"\n  Give another --{feature.modality}, "
        + (f"since encoder {first.encoder} leaves no choice" if first.encoder in UNLAYERED else again)
    )


def _usable(store: AnyStore, name: str, spec: ModelSpec, feature: AnyFeature) -> None:
    halves = [(s, half) for s in parts(store) for half in held_by(s, feature) if not half.complete]
    if halves:
        told = [
            f"feature {f.name!r} of {s.path} is incomplete; the same command finishes it: " + made_by(s, f)
            for s, f in halves
        ]
        raise UsageError("\n".join(told))
    if isinstance(feature, JoinedFeature):
        _alike(store, spec, feature)
    if bool(feature.layers) == spec.layered:
        return
    held = f"holds {len(feature.layers)} layers per frame, model {name} takes one: "
    problem = f"feature {feature.name!r} " + (
        f"has no layer axis, which model {name} needs: " if spec.layered else held
    )
    modality = feature.modality
    fitting = [f.name for f in offered(store).values() if _fits(f, spec, modality)]
    if fitting:
        raise UsageError(f"{problem}give --{modality} {' or '.join(sorted(fitting))}")
    if spec.layered and feature.encoder in UNLAYERED:
        raise UsageError(problem + adding(store, modality, spec.features[modality], layered=True))
    kind = "layers" if spec.layered else "last"
    raise UsageError(problem + renewed(store, modality, feature.encoder, feature, kind))
