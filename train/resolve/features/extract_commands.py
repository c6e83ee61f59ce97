"""The exact `extract` command that adds or finishes a feature, from the options that the store has recorded."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from itertools import chain, count

from emofuse.manifests.names.emobox_keys import dataset_of
from emofuse.store import Feature, FeatureStore
from emofuse.store.core.augmented import copied_name, plain_features
from emofuse.train.resolve.features.joined_store import AnyFeature, AnyStore, member_stores, stored_features
from emofuse.train.resolve.features.per_fold_feature import per_fold_name

# Stage 2 does not import stage 1. These are its encoders, used in hints only; a test compares them with the registry.
LAYERED = {
    "audio": (
        *("hubert", "hubert-large", "wav2vec2", "xlsr", "wavlm", "wavlm-large", "unispeech-sat", "data2vec-audio"),
        *("whisper", "emotion2vec", "beats"),
    ),
    "text": (
        *("bert", "roberta", "mpnet", "deberta", "e5", "e5-multilingual", "bge", "t5", "minilm"),
        *("bert-goemotions", "distilbert-goemotions"),
    ),
}
"""Modality -> encoders whose layers `--layers all` stores side by side."""
UNLAYERED = {
    "audio": (
        *("logmel", "logmel-mcfn", "prosody", "egemaps", "egemaps-lld", "compare2016", "compare2016-lld"),
        *("yamnet", "vggish", "trill", "clap"),
    ),
    "text": ("hashed",),
}
"""Modality -> encoders without layers, or whose layers differ in dimension."""
TEXT_FROM_TRANSCRIPTS = ("savee",)
"""Corpora that come without texts: `extract --transcripts` supplies them."""
_DEFAULT_NAMES = {"logmel-smcn": "logmel"}
"""Encoder -> the name of its feature, where the two differ."""


def can_hold_layers(feature: AnyFeature) -> bool:
    """Whether `extract --layers all` gives a feature of its encoder with a layer axis."""
    return "layers" in feature.spec.fingerprint and feature.encoder not in UNLAYERED[feature.modality]


def default_feature_name(encoder: str) -> str:
    """The name that `extract` gives an encoder's feature without `--name`."""
    return _DEFAULT_NAMES.get(encoder, encoder)


def extract_command(
    store: AnyStore,
    encoder: str,
    *,
    like: AnyFeature | None = None,
    layers: str | None = None,
    name: str | None = None,
    extra: Sequence[str] = (),
) -> str:
    """The command that extracts a feature for a store, with the corpus options that the store has recorded.

    For a joined store: one command for each member store without a feature of that name, or for every one if all have.

    Args:
        like: The feature whose encoder options are reused; None means one of the same encoder, if there is one.
        layers: Replaces the layers among those options, and gives frames whatever the view of `like`: that of `mean`
            would hold all layers.
        name: The name of the feature, if it is not the encoder's default one; of a view, that of the view.
        extra: Further options; they replace recorded options of the same name.
    """
    members = member_stores(store)
    stored = (f for s in members for f in plain_features(s.features).values())
    like = like or next((f for f in stored if f.encoder == encoder), None)
    feature_name = name or default_feature_name(encoder)
    without_feature = [s for s in members if feature_name not in s.features] if len(members) > 1 else []
    commands = [_extract_one_store(s, encoder, like, layers, name, extra) for s in without_feature or members]
    return "\n    and: ".join(commands)


def _extract_one_store(
    store: FeatureStore,
    encoder: str,
    like: AnyFeature | None,
    layers: str | None,
    name: str | None,
    extra: Sequence[str],
) -> str:
    corpus_options = next(filter(None, (_recorded(f, "corpus_options") for f in store.features.values())), [])
    encoder_options = _recorded(stored_features(store, like)[0], "encoder_options") if like else []
    if layers is not None:
        encoder_options = [*_without_option(encoder_options, "--layers"), "--layers", layers]
    suffix = _view_suffix(like)
    if suffix and name and name.endswith(suffix) and layers is None:
        name = name.removesuffix(suffix)  # `extract` adds it
    else:
        encoder_options = _without_option(encoder_options, "--views")
    for option in (argument for argument in extra if argument.startswith("--")):
        corpus_options = _without_option(corpus_options, option)
        encoder_options = _without_option(encoder_options, option)
    default = default_feature_name(encoder)
    name_option = [] if name is None or name in (default, f"{default}-finetuned") else ["--name", name]
    corpus = ["--dataset", dataset_of(store.manifest.corpus), *corpus_options]
    return shlex.join(
        ["extract", *corpus, "--encoder", encoder, *encoder_options, *extra, *name_option, "--store", str(store.path)]
    )


