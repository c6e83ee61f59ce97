"""A manifest card: two labs exchange it to find out whether they used the same data, without sharing any of it.

A card contains: utterance ids, durations, digests of the audio, how many utterances have each label (overall and per
session), how many speakers there are, and of each feature its fingerprint, what its encoder was fitted on, and one
digest over the checksums of all its utterances.

A card does not contain:
- audio, paths, `extra`, the label of any single utterance;
- text, nor a digest of any text: a short text can be guessed, and the guess checked against the digest. The manifest's
  digest and a feature's `source` depend on texts too, so neither is included. Values computed from text count in the
  one digest over all utterances of a feature; someone with all texts of a corpus but one could test a guess against it;
- names of speakers, except where the ids contain them. A session that is named after its speaker is replaced by its
  first utterance's id, and so is a speaker that an encoder was fitted on;
- which items are excluded, only how many: a speaker may have withdrawn.
Utterances without audio have no audio digest.

The digests are xxh3: they detect accidents and other versions, not forgery.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xxhash

from emofuse.common.nested import flatten
from emofuse.manifests.schema import Manifest
from emofuse.store.compare.diff import require_intact
from emofuse.store.core.feature import Feature
from emofuse.store.core.fitted_on import anonymise_fitted_on
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import canonical_json
from emofuse.store.inspect.shortlist import ShortList, shorten

FORMAT = "emofuse-card"
VERSION = 1


def make_card(store: FeatureStore) -> dict[str, Any]:
    """The card of a store, ready for JSON; it does not depend on the order of the utterances.

    Raises:
        DataError: The store is damaged.
    """
    require_intact(store)
    manifest = store.manifest
    card = {
        "format": FORMAT,
        "version": VERSION,
        "corpus": manifest.corpus,
        "reader": manifest.reader,
        "hours": math.fsum(u.seconds or 0.0 for u in manifest.utterances) / 3600,  # fsum: the same in any order
        "speakers": len(manifest.counts("speaker")),
        "excluded": len(manifest.excluded),
        "labels": dict(sorted(Counter(u.label or "" for u in manifest.utterances).items())),
        "sessions": _sessions(manifest),
        "utterances": [
            {"id": u.id, "seconds": u.seconds, "audio_digest": u.audio_digest}
            for u in sorted(manifest.utterances, key=lambda u: u.id)
        ],
        "features": {name: _feature(f, manifest) for name, f in store.features.items()},
    }
    return {**card, "digest": digest_of(card)}


def digest_of(card: Mapping[str, Any]) -> str:
    """xxh3-128 over the canonical JSON (sorted keys, no blanks, UTF-8) of everything but the digest itself."""
    return xxhash.xxh3_128_hexdigest(canonical_json({k: v for k, v in card.items() if k != "digest"}))


def write_card(card: Mapping[str, Any]) -> bytes:
    """The card as a file: JSON in ASCII, so without control sequences for a terminal."""
    return (json.dumps(card, indent=1) + "\n").encode()


def _sessions(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Session -> label -> number of utterances; a missing label or session is the empty string."""
    speakers = set(manifest.counts("speaker"))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    first_id: dict[str, str] = {}
    for u in sorted(manifest.utterances, key=lambda u: u.id):
        counts[u.session or ""][u.label or ""] += 1
        first_id.setdefault(u.session or "", u.id)
    return {
        f"of {first_id[s]}" if s in speakers else s: dict(sorted(labels.items()))
        for s, labels in sorted(counts.items())
    }


