"""The exact `extract` command that adds or finishes a feature, from what the store itself says about its making."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from itertools import chain, count

from emofuse.store import Feature, FeatureStore
from emofuse.train.resolve.joined_store import AnyFeature, AnyStore, held_by, parts
from emofuse.train.resolve.per_fold_feature import whole_name

# Stage 2 does not know stage 1: these are the words that its users know best, and no more than advice.
ENCODERS = {
    "audio": ("logmel", "logmel-mcfn", "hubert", "hubert-large", "wav2vec2", "wavlm", "whisper"),
    "text": ("bert", "roberta", "mpnet", "t5", "minilm", "hashed"),
}
UNLAYERED = ("logmel", "logmel-smcn", "logmel-mcfn", "hashed")
TRANSCRIBED = ("savee",)
"""Corpora whose texts come from `extract --transcripts`."""
_NAMES = {"logmel-smcn": "logmel"}
"""What `extract` calls an encoder's feature, where it is not the encoder's name."""


def usual_name(encoder: str) -> str:
    """What `extract` calls the feature of an encoder that is given no `--name`."""
    return _NAMES.get(encoder, encoder)


def extract_command(
    store: AnyStore,
    encoder: str,
    *,
    like: AnyFeature | None = None,
    layers: str | None = None,
    name: str | None = None,
    more: Sequence[str] = (),
) -> str:
    """The command that makes a feature of a store, with the corpus options that the store remembers.

    Of several stores, one command for each that has no feature of that name, or for all where all have.

    Args:
        like: The feature whose encoder options are taken over; none: one of the same encoder, if there is one.
        layers: Replaces the layers among those options.
        name: What the feature shall be called, if not as its encoder.
        more: Further options, which replace the same ones that are remembered.
    """
    every = parts(store)
    like = like or next((f for s in every for f in s.features.values() if f.encoder == encoder), None)
    usual = name or usual_name(encoder)
    lacking = [s for s in every if usual not in s.features] if len(every) > 1 else []
    commands = [_command(s, encoder, like, layers, name, more) for s in lacking or every]
    return "\n    and: ".join(commands)


def _command(
    store: FeatureStore,
    encoder: str,
    like: AnyFeature | None,
    layers: str | None,
    name: str | None,
    more: Sequence[str],
) -> str:
    corpus = next(filter(None, (_remembered(f, "corpus_options") for f in store.features.values())), [])
    own = _remembered(held_by(store, like)[0], "encoder_options") if like else []
    if layers is not None:
        own = [*_without(own, "--layers"), "--layers", layers]
    for option in (word for word in more if word.startswith("--")):
        corpus, own = _without(corpus, option), _without(own, option)
    called = ["--name", name] if name not in (None, usual_name(encoder), f"{usual_name(encoder)}-finetuned") else []
    words = ("--dataset", store.manifest.corpus, *corpus, "--encoder", encoder, *own, *more, *map(str, called))
    return shlex.join(("extract", *words, "--store", str(store.path)))


def made_by(store: FeatureStore, feature: Feature) -> str:
    """The command that made a feature: `extract`, or the import of another lab's files."""
    origin = feature.fingerprint.get("imported_from")
    if origin is None:
        return extract_command(store, feature.encoder, like=feature, name=whole_name(feature) or feature.name)
    words = ("emofuse", "store", "import", str(store.path), "--from", str(origin), "--source", "...")
    return shlex.join((*words, "--name", feature.name, "--modality", feature.modality)).replace("'...'", "...")


def adding(store: AnyStore, modality: str, encoder: str, *, layered: bool = False) -> str:
    """How a feature of an encoder is added, under a free name where its usual one is taken, and then fitted with."""
    usual = usual_name(encoder)
    taken = store.features.get(usual)
    if taken is None:
        return extract_command(store, encoder, layers="all" if layered else None)
    kind = "layers" if layered else "last" if taken.layers else taken.modality if taken.modality != modality else "new"
    return renewed(store, modality, encoder, taken if taken.encoder == encoder else None, kind)


def renewed(store: AnyStore, modality: str, encoder: str, like: AnyFeature | None, kind: str) -> str:
    """How a second feature of an encoder is made, with all `layers` or the `last` one, and then fitted with."""
    wished = f"{like.name if like else encoder}-{kind}"
    taken = {n for s in parts(store) for n in s.features}
    name = next(n for n in chain([wished], (f"{wished}-{k}" for k in count(2))) if n not in taken)
    layers = {"layers": "all", "last": "last"}.get(kind)
    command = extract_command(store, encoder, like=like, layers=layers, name=name)
    return f"{command}\n    then: fit ... --{modality} {name}"


def for_unknown(store: AnyStore, modality: str, name: str, names: Sequence[str], *, layered: bool) -> str:
    """What to do about a feature name that the store does not have; empty where a near name is the likely one."""
    known = [e for e in ENCODERS[modality] if not (layered and e in UNLAYERED)]
    if name in known:
        return f"Add it: {adding(store, modality, name, layered=layered)}"
    if difflib.get_close_matches(name, names, n=1, cutoff=0.5):
        return ""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"Is it encoder {near[0]!r}? Add it: {adding(store, modality, near[0], layered=layered)}"
    kinds, command = ", ".join(known), extract_command(store, "NAME")
    return f"No encoder of this version is called so; those of {modality}: {kinds}. Add one: {command}"


def for_lacking(store: FeatureStore, modality: str, encoder: str) -> str:
    """What to do where the corpus has nothing of a modality at all; empty where nothing can be done."""
    if modality != "text" or store.manifest.corpus not in TRANSCRIBED:
        return ""
    command = extract_command(store, encoder, more=("--transcripts", "CSV"))
    return f"; the corpus was read without texts, pass a CSV with columns id,text: {command}"


def _remembered(feature: Feature, key: str) -> list[str]:
    words = feature.provenance.get(key)
    return list(words) if isinstance(words, list) and all(isinstance(w, str) for w in words) else []


def _without(words: list[str], option: str) -> list[str]:
    """The words without `option VALUE` and `option=VALUE`."""
    kept = [w for w in words if not w.startswith(f"{option}=")]
    if option in kept:
        at = kept.index(option)
        del kept[at : at + 2]
    return kept
