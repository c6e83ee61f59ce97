"""What `reproduce` runs: every row of a table on every task, as calls of `fit`, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from emofuse.common.errors import SeveralProblemsError, UnknownNameError, UsageError
from emofuse.manifests import protocol as protocols
from emofuse.store import FeatureStore
from emofuse.train.models.registry import variant
from emofuse.train.papers.request import TableRequest, features_of
from emofuse.train.papers.table import TableRow, TableTask
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.extract_hints import usual_name
from emofuse.train.runs.run import resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class RowJob:
    """One row on one task, as a call of `fit`."""

    row: TableRow
    task: TableTask
    config: FitConfig
    notes: tuple[str, ...] = ()
    """What must be said of it beside its figures."""


@dataclass(slots=True, kw_only=True)
class TableWork:
    """What is to run, in the table's order, and what is left out."""

    jobs: list[RowJob] = field(default_factory=list)
    tasks_left: dict[str, str] = field(default_factory=dict)
    """Protocol -> why none of its rows is run."""
    rows_left: dict[tuple[str, str], str] = field(default_factory=dict)
    """(protocol, row) -> why it is not run."""


def work_of(request: TableRequest) -> TableWork:
    """Everything that a request comes to.

    Raises:
        UsageError: Everything that stands in the way: unknown rows, words of --substitute, stores, features, ...
    """
    table, rows = request.table, request.rows()
    request.check_words(rows)
    work = TableWork()
    with _opened(request) as stores:
        for task in table.tasks:
            lacking = sorted(set(_corpora(request.stand_in(task.protocol))) - set(stores))
            if lacking:
                work.tasks_left[task.protocol] = f"no store of {' and of '.join(lacking)} was given"
                continue
            for row in (r for r in rows if task.protocol in r.tasks):
                silent = _silent(request, row, task, stores)
                if silent:
                    work.rows_left[task.protocol, row.name] = silent
                else:
                    work.jobs.append(_job(request, row, task, stores))
        if not work.jobs:
            raise UsageError(_nothing(request, stores, work))
        _refuse_idle(request, work, stores)
    work.jobs = sorted(_checked(work.jobs), key=lambda job: table.rows.index(job.row))
    return work


@contextmanager
def _opened(request: TableRequest) -> Iterator[dict[str, FeatureStore]]:
    with ExitStack() as stack:
        stores: dict[str, FeatureStore] = {}
        for path in request.stores:
            store = stack.enter_context(FeatureStore(path))
            if store.corpus in stores:
                raise UsageError(f"two stores of corpus {store.corpus}: {stores[store.corpus].path} and {path}")
            stores[store.corpus] = store
        yield stores


def _corpora(protocol: str) -> tuple[str, ...]:
    found = protocols.load(protocol)
    return (*found.corpora, *((found.test_corpus,) if found.test_corpus else ()))


def _refuse_idle(request: TableRequest, work: TableWork, stores: Mapping[str, FeatureStore]) -> None:
    run = [t.protocol for t in request.table.tasks if t.protocol not in work.tasks_left]
    used = {corpus for protocol in run for corpus in _corpora(request.stand_in(protocol))}
    idle = [f"{s.path} ({corpus})" for corpus, s in stores.items() if corpus not in used]
    if idle:
        raise UsageError(f"{request.table.name} has no use for {', '.join(idle)}; leave it out")


def _silent(request: TableRequest, row: TableRow, task: TableTask, stores: Mapping[str, FeatureStore]) -> str:
    corpora = _corpora(request.stand_in(task.protocol))
    lacking = [
        f"corpus {c} has no {m}" for m in features_of(row, task) for c in corpora if not stores[c].manifest.has(m)
    ]
    return "; ".join(lacking)


def _job(request: TableRequest, row: TableRow, task: TableTask, stores: Mapping[str, FeatureStore]) -> RowJob:
    protocol = protocols.load(request.stand_in(task.protocol))
    training = [stores[c] for c in protocol.corpora]
    names, notes = {}, []
    for modality, wanted in features_of(row, task).items():
        name = names[modality] = _named(training, request.stand_in(wanted), replaced=wanted in request.substitute)
        if wanted in request.table.fine_tuned and not _fitted(training, name):
            notes.append(f"{name} is frozen, the paper's {wanted} was fine-tuned")
    return RowJob(
        row=row,
        task=task,
        notes=tuple(notes),
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
            score_without=variant(row.model, row.ablation)[2].optional,
            allow_missing=request.allow_missing,
            limit=request.limit,
            device=request.device,
            threads=request.threads,
            jobs=request.jobs,
            scheduler=request.scheduler,
            runs=request.runs,
        ),
    )


def _named(stores: Sequence[FeatureStore], wanted: str, *, replaced: bool) -> str:
    """What the stores call the feature; a stand-in may be named by its encoder."""
    for store in stores:
        if wanted in store.features:
            return wanted
        if usual_name(wanted) in store.features:
            return usual_name(wanted)
        made = [f.name for f in store.features.values() if usual_name(f.encoder) == usual_name(wanted)]
        if replaced and len(made) == 1:
            return made[0]
    return wanted


def _fitted(stores: Sequence[FeatureStore], name: str) -> bool:
    return any(name in s.features and bool(s.features[name].provenance.get("fitted_on")) for s in stores)


def _nothing(request: TableRequest, stores: Mapping[str, FeatureStore], work: TableWork) -> str:
    table = request.table
    told = [f"{protocol}: {reason}" for protocol, reason in work.tasks_left.items()]
    told += [f"{row} on {protocol}: {reason}" for (protocol, row), reason in work.rows_left.items()]
    given = ", ".join(f"{s.path} holds {corpus}" for corpus, s in stores.items()) or "no store was given (--store)"
    known = [c for c in stores if protocols.names(c)]
    free = [t for t in work.tasks_left if t not in request.substitute]
    usual = f"{free[0]}={protocols.default_for(known[0]).name}" if free and known else ""
    advice = f"\nTo run it on that corpus instead: --substitute {usual}" if usual else ""
    return f"nothing of {table.name} can be run ({given}):\n  - " + "\n  - ".join(told) + advice


def _checked(jobs: Sequence[RowJob]) -> list[RowJob]:
    """Resolve every fit, so that all that is wrong is said before the first one is trained."""
    problems: dict[str, list[str]] = {}
    found = []
    for job in jobs:
        try:
            found.append(_with_its_folds(job))
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
    return found


def _with_its_folds(job: RowJob) -> RowJob:
    """The job on those of the folds asked for that its protocol has; an official split has one."""
    try:
        with resolved(job.config):
            return job
    except UnknownNameError as error:
        folds = [n for n in job.config.folds.replace(" ", "").split(",") if n in error.valid]
        if error.kind != "fold" or not folds:
            raise
        return _with_its_folds(replace(job, config=replace(job.config, folds=",".join(folds))))
