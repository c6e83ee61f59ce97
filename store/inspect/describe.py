"""What a store contains, as one record ready for JSON; and the features that are still being written beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emofuse.common.disk.locking import lock_holder
from emofuse.common.errors import EmofuseError, UsageError
from emofuse.common.location import Location, parse_location
from emofuse.common.output.console import printable
from emofuse.manifests.schema import Manifest, Modality, Utterance
from emofuse.store.core.augmented import describe_copy
from emofuse.store.core.feature import Feature
from emofuse.store.core.fitted_on import normalise_fitted_on
from emofuse.store.core.partial import partial_paths
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import source_digest


def describe(where: Location | str) -> dict[str, Any]:
    """Everything that `store info` prints.

    Args:
        where: A path or a URL.

    Raises:
        UsageError: No store there; a note names the partial stores of one.
        DataError: It is damaged.
    """
    where = parse_location(where)
    try:
        store = FeatureStore(where)
    except UsageError as error:
        for partial in partial_features(where):
            error.add_note(
                f"in progress beside it: {printable(partial['feature'])}, {printable(partial['state'], 400)}"
            )
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
            **_text_sources(manifest),
            "excluded": [{"id": e.id, "reason": e.reason, "modality": e.modality} for e in manifest.excluded],
            "features": [_describe_feature(f, manifest) for f in store.features.values()],
            "damaged": {name: str(error) for name, error in store.damaged_features.items()},
            "under_way": partial_features(where),
        }


def _text_sources(manifest: Manifest) -> dict[str, Any]:
    """How many texts are the corpus's own, and how many each recogniser wrote."""
    own = sum(has_modality(u, "text") and u.text_kind is None for u in manifest.utterances)
    return {"own_texts": own, "text_source": manifest.counts("text_source")}


def _describe_feature(f: Feature, manifest: Manifest) -> dict[str, Any]:
    written = int((f.marks() > 0).sum())
    return {
        "name": f.name,
        "modality": f.modality,
        "encoder": f.encoder,
        "utterances": len(f.lengths),
        "missing": len(missing_ids(f, manifest)),
        "frames": int(f.lengths.sum()),
        "shape": list(f.spec.frame_shape),
        "layers": list(f.layers),
        "view": f.view,
        "dtype": f.spec.dtype,
        "frame_rate": f.frame_rate,
        "bytes": f.nbytes,
        "state": "complete" if f.complete else f"{written} of {len(f.lengths)} written",
        "stale": len(f.stale),
        "copy": describe_copy(f),
        "fingerprint": f.fingerprint,
        "fitted_on": normalise_fitted_on(f.provenance.get("fitted_on")),
        "provenance": f.provenance,
        "encoder_seconds": f.encoder_seconds(),
    }


def written_ids(f: Feature) -> list[str]:
    """The utterances whose values are written; a partial store has space for more."""
    return [id for id, mark in zip(f.ids, f.marks().tolist(), strict=True) if mark]


def missing_ids(f: Feature, manifest: Manifest) -> list[str]:
    """The utterances that have the feature's modality, but no values of the feature."""
    written = set(written_ids(f))
    return [u.id for u in manifest.utterances if u.id not in written and has_modality(u, f.modality)]


def has_modality(u: Utterance, modality: Modality) -> bool:
    """Whether an utterance has audio or text; a text of which only the digest is kept counts."""
    # An audio file that was not scanned yet has no digest, but is audio all the same.
    return source_digest(modality, u) is not None or getattr(u, modality) is not None


def partial_features(where: Location) -> list[dict[str, Any]]:
    """The features that are being written for a store, or whose writer was stopped.

    Returns:
        For each partial store `NAME.FEATURE.part` beside the store: `feature`, `part` (file name), `written` and
        `utterances` (counts; None where it cannot be read), `holder` (who is writing it, or None) and `state` as text.
    """
    if not isinstance(where, Path) or not where.parent.is_dir():
        return []
    described = (_describe_partial(name, path) for name, path in partial_paths(where))
    return [facts for facts in described if facts is not None]


def _describe_partial(name: str, path: Path) -> dict[str, Any] | None:
    """The facts about one partial store; None where it belongs to another store, or was just completed."""
    facts: dict[str, Any] = {"feature": name, "part": path.name, "written": None, "utterances": None}
    try:
        with FeatureStore(path) as store:
            if not {*store.features, *store.damaged_features} & {name}:
                return None  # it belongs to another store, whose name begins with this one's
            marks = store.feature(name).marks()
        facts |= {"written": int((marks > 0).sum()), "utterances": len(marks)}
        progress = f"{facts['written']} of {facts['utterances']} written"
    except EmofuseError as error:
        if not path.exists():
            return None  # it was completed in the meantime
        progress = f"cannot be read: {error}"
    facts["holder"] = lock_holder(path.with_name(f"{path.name}.lock"))
    writer = f"by {facts['holder']}" if facts["holder"] else "no process is writing it: the same `extract` resumes it"
    return {**facts, "state": f"{progress}, {writer}"}
