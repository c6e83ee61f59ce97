"""Selects the features that a model is trained on; where one is missing, the message has the `extract` command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.problems import Problems
from emofuse.store import Feature
from emofuse.store.core.augmented import copy_refusal, plain_features
from emofuse.train.models.base import ModelSpec
from emofuse.train.resolve.features.combined_feature import CombinedFeature, require_alignment
from emofuse.train.resolve.features.extract_commands import (
    can_hold_layers,
    command_for_variant,
    command_that_adds,
    command_that_made,
    default_feature_name,
    extract_command,
    hint_for_missing_text,
    hint_for_unknown_feature,
)
from emofuse.train.resolve.features.joined_feature import JoinedFeature
from emofuse.train.resolve.features.joined_store import (
    AnyFeature,
    AnyStore,
    JoinedStore,
    available_features,
    member_stores,
    stored_features,
)


def select_features(
    store: AnyStore,
    model: str,
    spec: ModelSpec,
    requested: Mapping[str, Sequence[str]],
    problems: Problems,
    *,
    weighted: bool = False,
) -> tuple[dict[str, AnyFeature], list[str]]:
    """The features of a model by modality, and remarks for the user.

    Args:
        model: Its title, for messages.
        requested: Modality -> the features that the user named; several are combined.
        problems: Mistakes are noted here.
        weighted: Whether the model reads a learned sum over the layers of features.
    """
    for modality in requested:
        if requested[modality] and modality not in spec.modalities:
            used = " and ".join(spec.modalities)
            problems.add(f"--{modality} has no effect: model {model} uses {used} only")
    choice = _FeatureChoice(store=store, model=model, spec=spec, weighted=weighted)
    selected: dict[str, AnyFeature] = {}
    remarks: list[str] = []
    modalities: Sequence[str] = ()
    with problems.collecting():
        modalities = choice.modalities(requested)
    for modality in modalities:
        found: list[AnyFeature] = []
        for name in requested[modality] or (None,):
            with problems.collecting():
                feature, remark = choice.feature(modality, name)
                choice.require_usable(feature)
                found.append(feature)
                remarks += [remark] if remark else []
        if found and len(found) == len(requested[modality] or (None,)):
            with problems.collecting():
                selected[modality] = choice.combined(found)
    with problems.collecting():
        choice.require_layers(selected)
    return selected, remarks


@dataclass(frozen=True, slots=True, kw_only=True)
class _FeatureChoice:
    """The choice of features for one model from one store; every method raises `UsageError` where none is possible."""

    store: AnyStore
    model: str
    spec: ModelSpec
    weighted: bool

    def modalities(self, requested: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """The modalities that the model is trained on: all that it has, those requested, or those in the store."""
        if self.spec.needs == "all":
            return self.spec.modalities
        named = [m for m in self.spec.modalities if requested[m]]
        present = [m for m in self.spec.modalities if self._matching(m)]
        if self.spec.needs == "one" and len(named or present) > 1:
            raise UsageError(f"model {self.model} takes one feature: give --audio NAME or --text NAME, not both")
        if not (named or present):
            commands = [
                command_that_adds(self.store, m, encoder, layered=self.spec.layered)
                for m, encoder in self.spec.features.items()
                if all(s.manifest.has(m) for s in member_stores(self.store))
            ]
            add_one = "add one: " + "\n  or: ".join(commands)
            raise UsageError(f"{self.store.path} has no feature for model {self.model}; {add_one}")
        return named or present

    def feature(self, modality: str, requested: str | None) -> tuple[AnyFeature, str | None]:
        """The requested feature, the preset's or the only one; with a remark where it is not the preset's."""
        available = {n: f for n, f in available_features(self.store).items() if f.modality == modality}
        candidates = self._matching(modality) or available
        if requested is not None:
            feature = self._named(modality, requested)
            if feature is not None:
                return feature, None
        self._require_modality(modality)
        if requested is not None or not candidates:
            self._refuse_where_only_some_stores_have_it(modality, requested)
        if requested is not None:
            hint = hint_for_unknown_feature(self.store, modality, requested, list(available), layered=self.spec.layered)
            raise UnknownNameError(f"{modality} feature in {self.store.path}", requested, available, hint)
        return self._default(modality, candidates)

    def require_usable(self, feature: AnyFeature) -> None:
        """Refuse a feature that is incomplete, differs between stores, or has the wrong number of layers."""
        incomplete = [
            (s, stored)
            for s in member_stores(self.store)
            for stored in stored_features(s, feature)
            if not stored.complete
        ]
        if incomplete:
            messages = [
                f"feature {f.name!r} of {s.path} is incomplete; the same command finishes it: "
                + command_that_made(s, f)
                for s, f in incomplete
            ]
            raise UsageError("\n".join(messages))
        if isinstance(feature, JoinedFeature):
            self._require_same_settings(feature)
        if not self._matches(feature, feature.modality):
            self._refuse_layers(feature)

    def combined(self, features: Sequence[AnyFeature]) -> AnyFeature:
        """Several features of a modality as one; also a single one whose layers are weighted."""
        first, several = features[0], len(features) > 1
        if not several and not (self.weighted and first.layers and not self.spec.layered):
            return first
        names, modality = [f.name for f in features], first.modality
        if several and self.spec.layered:
            raise UsageError(f"model {self.model} takes one feature: give one --{modality}, not {' and '.join(names)}")
        if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise UsageError(f"--{modality} {repeated[0]} is given twice: name each feature once")
        members = [f for f in features if isinstance(f, Feature | JoinedFeature)]
        if len(members) < len(features):
            (name, *_) = [f.name for f in features if f not in members]
            raise UsageError(
                f"feature {name!r} is a separate feature for each fold, and such features are neither combined with "
                "others nor weighted by layers: give one that is the same for all folds"
            )
        feature = CombinedFeature(members)
        if self.spec.pool == "frames":  # a model of pooled features pools each by itself
            require_alignment(feature)
        return feature

    def require_layers(self, selected: Mapping[str, AnyFeature]) -> None:
        """Refuse `--layers weighted` where it has no effect."""
        if not self.weighted:
            return
        if self.spec.layered:
            raise UsageError(f"--layers weighted has no effect: model {self.model} weighs the layers itself")
        combined = [f for f in selected.values() if isinstance(f, CombinedFeature)]
        if selected and not any(layers for feature in combined for layers, _ in feature.parts):
            layered = [f.name for f in available_features(self.store).values() if f.layers]
            remedy = f"those with one: {', '.join(layered)}" if layered else "extract one with --layers all"
            names = " and ".join(repr(f.name) for f in selected.values())
            raise UsageError(f"--layers weighted has no effect: {names} has no layer axis; {remedy}")

    def _matches(self, feature: AnyFeature, modality: str) -> bool:
        layered = bool(feature.layers)
        return feature.modality == modality and (layered == self.spec.layered or (self.weighted and layered))

    def _matching(self, modality: str) -> dict[str, AnyFeature]:
        """The features of a modality that have layers exactly if the model needs them, by name."""
        return {n: f for n, f in available_features(self.store).items() if self._matches(f, modality)}

    def _named(self, modality: str, name: str) -> AnyFeature | None:
        """The feature called `name`, or the one that the encoder `name` makes by default."""
        for copy in (s.features[name] for s in member_stores(self.store) if name in s.features):
            if copy.is_copy:
                raise UsageError(f"--{modality} {name}: {copy_refusal(copy)}")
        # The feature of a single fold (`NAME@1`) may be named too.
        existing: dict[str, AnyFeature] = {**self.store.features, **available_features(self.store)}
        if name not in existing:
            name = default_feature_name(name)
        if name not in existing:
            return None
        _require_modality_of(existing[name], name, modality)
        return existing[name]

    def _require_modality(self, modality: str) -> None:
        without = [s for s in member_stores(self.store) if not s.manifest.has(modality)]
        if without:
            messages = [
                f"{s.path}: corpus {s.corpus} has no {modality}, and model {self.model} needs it"
                + hint_for_missing_text(s, modality, self.spec.features[modality])
                for s in without
            ]
            raise UsageError("\n".join(messages))

    def _refuse_where_only_some_stores_have_it(self, modality: str, requested: str | None) -> None:
        """Name the feature (requested, the preset's, or any that matches) that some stores have and others have not."""
        plain = [(s, plain_features(s.features)) for s in member_stores(self.store)]
        if requested is None:
            matching = (n for _, features in plain for n, f in features.items() if self._matches(f, modality))
            names = [self.spec.features[modality], *matching]
        else:
            names = [requested]
        name = next((n for n in names if any(n in features for _, features in plain)), None)
        if name is None:
            return
        having = [s for s, features in plain if name in features]
        feature = having[0].features[name]
        _require_modality_of(feature, name, modality)
        where = f"feature {name!r} is only in {', '.join(str(s.path) for s in having)}"
        raise UsageError(f"{where}; add it: {extract_command(self.store, feature.encoder, like=feature, name=name)}")

    def _default(self, modality: str, candidates: Mapping[str, AnyFeature]) -> tuple[AnyFeature, str | None]:
        preset = self.spec.features[modality]
        if preset in candidates:
            return candidates[preset], None
        if len(candidates) == 1:
            only = next(iter(candidates.values()))
            in_every_store = " that every store has" if isinstance(self.store, JoinedStore) else ""
            return only, f"{modality} feature {only.name!r}, the only one{in_every_store} (the preset names {preset!r})"
        if candidates:
            names = ", ".join(sorted(candidates))
            raise UsageError(f"{self.store.path} has several {modality} features, {names}: give --{modality} NAME")
        command = command_that_adds(self.store, modality, preset, layered=self.spec.layered)
        raise UsageError(f"{self.store.path} has no {modality} feature; add one: {command}")

    def _require_same_settings(self, feature: JoinedFeature) -> None:
        """Refuse a feature that the stores extracted with different settings."""
        if not feature.differences:
            return
        members = feature.members.values()
        first = next(iter(members))
        if "layers" not in first.spec.fingerprint:
            remedy = f"since encoder {first.encoder} has no settings to change"
        else:
            variant = "layers" if self.spec.layered else "last-layer" if any(f.layers for f in members) else "matched"
            command = command_for_variant(self.store, feature.modality, first.encoder, first, variant)
            remedy = f"or extract it again for all stores: {command}"
        raise UsageError(
            f"feature {feature.name!r} was not extracted with the same settings in all stores:\n    "
            + "\n    ".join(feature.differences)
            + f"\n  Give another --{feature.modality}, {remedy}"
        )

    def _refuse_layers(self, feature: AnyFeature) -> None:
        modality, layered = feature.modality, self.spec.layered
        if layered:
            problem = f"feature {feature.name!r} has no layer axis, which model {self.model} needs: "
        else:
            layers = len(feature.layers)
            problem = f"feature {feature.name!r} holds {layers} layers per frame, model {self.model} takes one: "
            problem += "let it weigh them with --layers weighted, or "
        matching = [f.name for f in self._matching(modality).values()]
        if matching:
            raise UsageError(f"{problem}give --{modality} {' or '.join(sorted(matching))}")
        if layered and not can_hold_layers(feature):
            raise UsageError(
                problem + command_that_adds(self.store, modality, self.spec.features[modality], layered=True)
            )
        variant = "layers" if layered else "last-layer"
        raise UsageError(problem + command_for_variant(self.store, modality, feature.encoder, feature, variant))


def _require_modality_of(feature: AnyFeature, name: str, modality: str) -> None:
    if feature.modality != modality:
        raise UsageError(f"--{modality} {name}: that feature is {feature.modality}")
