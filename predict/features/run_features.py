"""The features that a run was trained on, as its config.json records them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emofuse.common.errors import DataError
from emofuse.manifests.schema import Modality
from emofuse.train.runs.finished_run import CONFIG, Run
from emofuse.train.runs.recorded_features import per_fold_names


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFeature:
    """One feature of a run."""

    modality: Modality
    fold: int | None
    """The fold whose models read it; None where all folds read the same feature."""
    member: int | None = None
    """Its place among the features that are combined; None where the modality has one feature."""
    name: str
    """Its name in the store: for one fold `NAME@N`."""
    encoder: str
    corpus: str
    """The corpus that it was extracted from; some encoders have settings of their own for a corpus."""
    fingerprint: Mapping[str, Any]
    """Everything that decides its values."""
    options: Mapping[str, str]
    """Options of `extract` by name: `--weights`, `--layers`, `--views`."""
    repository: str | None
    """Where the weights come from on the hub, with their revision."""
    dtype: str
    """How the store holds its values."""

    @property
    def key(self) -> str:
        """A name for this feature that no other feature of the run has."""
        if self.member is not None:
            return member_key(self.modality, self.member)
        return self.modality if self.fold is None else f"{self.modality}@{self.fold}"


def member_key(modality: str, member: int) -> str:
    """The key of one of the features that are combined."""
    return f"{modality}.{member}"


def run_features(run: Run, modalities: Sequence[str], folds: Collection[int | None]) -> list[RunFeature]:
    """The features of `modalities` that the models of `folds` read, in that order.

    Raises:
        DataError: config.json is damaged.
    """
    try:
        return [feature for modality in modalities for feature in _of_modality(run.config, modality, folds)]
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{run.folder / CONFIG} is damaged: its features cannot be read ({reason})") from None


def _of_modality(config: Mapping[str, Any], modality: Any, folds: Collection[int | None]) -> list[RunFeature]:
    record, provenance = config["run"]["features"][modality], dict(config["provenance"][modality])
    dtypes = config.get("dtypes", {}).get(modality, "float16")
    if "members" in record:
        return [
            _feature(
                {"modality": modality, "encoder": str(one["encoder"]), "dtype": str(dtypes[one["name"]]), "member": i},
                config, None, str(one["name"]), one["fingerprint"], dict(provenance[one["name"]]),
            )
            for i, one in enumerate(record["members"])
        ]  # fmt: skip
    fingerprint = dict(record["fingerprint"])
    about: dict[str, Any] = {
        "modality": modality,
        "encoder": str(record["encoder"]),
        "dtype": str(dtypes),
    }
    if per_fold_names(record):
        by_fold = dict(zip(config["run"]["folds"], per_fold_names(record), strict=True))
        return [
            _feature(about, config, fold, name, fingerprint[name], provenance[name])
            for fold, name in by_fold.items()
            if fold in folds
        ]
    return [_feature(about, config, None, str(record["name"]), fingerprint, provenance)]


def _feature(
    about: Mapping[str, Any],
    config: Mapping[str, Any],
    fold: int | None,
    name: str,
    fingerprint: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> RunFeature:
    corpus = str(config["run"]["corpus"])
    if config["run"]["protocol"].get("joint"):  # the provenance of each store; all have the same settings
        corpus = min(provenance)
        provenance = dict(provenance[corpus])
    arguments = [str(argument) for argument in provenance.get("encoder_options") or []]
    repository, revision = provenance.get("repository"), provenance.get("revision")
    return RunFeature(
        **about,
        fold=fold,
        name=name,
        corpus=corpus,
        fingerprint=dict(fingerprint),
        options=dict(zip(arguments[::2], arguments[1::2], strict=True)),
        repository=f"{repository}{f'@{revision}' if revision else ''}" if repository else None,
    )
