"""The options of one call of `fit`, before any store is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict, Unpack

from emofuse.common.errors import UnknownNameError
from emofuse.common.location import Location, parse_location
from emofuse.common.option_values import as_joined_text, as_path, as_tuple, check_values, split_names
from emofuse.common.problems import Problems
from emofuse.manifests.metrics.scores import EXPECTED_METRICS
from emofuse.store import FeatureStore

Precision = Literal["fp32", "tf32", "bf16"]
ClassWeights = Literal["none", "balanced"]
Calibrate = Literal["none", "temperature"]
Select = Literal["validation", "last"]
Standardise = Literal["training", "speaker"]
Layers = Literal["none", "weighted"]
Combine = Literal["concatenate", "gated"]
SHUFFLES = ("labels", "audio", "text")
"""What a sanity run can shuffle."""
Store = Location | str | FeatureStore
"""A store to read: a path, a URL, or an open store, whose file is opened again."""
MINIMUM = {"steps": 1, "seed": 0, "seeds": 1, "allow_missing": 0, "limit": 1, "threads": 1, "jobs": 1}
_STORE = "a path, a URL or an open FeatureStore"
_COPIES = "a whole number, 1 or more, 'all', or None"
_EXPECTED = {
    "store": f"{_STORE}, or a sequence of them",
    "more_stores": f"{_STORE}, or a sequence of them",
    "test_store": f"{_STORE}, or None",
    "protocol": "a protocol's name, a path or None",
    "audio": "a feature's name, a sequence of names, or None",
    "text": "a feature's name, a sequence of names, or None",
    "folds": "text such as '1,3', or numbers such as [1, 3]",
    "epochs": "a number above 0, or None",
    "settings": "a mapping such as {'lr': 3e-4}, or texts such as ['lr=3e-4']",
    "augmented": _COPIES,
    "metrics": EXPECTED_METRICS,
    "score_without": "'audio', 'text' or a sequence of them",
    "shuffle": "'labels', 'audio', 'text' or a sequence of them",
    "track": "'tensorboard', 'mlflow', 'wandb' or a sequence of them",
    "jobs": "a whole number, 1 or more, or 'auto'",
}
_EXAMPLES = {"store": "store='cache/iemocap.h5'", "model": "model='smcn'"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """The options of one call of `fit`. What is None or empty follows from the store, the protocol and the preset.

    Paths may be given as text, a store also as an open store, `store` as a sequence (all but the first are added to
    `more_stores`), `folds` as numbers, `settings` as a mapping, and `jobs=None` as "auto".
    """

    store: Location
    """The store to train on, a path or a URL."""
    model: str
    """A registered name (`emofuse models` lists them)."""
    more_stores: tuple[Location, ...] = ()
    """Stores of further corpora to train on."""
    test_store: Location | None = None
    """The store of a corpus that is used for testing only."""
    protocol: str | None = None
    """A built-in protocol or the path of a TOML file; None means the usual one of the corpus."""
    audio: str | tuple[str, ...] | None = None
    """The audio feature, or several to combine; None means the model's usual one, or the only one in the store."""
    text: str | tuple[str, ...] | None = None
    """The text feature, or several; None means the same as for audio."""
    layers: Layers = "none"
    """What becomes of the layers of a feature: `weighted` puts a learned sum over them in front of the model."""
    combine: Combine = "concatenate"
    """How several features of a modality become one: end to end, or by learned gates."""
    ablation: str | None = None
    """A variant of the model, by its name in the paper."""
    folds: str = "all"
    """`all`, or fold numbers such as `1,3`."""
    steps: int | None = None
    """Training steps per fold."""
    epochs: float | None = None
    """Passes over the training side, given instead of `steps`."""
    settings: tuple[str, ...] = ()
    """Hyper-parameters as `key=value`."""
    augmented: int | Literal["all"] | None = None
    """How many augmented copies of each training utterance are further training examples: a number, or all."""
    class_weights: ClassWeights = "none"
    """Weights of the classes in the loss."""
    standardise: Standardise = "training"
    """Whose mean and deviation standardise features: the fold's training side's, or those of each speaker's own clips,
    without labels."""
    metrics: tuple[str, ...] = ()
    """Metrics that tables show, in their order; empty means the protocol's, whose first one selects in any case."""
    seed: int = 0
    """The first seed."""
    seeds: int = 1
    """How many consecutive seeds are trained."""
    select: Select = "validation"
    """Which weights are tested: the best ones on validation, or those of the last step, without validation."""
    final: bool = False
    """After cross-validation, also train one model on all data; it has no score of its own."""
    ensemble: bool = False
    """Also score the mean probabilities of all seeds, beside the single seeds; nothing is selected by it."""
    optimism: bool = False
    """Also report what choosing the checkpoint on test would have given."""
    keep_checkpoints: bool = False
    """With `optimism`, keep the weights of every evaluation step, which are removed when they are scored."""
    calibrate: Calibrate = "none"
    """Whether each fold fits a temperature of its probabilities on its validation side."""
    score_without: tuple[str, ...] = ()
    """Modalities; the test side is scored again without each of them."""
    shuffle: tuple[str, ...] = ()
    """A sanity run: `labels` permutes those of training and validation, a modality is dealt to other utterances."""
    allow_missing: int = 0
    """By how many utterances each count of the task may differ from the protocol's."""
    allow_duplicates: bool = False
    """Accept the same audio on the test side and in training or validation; every output says so."""
    limit: int | None = None
    """At most this many utterances, spread evenly over folds and classes."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Precision = "fp32"
    """Precision of the matrix products in training steps; with bf16, validation and test are computed in fp32."""
    out: Path | None = None
    """The run folder; None means one below `runs`, named after the protocol, the model and a digest."""
    runs: Path = Path("runs")
    """The folder of all runs whose `out` is None."""
    threads: int | None = None
    """CPU threads per process; None shares all cores among the processes."""
    jobs: int | None = 1
    """Processes that train folds in parallel; None means as many as save time. More than one process imports the
    calling script again, so a script needs `if __name__ == "__main__":` around its own work."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers train the folds instead of processes on this machine."""
    track: tuple[str, ...] = ()
    """Trackers that the finished run is written to: `tensorboard`, `mlflow`, `wandb`."""
    report: bool = True
    """Write report.html and confusion.png, where the extra `report` is installed."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[FitOptions]) -> None: ...

    def __post_init__(self) -> None:
        jobs: Any = self.jobs
        converted: dict[str, Any] = {
            "test_store": _location(self.test_store),
            "protocol": str(self.protocol) if isinstance(self.protocol, Path) else self.protocol,
            "audio": _one_or_several(self.audio),
            "text": _one_or_several(self.text),
            "folds": as_joined_text(self.folds),
            "settings": _settings(self.settings),
            "metrics": split_names(self.metrics),
            "score_without": as_tuple(self.score_without),
            "shuffle": _distinct(as_tuple(self.shuffle)),
            "track": as_tuple(self.track),
            "out": as_path(self.out),
            "runs": as_path(self.runs),
            "jobs": None if jobs == "auto" else jobs,
            **_stores(self.store, self.more_stores),
        }
        for name, value in converted.items():
            object.__setattr__(self, name, value)

    def check(self, problems: Problems) -> None:
        """Note every value that the command line refuses by itself."""
        wrong = check_values(self, problems, expected=_EXPECTED, minimum=MINIMUM, examples=_EXAMPLES)
        if "epochs" not in wrong and self.epochs is not None and not (math.isfinite(self.epochs) and self.epochs > 0):
            problems.add(f"epochs is {self.epochs!r}, expected {_EXPECTED['epochs']}")
        if "augmented" not in wrong and isinstance(self.augmented, int) and self.augmented < 1:
            problems.add(f"augmented is {self.augmented}, expected {_COPIES}")
        if self.keep_checkpoints is True and not self.optimism:
            problems.add("keep_checkpoints (--keep-checkpoints) belongs to optimism (--optimism): give both")
        for what in () if "shuffle" in wrong else self.shuffle:
            if what not in SHUFFLES:
                with problems.collecting():
                    raise UnknownNameError("shuffle", what, SHUFFLES)


def names_of(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names in `FitConfig.audio` or `text`."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


class FitOptions(TypedDict, total=False):
    """The keywords of `fit`: the fields of `FitConfig` in the forms that it converts."""

    store: Required[Store | Sequence[Store]]
    model: Required[str]
    more_stores: Store | Sequence[Store]
    test_store: Store | None
    protocol: str | Path | None
    audio: str | Sequence[str] | None
    text: str | Sequence[str] | None
    layers: Layers
    combine: Combine
    ablation: str | None
    folds: str | int | Sequence[int | str]
    steps: int | None
    epochs: float | None
    settings: Mapping[str, object] | Sequence[str]
    augmented: int | Literal["all"] | None
    class_weights: ClassWeights
    standardise: Standardise
    metrics: str | Sequence[str]
    seed: int
    seeds: int
    select: Select
    final: bool
    ensemble: bool
    optimism: bool
    keep_checkpoints: bool
    calibrate: Calibrate
    score_without: Sequence[str]
    shuffle: Sequence[str]
    allow_missing: int
    allow_duplicates: bool
    limit: int | None
    device: str
    precision: Precision
    out: str | Path | None
    runs: str | Path
    threads: int | None
    jobs: int | Literal["auto"] | None
    scheduler: str | None
    track: str | Sequence[str]
    report: bool


def _location(value: Any) -> Any:
    """The path or URL of a store; another value, also empty text, unchanged."""
    if isinstance(value, FeatureStore):
        return value.path
    return parse_location(value) if value and isinstance(value, str) else as_path(value) if value else value


def _several_locations(value: Any) -> Any:
    """A tuple of the locations of one store, or of several; another value unchanged."""
    values = (value,) if isinstance(value, FeatureStore) else as_tuple(value)
    return tuple(_location(item) for item in values) if isinstance(values, tuple) else value


def _stores(store: Any, more: Any) -> dict[str, Any]:
    """The fields `store` and `more_stores`: of several stores, the first and the others."""
    first, others = _several_locations(store), _several_locations(more)
    if not isinstance(first, tuple) or not first:
        return {"store": store, "more_stores": others}
    return {"store": first[0], "more_stores": (*first[1:], *others) if isinstance(others, tuple) else others}


def _one_or_several(value: Any) -> Any:
    """The only text of a sequence, None for an empty one, else a tuple; what is not a sequence of texts unchanged."""
    items = as_tuple(value)
    if not isinstance(items, tuple) or isinstance(value, str):
        return value
    return items if len(items) > 1 else items[0] if items else None


def _distinct(values: Any) -> Any:
    """Several texts sorted and each once; another value unchanged."""
    several = isinstance(values, tuple) and all(isinstance(value, str) for value in values)
    return tuple(sorted(set(values))) if several else values


def _settings(value: Any) -> Any:
    """Hyper-parameters as on the command line, `KEY=VALUE` each; what is neither a mapping nor texts unchanged."""
    return tuple(f"{key}={item}" for key, item in value.items()) if isinstance(value, Mapping) else as_tuple(value)