def _feature(f: Feature, manifest: Manifest) -> dict[str, Any]:
    marks = f.marks().tolist()
    state = xxhash.xxh3_128()
    for id, mark in sorted((id, mark) for id, mark in zip(f.ids, marks, strict=True) if mark):
        state.update(f"{id}\0{mark:016x}\n".encode())
    if f.scale is not None:  # with another scale the same bits are other values
        state.update(f.scale.astype("<f4").tobytes())
    return {
        "modality": f.modality,
        "encoder": f.encoder,
        "view": f.view,
        "dtype": f.spec.dtype,
        "dimension": f.dimension,
        "layers": list(f.layers),
        "frame_rate": f.frame_rate,
        "utterances": sum(1 for mark in marks if mark),
        "frames": int(f.lengths[f.marks() > 0].sum()),
        "fingerprint": f.fingerprint,
        "fitted_on": anonymise_fitted_on(f.provenance.get("fitted_on"), manifest),
        "marks": state.hexdigest(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CardDiff:
    """How a card differs from another one ("here" and "there")."""

    counts: tuple[str, ...]
    """Differences in corpus, label counts and session counts."""
    only_here: ShortList
    only_there: ShortList
    seconds: ShortList
    """Utterances of both with different durations."""
    audio: ShortList
    """Utterances of both with different audio."""
    unscanned: ShortList
    """Utterances of both whose audio has a digest in only one of them."""
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Feature -> its differences."""
    remarks: tuple[str, ...] = ()

    @property
    def same_data(self) -> bool:
        """Whether the corpora are the same, as far as cards tell."""
        lists = (self.only_here, self.only_there, self.seconds, self.audio, self.unscanned)
        return not (self.counts or any(lists))

    @property
    def same(self) -> bool:
        """Whether data and features are the same."""
        return self.same_data and not self.features


def compare(here: Mapping[str, Any], there: Mapping[str, Any]) -> CardDiff:
    """Compare two cards; the order of utterances and the reader's version make no difference."""
    ours, theirs = ({u["id"]: u for u in card["utterances"]} for card in (here, there))
    common = [id for id in ours if id in theirs]
    audio = {id: (ours[id]["audio_digest"], theirs[id]["audio_digest"]) for id in common}
    unlike = [id for id, (x, y) in audio.items() if x != y]
    features = {
        name: _diff_features(here["features"].get(name), there["features"].get(name))
        for name in sorted({*here["features"], *there["features"]})
    }
    return CardDiff(
        counts=_diff_counts(here, there),
        only_here=shorten(id for id in ours if id not in theirs),
        only_there=shorten(id for id in theirs if id not in ours),
        seconds=shorten(
            f"{id} {ours[id]['seconds']} | {theirs[id]['seconds']}"
            for id in common
            if ours[id]["seconds"] != theirs[id]["seconds"]
        ),
        audio=shorten(id for id in unlike if None not in audio[id]),
        unscanned=shorten(id for id in unlike if None in audio[id]),
        features={name: found for name, found in features.items() if found},
        remarks=tuple(
            _difference(what, here[what], there[what])
            for what in ("reader", "speakers", "excluded")
            if here[what] != there[what]
        ),
    )


def _diff_counts(here: Mapping[str, Any], there: Mapping[str, Any]) -> tuple[str, ...]:
    found = [_difference("corpus", here["corpus"], there["corpus"])] if here["corpus"] != there["corpus"] else []
    found += _diff_labels("", here["labels"], there["labels"])
    for session in sorted({*here["sessions"], *there["sessions"]}):
        where = f"session {session!r}" if session else "no session"
        found += _diff_labels(f"{where}, ", *(card["sessions"].get(session, {}) for card in (here, there)))
    return tuple(found)


def _diff_labels(where: str, here: Mapping[str, int], there: Mapping[str, int]) -> list[str]:
    """The labels that have other numbers of utterances."""
    return [
        f"{where}{f'label {label!r}' if label else 'no label'}: here {here.get(label, 0)}, there {there.get(label, 0)}"
        for label in sorted({*here, *there})
        if here.get(label, 0) != there.get(label, 0)
    ]


def _diff_features(here: Mapping[str, Any] | None, there: Mapping[str, Any] | None) -> tuple[str, ...]:
    if here is None or there is None:
        return ("only there" if here is None else "only here",)
    a, b = flatten(here), flatten(there)
    unlike = [key for key in sorted({*a, *b}) if a.get(key) != b.get(key)]
    found = [_difference(key, a.get(key), b.get(key)) for key in unlike if key != "marks"]
    return (*found, "values: other bits") if "marks" in unlike else tuple(found)


def _difference(what: str, here: Any, there: Any) -> str:
    ours, theirs = ("none" if value is None else json.dumps(value) for value in (here, there))
    return f"{what}: here {ours}, there {theirs}"