def command_that_made(store: FeatureStore, feature: Feature) -> str:
    """The command that made a stored feature: `extract`, or `emofuse store import` for imported files."""
    imported_from = feature.fingerprint.get("imported_from")
    if imported_from is None:
        return extract_command(
            store, feature.encoder, like=feature, name=per_fold_name(feature) or copied_name(feature)
        )
    arguments = ("emofuse", "store", "import", str(store.path), "--from", str(imported_from), "--source", "...")
    return shlex.join((*arguments, "--name", feature.name, "--modality", feature.modality)).replace("'...'", "...")


def command_that_adds(store: AnyStore, modality: str, encoder: str, *, layered: bool = False) -> str:
    """The command that adds a feature of an encoder; under a free name, where its default name is taken."""
    existing = store.features.get(default_feature_name(encoder))
    if existing is None:
        return extract_command(store, encoder, layers="all" if layered else None)
    if layered:
        variant = "layers"
    elif existing.layers:
        variant = "last-layer"
    else:
        variant = existing.modality if existing.modality != modality else "new"
    return command_for_variant(store, modality, encoder, existing if existing.encoder == encoder else None, variant)


def command_for_variant(store: AnyStore, modality: str, encoder: str, like: AnyFeature | None, variant: str) -> str:
    """The commands that extract a second feature of an encoder under a free name, and that fit a model on it.

    Args:
        variant: Ends the name of the new feature; `layers` extracts all layers, `last-layer` the last one (`NAME-last`
            is the view of the last frame).
    """
    layers = {"layers": "all", "last-layer": "last"}.get(variant)
    suffix = _view_suffix(like)
    preferred = f"{like.name.removesuffix(suffix) if like else encoder}-{variant}"
    view = "" if layers else suffix
    taken = {name for s in member_stores(store) for name in s.features}
    names = (f"{n}{view}" for n in chain([preferred], (f"{preferred}-{k}" for k in count(2))))
    name = next(n for n in names if n not in taken)
    command = extract_command(store, encoder, like=like, layers=layers, name=name)
    return f"{command}\n    then: fit ... --{modality} {name}"


def hint_for_unknown_feature(
    store: AnyStore, modality: str, name: str, existing: Sequence[str], *, layered: bool
) -> str:
    """What to do about a feature name that the store does not have; empty where a similar name exists."""
    encoders = LAYERED[modality] if layered else (*UNLAYERED[modality], *LAYERED[modality])
    if name in encoders:
        return f"Add it: {command_that_adds(store, modality, name, layered=layered)}"
    if difflib.get_close_matches(name, existing, n=1, cutoff=0.5):
        return ""
    similar = difflib.get_close_matches(name, encoders, n=1, cutoff=0.5)
    if similar:
        return (
            f"Is it encoder {similar[0]!r}? Add it: {command_that_adds(store, modality, similar[0], layered=layered)}"
        )
    return (
        f"No encoder has this name; {modality} encoders: {', '.join(encoders)}. "
        f"Add one: {extract_command(store, 'NAME')}"
    )


def hint_for_missing_text(store: FeatureStore, modality: str, encoder: str) -> str:
    """How to add texts to a corpus that has none; empty where that is not possible."""
    if modality != "text" or store.manifest.corpus not in TEXT_FROM_TRANSCRIPTS:
        return ""
    command = extract_command(store, encoder, extra=("--transcripts", "CSV"))
    return f"; the corpus was read without texts, pass a CSV with columns id,text: {command}"


def _view_suffix(feature: AnyFeature | None) -> str:
    """How the name of a view ends, `-mean`; empty for frames."""
    return f"-{feature.spec.view}" if feature and feature.spec.view != "frames" else ""


def _recorded(feature: Feature, key: str) -> list[str]:
    """The command-line arguments that a feature's provenance records under `key`."""
    arguments = feature.provenance.get(key)
    return list(arguments) if isinstance(arguments, list) and all(isinstance(a, str) for a in arguments) else []


def _without_option(arguments: list[str], option: str) -> list[str]:
    """The arguments without `option VALUE` and `option=VALUE`."""
    remaining = [a for a in arguments if not a.startswith(f"{option}=")]
    if option in remaining:
        at = remaining.index(option)
        del remaining[at : at + 2]
    return remaining
