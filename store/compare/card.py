"""A manifest card: what two labs exchange to find out whether they used the same data, without passing any on.

In it: utterance ids, durations, digests of the audio, how many utterances have each label (overall and per session),
how many speakers there are, and of each feature its fingerprint, what its encoder was fitted on, and one digest over
the marks of all its utterances.

Not in it:
- audio, paths, `extra`, the label of any one utterance;
- text, nor a digest of any text: whoever guesses a short text can check the guess against one. The manifest's digest
  and a feature's `source` depend on texts too, so neither is in it. Values computed from text count in the one digest
  over all utterances of a feature; who has all texts of a corpus but one could test a guess against that;
- names of speakers beyond what the ids say themselves. A session that is named after its speaker goes by its first
  utterance's id, and so does a speaker that an encoder was fitted on;
- what is excluded, beyond how many: somebody may have withdrawn.
Utterances without audio have no audio digest.

The digests are xxh3: they tell accidents and other versions, not a forger.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xxhash

from emofuse.manifests.schema import Manifest
from emofuse.store.compare.diff import flat, require_sound
from emofuse.store.core.feature import Feature
from emofuse.store.core.fitted_on import nameless
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import canonical
from emofuse.store.inspect.shortlist import ShortList, listed

FORMAT = "emofuse-card"
VERSION = 1


def make_card(store: FeatureStore) -> dict[str, Any]:
    """The card of a store, ready for JSON; it does not depend on the order of the utterances.

    Raises:
        DataError: The store is damaged.
    """
    require_sound(store)
    manifest = store.manifest
    card = {
        "format": FORMAT,
        "version": VERSION,
        "corpus": manifest.corpus,
        "reader": manifest.reader,
        "hours": math.fsum(u.seconds or 0.0 for u in manifest.utterances) / 3600,  # the same in any order
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
    return xxhash.xxh3_128_hexdigest(canonical({k: v for k, v in card.items() if k != "digest"}))


def write_card(card: Mapping[str, Any]) -> bytes:
    """The card as a file: JSON in ASCII, which no terminal takes for a command."""
    return (json.dumps(card, indent=1) + "\n").encode()


def _sessions(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Session -> label -> utterances; no label and no session are the empty text."""
    speakers = set(manifest.counts("speaker"))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    first: dict[str, str] = {}
    for u in sorted(manifest.utterances, key=lambda u: u.id):
        counts[u.session or ""][u.label or ""] += 1
        first.setdefault(u.session or "", u.id)
    return {
        f"of {first[s]}" if s in speakers else s: dict(sorted(found.items())) for s, found in sorted(counts.items())
    }


def _feature(f: Feature, manifest: Manifest) -> dict[str, Any]:
    marks = f.marks().tolist()
    state = xxhash.xxh3_128()
    for id, mark in sorted((id, mark) for id, mark in zip(f.ids, marks, strict=True) if mark):
        state.update(f"{id}\0{mark:016x}\n".encode())
    if f.scale is not None:  # the same bits mean other values
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
        "fitted_on": nameless(f.provenance.get("fitted_on"), manifest),
        "marks": state.hexdigest(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CardDiff:
    """How a card differs from another one ("here" and "there")."""

    said: tuple[str, ...]
    """Corpus, label and session counts."""
    only_here: ShortList
    only_there: ShortList
    seconds: ShortList
    """Utterances of both with another duration."""
    audio: ShortList
    """Utterances of both with other audio."""
    unseen: ShortList
    """Utterances of both whose audio only one of them has looked at."""
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Feature -> what differs."""
    remarks: tuple[str, ...] = ()

    @property
    def same_data(self) -> bool:
        """Whether the corpora are the same, as far as cards tell."""
        return not (
            self.said or self.only_here or self.only_there or self.seconds or self.audio or self.unseen
        )  # fmt: skip

    @property
    def same(self) -> bool:
        """Whether data and features are the same."""
        return self.same_data and not self.features


def compare(here: Mapping[str, Any], there: Mapping[str, Any]) -> CardDiff:
    """Compare two cards; neither the order of utterances nor the reader's version makes a difference."""
    ours, theirs = ({u["id"]: u for u in card["utterances"]} for card in (here, there))
    common = [id for id in ours if id in theirs]
    audio = {id: (ours[id]["audio_digest"], theirs[id]["audio_digest"]) for id in common}
    unlike = [id for id, (x, y) in audio.items() if x != y]
    said = [_unlike("corpus", here["corpus"], there["corpus"])] if here["corpus"] != there["corpus"] else []
    for what in ("labels", "sessions"):
        a, b = flat(here[what]), flat(there[what])
        said += [
            _unlike(f"{what} {key!r}", a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)
        ]
    features = {
        name: _unlike_features(here["features"].get(name), there["features"].get(name))
        for name in sorted({*here["features"], *there["features"]})
    }
    return CardDiff(
        said=tuple(said),
        only_here=listed(id for id in ours if id not in theirs),
        only_there=listed(id for id in theirs if id not in ours),
        seconds=listed(
            f"{id} {ours[id]['seconds']} | {theirs[id]['seconds']}"
            for id in common
            if ours[id]["seconds"] != theirs[id]["seconds"]
        ),
        audio=listed(id for id in unlike if None not in audio[id]),
        unseen=listed(id for id in unlike if None in audio[id]),
        features={name: found for name, found in features.items() if found},
        remarks=tuple(
            _unlike(what, here[what], there[what])
            for what in ("reader", "speakers", "excluded")
            if here[what] != there[what]
        ),
    )


def _unlike_features(here: Mapping[str, Any] | None, there: Mapping[str, Any] | None) -> tuple[str, ...]:
    if here is None or there is None:
        return ("only there" if here is None else "only here",)
    a, b = flat(here), flat(there)
    found = [key for key in sorted({*a, *b}) if a.get(key) != b.get(key)]
    told = [_unlike(key, a.get(key), b.get(key)) for key in found if key != "marks"]
    return (*told, "values: other bits") if "marks" in found else tuple(told)


def _unlike(what: str, here: Any, there: Any) -> str:
    return f"{what}: here {json.dumps(here)}, there {json.dumps(there)}"
