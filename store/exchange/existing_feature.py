"""A feature that the store has already from the same source: what was said of it stays, unless nobody had said it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emofuse.common.console import printable
from emofuse.common.errors import UsageError
from emofuse.store import FeatureSpec, FeatureStore
from emofuse.store.core.fitted_on import UNKNOWN, in_words, normal
from emofuse.store.core.partial import partial_path

IMPORTED = "imported"
"""The encoder of a feature of which nobody has said what made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingFeature:
    """A feature as it stands."""

    path: Path
    spec: FeatureSpec
    held: frozenset[str]
    """Utterances whose values are there, of their present audio or text; none in what an import left unfinished."""
    whole: bool
    """It stands in the store, rather than in a part that an import left unfinished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What an import says of a feature; each field is none where it is silent."""

    encoder: str | None
    frame_rate: float | None
    fitted_on: list[dict[str, Any]] | None
    said_by: str


def standing(path: Path, spec: FeatureSpec) -> ExistingFeature | None:
    """The feature of this name, where it was made of the same source and is stored as the same type.

    Raises:
        DataError: The store or the part is damaged.
    """
    for place, whole in ((path, True), (partial_path(path, spec.name), False)):
        if not place.exists():
            continue
        with FeatureStore(place) as store:
            f = store.features.get(spec.name)
            if f is not None and f.fingerprint == spec.fingerprint and f.spec.dtype == spec.dtype:
                held = frozenset(f.ids) - set(f.stale) if whole else frozenset()
                return ExistingFeature(path=place, spec=f.spec, held=held, whole=whole)
    return None


def continued(there: ExistingFeature, said: Words) -> tuple[FeatureSpec, tuple[str, ...]]:
    """What stands with what is said of it for the first time, and these news in words.

    Raises:
        UsageError: Something else is said of it than what stands.
    """
    spec, news, problems = there.spec, [], []
    fitted_on = spec.provenance.get("fitted_on")
    changed: dict[str, Any] = {}
    if said.fitted_on is not None and normal(said.fitted_on) != normal(fitted_on):
        words = printable(in_words(said.fitted_on), 300)
        if normal(fitted_on) == UNKNOWN:
            told = {"fitted_on": said.fitted_on, "fitted_on_said_by": said.said_by}
            changed["provenance"] = {**spec.provenance, **told}
            news.append(f"now says it was fitted on {words}")
        else:
            problems.append(f"it was fitted on {printable(in_words(fitted_on), 300)}, {said.said_by} says {words}")
    for key, option, silent, asked in (
        ("encoder", "--encoder", IMPORTED, said.encoder),
        ("frame_rate", "--frame-rate", None, said.frame_rate),
    ):
        stands = getattr(spec, key)
        if asked in (None, stands):
            continue
        if stands == silent:
            changed[key] = asked
            news.append(f"now has {key.replace('_', ' ')} {printable(str(asked))}")
        else:
            problems.append(f"its {key.replace('_', ' ')} is {printable(str(stands))}, {option} says {asked}")
    if problems:
        remedy = (
            f"`emofuse store rm {there.path} {spec.name}` takes it away first" if there.whole else
            f"delete {there.path} to start afresh"
        )  # fmt: skip
        raise UsageError(
            f"{there.path} has feature {spec.name!r} from the same source, and something else stands there: "
            f"{'; '.join(problems)}. Leave the option away to keep what stands; if that is wrong, {remedy}"
        )
    return replace(spec, **changed), tuple(news)
