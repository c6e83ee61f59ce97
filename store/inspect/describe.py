"""What a store holds, in one record that is ready for JSON; and what is still being written beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emofuse.common.console import printable
from emofuse.common.disk.locking import holder
from emofuse.common.errors import EmofuseError, UsageError
from emofuse.common.location import Location, location
from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store.core.feature import Feature
from emofuse.store.core.fitted_on import normal
from emofuse.store.core.partial import partial_paths
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import Modality, source_digest


def describe(where: Location) -> dict[str, Any]:
    """Everything that `store info` prints.

    Raises:
        UsageError: No store there; a note says what is under way for one.
        DataError: Damaged.
    """
    where = location(where)
    try:
        store = FeatureStore(where)
    except UsageError as error:
        for part in under_way(where):
            error.add_note(f"under way beside it: {printable(part['feature'])}, {printable(part['state'], 400)}")
        raise
    with store:
        manifest = store.manifest
        return {
            "path": str(where),
            "corpus": store.corpus,
            "reader": manifest.reader,
            "digest": store.digest,
            "utterances": len(manifest),
            "hours": manifest.hours,
            "bytes": where.stat().st_size if isinstance(where, Path) else None,
            **{attribute: manifest.counts(attribute) for attribute in ("label", "session", "speaker", "split")},
            **_texts(manifest),
            "excluded": [{"id": e.id, "reason": e.reason, "modality": e.modality} for e in manifest.excluded],
            "features": [_feature(f, manifest) for f in store.features.values()],
            "damaged": {name: str(error) for name, error in store.damaged_features.items()},
            "under_way": under_way(where),
        }


def _texts(manifest: Manifest) -> dict[str, Any]:
    """How many texts are the corpus's own, and how many each recogniser wrote."""
    own = sum(has(u, "text") and u.text_kind is None for u in manifest.utterances)
    return {"own_texts": own, "text_source": manifest.counts("text_source")}


def _feature(f: Feature, manifest: Manifest) -> dict[str, Any]:
    written = int((f.marks() > 0).sum())
    return {
        "name": f.name,
        "modality": f.modality,
        "encoder": f.encoder,
        "utterances": len(f.lengths),
        "lacking": len(lacking(f, manifest)),
        "frames": int(f.lengths.sum()),
        "shape": list(f.spec.frame_shape),
        "layers": list(f.layers),
        "view": f.view,
        "dtype": f.spec.dtype,
        "frame_rate": f.frame_rate,
        "bytes": f.nbytes,
        "state": "complete" if f.complete else f"{written} of {len(f.lengths)} written",
        "stale": len(f.stale),
        "fingerprint": f.fingerprint,
        "fitted_on": normal(f.provenance.get("fitted_on")),
        "provenance": f.provenance,
    }


def written(f: Feature) -> list[str]:
    """The utterances whose values are there; in a part that is being filled, not all that it has room for."""
    return [id for id, mark in zip(f.ids, f.marks().tolist(), strict=True) if mark]


def lacking(f: Feature, manifest: Manifest) -> list[str]:
    """The utterances that have the feature's modality and no values of it."""
    held = set(written(f))
    return [u.id for u in manifest.utterances if u.id not in held and has(u, f.modality)]


def has(u: Utterance, modality: Modality) -> bool:
    """Whether an utterance has audio or text, be the text itself left out."""
    # An audio file that nobody has looked at yet has no digest, and is audio all the same.
    return source_digest(modality, u) is not None or getattr(u, modality) is not None


def under_way(where: Location) -> list[dict[str, Any]]:
    """The features that are being written for a store, or were when their writer was stopped.

    Returns:
        For each part `NAME.FEATURE.part` beside the store: `feature`, `part` (file name), `written` and `utterances`
        (counts; none where it cannot be read), `holder` (who writes it now, or none) and `state` in words.
    """
    if not isinstance(where, Path) or not where.parent.is_dir():
        return []
    found = []
    for name, path in partial_paths(where):
        facts: dict[str, Any] = {"feature": name, "part": path.name, "written": None, "utterances": None}
        try:
            with FeatureStore(path) as part:
                if not {*part.features, *part.damaged_features} & {name}:
                    continue  # the part of another store, whose name begins with this one's
                marks = part.feature(name).marks()
            facts |= {"written": int((marks > 0).sum()), "utterances": len(marks)}
            counted = f"{facts['written']} of {facts['utterances']} written"
        except EmofuseError as error:
            if not path.exists():
                continue  # it was finished while we looked
            counted = f"cannot be read: {error}"
        facts["holder"] = holder(path.with_name(f"{path.name}.lock"))
        idle = "nobody is writing it: the same `extract` goes on from there"
        doing = f"by {facts['holder']}" if facts["holder"] else idle
        found.append({**facts, "state": f"{counted}, {doing}"})
    return found
