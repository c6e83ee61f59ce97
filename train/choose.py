"""Which features of a store a model is fitted on, and the exact `extract` command wherever one is missing."""

from __future__ import annotations

import shlex

from emofuse.common.errors import EmofuseError, UnknownNameError, UsageError
from emofuse.store import Feature, Store
from emofuse.train.models.base import ModelSpec


def extract_command(store: Store, encoder: str, *more: str) -> str:
    """The command that adds a feature to a store."""
    words = ("extract", "--dataset", store.manifest.corpus, "--encoder", encoder, *more, "--store", str(store.path))
    return shlex.join(words)


def choose(
    store: Store, name: str, spec: ModelSpec, wanted: dict[str, str | None], problems: list[EmofuseError]
) -> tuple[dict[str, Feature], list[str]]:
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
    chosen: dict[str, Feature] = {}
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
    store: Store, name: str, spec: ModelSpec, wanted: dict[str, str | None], problems: list[EmofuseError]
) -> list[str]:
    named = [m for m in spec.modalities if wanted[m] is not None]
    present = [m for m in spec.modalities if any(_fits(f, spec, m) for f in store.features.values())]
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


def _fits(feature: Feature, spec: ModelSpec, modality: str) -> bool:
    return feature.modality == modality and bool(feature.layers) == spec.layered


def _advice(store: Store, spec: ModelSpec) -> str:
    layers = ("--layers", "all") if spec.layered else ()
    commands = [
        extract_command(store, encoder, *layers) for m, encoder in spec.features.items() if store.manifest.has(m)
    ]
    return "add one: " + "\n  or: ".join(commands)


def _feature(store: Store, name: str, spec: ModelSpec, modality: str, wanted: str | None) -> tuple[Feature, str | None]:
    of_modality = {n: f for n, f in store.features.items() if f.modality == modality}
    candidates = {n: f for n, f in of_modality.items() if _fits(f, spec, modality)} or of_modality
    default = spec.features[modality]
    if wanted is not None:
        if wanted not in store.features:
            raise UnknownNameError(
                f"{modality} feature in {store.path}", wanted, of_modality, f"Add it: {extract_command(store, wanted)}"
            )
        if wanted not in of_modality:
            raise UsageError(f"--{modality} {wanted}: that feature is {store.features[wanted].modality}")
        return store.features[wanted], None
    if default in candidates:
        return candidates[default], None
    if len(candidates) == 1:
        only = next(iter(candidates.values()))
        return only, f"{modality} feature {only.name!r}, the only one (the preset names {default!r})"
    if candidates:
        raise UsageError(
            f"{store.path} has several {modality} features, {', '.join(sorted(candidates))}: give --{modality} NAME"
        )
    if not store.manifest.has(modality):
        raise UsageError(f"{store.path}: corpus {store.manifest.corpus} has no {modality}, and model {name} needs it")
    layers = ("--layers", "all") if spec.layered else ()
    raise UsageError(f"{store.path} has no {modality} feature; add one: {extract_command(store, default, *layers)}")


def _usable(store: Store, name: str, spec: ModelSpec, feature: Feature) -> None:
    if not feature.complete:
        raise UsageError(
            f"feature {feature.name!r} of {store.path} is incomplete; the same command finishes it: "
            + extract_command(store, feature.encoder)
        )
    if spec.layered and not feature.layers:
        more = ("--layers", "all", "--name", f"{feature.name}-all")
        raise UsageError(
            f"feature {feature.name!r} has no layer axis, which model {name} needs: "
            + extract_command(store, feature.encoder, *more)
        )
    if feature.layers and not spec.layered:
        more = ("--layers", "last", "--name", f"{feature.name}-last")
        raise UsageError(
            f"feature {feature.name!r} holds {len(feature.layers)} layers per frame, model {name} takes one: "
            + extract_command(store, feature.encoder, *more)
        )
