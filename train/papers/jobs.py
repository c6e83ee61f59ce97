"""What `reproduce` runs: every row of a table on every task, as calls of `fit`, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from emofuse.common.errors import SeveralProblemsError, UnknownNameError, UsageError
from emofuse.manifests import protocol as protocols
from emofuse.store import Store, open_store
from emofuse.train.config import FitConfig
from emofuse.train.models.registry import variant
from emofuse.train.papers.table import Row, Table, Task
from emofuse.train.run import resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of `reproduce`."""

    table: Table
    stores: tuple[Path, ...]
    only: tuple[str, ...] = ()
    """Rows, by name; empty: all."""
    substitute: Mapping[str, str] = field(default_factory=dict)
    """The table's feature or protocol -> what stands in for it."""
    folds: str = "all"
    seeds: int = 1
    steps: int | None = None
    epochs: float | None = None
    limit: int | None = None
    allow_missing: int = 0
    device: str = "auto"
    threads: int | None = None
    runs: Path = Path("runs")

    def stand_in(self, name: str) -> str:
        """What is taken for a feature or protocol of the table."""
        return self.substitute.get(name, name)

    def marks(self) -> list[str]:
        """How far this is from the paper's own run, one phrase each; empty where it is not."""
        short = {"--steps": self.steps, "--epochs": self.epochs, "--limit": self.limit}
        found = [f"short run ({option} {value:g})" for option, value in short.items() if value is not None]
        found += [] if self.folds == "all" else [f"folds {self.folds} alone"]
        return found + [f"{mine} stands in for {theirs}" for theirs, mine in self.substitute.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row on one task, as a call of `fit`."""

    row: Row
    task: Task
    config: FitConfig
    frozen: tuple[str, ...]
    """Features that the paper fine-tuned on each fold and that this store holds as frozen ones."""


def jobs(request: Request) -> tuple[list[Job], dict[str, str]]:
    """The work, in the table's order, and why a task is left out (protocol -> reason).

    Raises:
        UsageError: Everything that stands in the way: unknown rows, words of --substitute, stores, features, ...
    """
    table = request.table
    _words(request)
    rows = [table.row(name) for name in request.only] or [r for r in table.rows if not r.cited]
    cited = [r.name for r in rows if r.cited]
    if cited:
        raise UsageError(f"{', '.join(cited)}: another system's figures, cited and not run")
    with ExitStack() as stack:
        stores: dict[str, Store] = {}
        for path in request.stores:
            store = stack.enter_context(open_store(path))
            if store.corpus in stores:
                raise UsageError(f"two stores of corpus {store.corpus}: {stores[store.corpus].path} and {path}")
            stores[store.corpus] = store
        left_out, found = {}, []
        for task in table.tasks:
            lacking = sorted(set(_corpora(request.stand_in(task.protocol))) - set(stores))
            if lacking:
                left_out[task.protocol] = f"no store of {' and of '.join(lacking)} was given"
                continue
            found += [_job(request, row, task, stores) for row in rows if task.protocol in row.tasks]
    if not found:
        raise UsageError(_nothing(request, stores, left_out))
    _check(found)
    return sorted(found, key=lambda job: table.rows.index(job.row)), left_out


def _words(request: Request) -> None:
    table = request.table
    replaceable = {*table.features, *(t.protocol for t in table.tasks)}
    for word in request.substitute:
        if word not in replaceable:
            raise UnknownNameError(
                f"feature or protocol of {table.name}", word, replaceable, "As --substitute OLD=NEW."
            )


def _corpora(protocol: str) -> tuple[str, ...]:
    found = protocols.load(protocol)
    return (*found.corpora, *((found.test_corpus,) if found.test_corpus else ()))


def _job(request: Request, row: Row, task: Task, stores: Mapping[str, Store]) -> Job:
    protocol = protocols.load(request.stand_in(task.protocol))
    training = [stores[c] for c in protocol.corpora]
    spec = variant(row.model, row.ablation)[2]
    wanted = {m: name for m, name in {**task.features, **row.features}.items() if m in spec.modalities}
    names = {m: _named(training, request.stand_in(name)) for m, name in wanted.items()}
    return Job(
        row=row,
        task=task,
        frozen=tuple(
            name for m, name in wanted.items() if name in request.table.fine_tuned and not _fitted(training, names[m])
        ),
        config=FitConfig(
            store=training[0].path,
            more_stores=tuple(s.path for s in training[1:]),
            test_store=stores[protocol.test_corpus].path if protocol.test_corpus else None,
            model=row.model,
            ablation=row.ablation,
            protocol=request.stand_in(task.protocol),
            audio=names.get("audio"),
            text=names.get("text"),
            folds=request.folds,
            steps=request.steps,
            epochs=request.epochs,
            settings=row.settings,
            seeds=request.seeds,
            select="last" if task.select == "last" else "validation",
            # All that the model allows, so that rows of any table that differ in this alone are one run.
            score_without=spec.optional,
            allow_missing=request.allow_missing,
            limit=request.limit,
            device=request.device,
            threads=request.threads,
            runs=request.runs,
        ),
    )


def _named(stores: Iterable[Store], wanted: str) -> str:
    """What the stores call the feature, which may be named by its encoder."""
    for store in stores:
        if wanted not in store.features:
            made = [f.name for f in store.features.values() if f.encoder == wanted]
            if len(made) == 1:
                return made[0]
    return wanted


def _fitted(stores: Iterable[Store], name: str) -> bool:
    return any(name in s.features and bool(s.features[name].provenance.get("fitted_on")) for s in stores)


def _nothing(request: Request, stores: Mapping[str, Store], left_out: Mapping[str, str]) -> str:
    table = request.table
    told = [f"{protocol}: {reason}" for protocol, reason in left_out.items()] or ["none of these rows has a task"]
    given = ", ".join(f"{s.path} holds {corpus}" for corpus, s in stores.items()) or "no store was given (--store)"
    usual = next((f"{t.protocol}={n}" for t in table.tasks for c in stores for n in protocols.names(c)), "")
    advice = f"\nTo run it on that corpus instead: --substitute {usual}" if usual else ""
    return f"nothing of {table.name} can be run ({given}):\n  - " + "\n  - ".join(told) + advice


def _check(found: Sequence[Job]) -> None:
    """Resolve every fit, so that all that is wrong is said before the first one is trained."""
    problems: dict[str, list[str]] = {}
    for job in found:
        try:
            with resolved(job.config):
                pass
        except UsageError as error:
            for told in error.problems if isinstance(error, SeveralProblemsError) else (str(error),):
                problems.setdefault(told, []).append(job.row.name)
    if problems:
        lines = [f"{told}\n    (rows: {', '.join(dict.fromkeys(rows))})" for told, rows in problems.items()]
        raise UsageError(
            "these rows cannot be run:\n  - "
            + "\n  - ".join(lines)
            + "\nOr run them on features that are at hand, --substitute OLD=NEW,...; or choose rows, --only ROW."
        )
