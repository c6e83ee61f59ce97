"""Which features of a store a model is fitted on, and the exact `extract` command wherever one is missing."""

from __future__ import annotations

from emofuse.common.errors import EmofuseError, UnknownNameError, UsageError
from emofuse.store import Feature, Store
from emofuse.train.advice import UNLAYERED, adding, extract_command, for_lacking, for_unknown, renewed
from emofuse.train.models.base import ModelSpec


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
    commands = [
        adding(store, m, encoder, layered=spec.layered) for m, encoder in spec.features.items() if store.manifest.has(m)
    ]
    return "add one: " + "\n  or: ".join(commands)


def _feature(store: Store, name: str, spec: ModelSpec, modality: str, wanted: str | None) -> tuple[Feature, str | None]:
    of_modality = {n: f for n, f in store.features.items() if f.modality == modality}
    candidates = {n: f for n, f in of_modality.items() if _fits(f, spec, modality)} or of_modality
    default = spec.features[modality]
    if wanted in store.features and wanted not in of_modality:
        raise UsageError(f"--{modality} {wanted}: that feature is {store.features[wanted].modality}")
    if wanted in of_modality:
        return of_modality[wanted], None
    if not store.manifest.has(modality):
        needed = f"{store.path}: corpus {store.manifest.corpus} has no {modality}, and model {name} needs it"
        raise UsageError(needed + for_lacking(store, modality, default))
    if wanted is not None:
        hint = for_unknown(store, modality, wanted, list(of_modality), layered=spec.layered)
        raise UnknownNameError(f"{modality} feature in {store.path}", wanted, of_modality, hint)
    if default in candidates:
        return candidates[default], None
    if len(candidates) == 1:
        only = next(iter(candidates.values()))
        return only, f"{modality} feature {only.name!r}, the only one (the preset names {default!r})"
    if candidates:
        raise UsageError(
            f"{store.path} has several {modality} features, {', '.join(sorted(candidates))}: give --{modality} NAME"
        )
    raise UsageError(
        f"{store.path} has no {modality} feature; add one: {adding(store, modality, default, layered=spec.layered)}"
    )


def _usable(store: Store, name: str, spec: ModelSpec, feature: Feature) -> None:
    if not feature.complete:
        raise UsageError(
            f"feature {feature.name!r} of {store.path} is incomplete; the same command finishes it: "
            + extract_command(store, feature.encoder, like=feature, name=feature.name)
        )
    if bool(feature.layers) == spec.layered:
        return
    held = f"holds {len(feature.layers)} layers per frame, model {name} takes one: "
    problem = f"feature {feature.name!r} " + (
        f"has no layer axis, which model {name} needs: " if spec.layered else held
    )
    modality = feature.modality
    fitting = [f.name for f in store.features.values() if _fits(f, spec, modality)]
    if fitting:
        raise UsageError(f"{problem}give --{modality} {' or '.join(sorted(fitting))}")
    if spec.layered and feature.encoder in UNLAYERED:
        raise UsageError(problem + adding(store, modality, spec.features[modality], layered=True))
    kind = "layers" if spec.layered else "last"
    raise UsageError(problem + renewed(store, modality, feature.encoder, feature, kind))
