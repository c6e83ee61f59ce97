"""The fits of a table: every row on every task, all checked before the first one is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from emofuse.common.errors import SeveralProblemsError, UnknownNameError, UsageError
from emofuse.manifests import protocol_files as protocols
from emofuse.store import FeatureStore
from emofuse.store.core.augmented import plain_features
from emofuse.train.models.registry import variant
from emofuse.train.papers.published_table import TableRow, TableTask
from emofuse.train.papers.table_request import TableRequest, features_of
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.features.extract_commands import default_feature_name
from emofuse.train.runs.fit_context import resolved

Stores = Mapping[str, FeatureStore]
"""Corpus -> its open store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowJob:
    """One row on one task, as a fit."""

    row: TableRow
    task: TableTask
    config: FitConfig
    notes: tuple[str, ...] = ()
    """Remarks, printed beside the figures."""


@dataclass(slots=True, kw_only=True)
class TablePlan:
    """The fits to run, in the table's order, and what is skipped."""

    jobs: list[RowJob] = field(default_factory=list)
    skipped_tasks: dict[str, str] = field(default_factory=dict)
    """Protocol -> why none of its rows is run."""
    skipped_rows: dict[tuple[str, str], str] = field(default_factory=dict)
    """(protocol, row) -> why it is not run."""


def plan_fits_of_table(request: TableRequest) -> TablePlan:
    """The fits of a request.

    Raises:
        UsageError: Unknown rows, useless substitutes, unusable stores, missing features, ...; lists all problems.
    """
    table, rows = request.table, request.rows()
    request.check_substitutes(rows)
    plan = TablePlan()
    with _opened(request) as stores:
        for task in table.tasks:
            missing = sorted(set(_corpora(request.substituted(task.protocol))) - set(stores))
            if missing:
                plan.skipped_tasks[task.protocol] = f"no store of {' and of '.join(missing)} was given"
                continue
            for row in (r for r in rows if task.protocol in r.tasks):
                reason = _missing_modalities(request, row, task, stores)
                if reason:
                    plan.skipped_rows[task.protocol, row.name] = reason
                else:
                    plan.jobs.append(_job(request, row, task, stores))
        if not plan.jobs:
            raise UsageError(_nothing_to_run(request, stores, plan))
        _refuse_unused_stores(request, plan, stores)
    plan.jobs = sorted(_checked(plan.jobs), key=lambda job: table.rows.index(job.row))
    return plan


@contextmanager
def _opened(request: TableRequest) -> Iterator[Stores]:
    with ExitStack() as stack:
        stores: dict[str, FeatureStore] = {}
        for path in request.stores:
            store = stack.enter_context(FeatureStore(path))
            if store.corpus in stores:
                raise UsageError(f"two stores of corpus {store.corpus}: {stores[store.corpus].path} and {path}")
            stores[store.corpus] = store
        yield stores


def _corpora(protocol: str) -> tuple[str, ...]:
    """The corpora that a protocol trains and tests on."""
    loaded = protocols.load(protocol)
    return (*loaded.corpora, *((loaded.test_corpus,) if loaded.test_corpus else ()))


def _refuse_unused_stores(request: TableRequest, plan: TablePlan, stores: Stores) -> None:
    run = [t.protocol for t in request.table.tasks if t.protocol not in plan.skipped_tasks]
    used = {corpus for protocol in run for corpus in _corpora(request.substituted(protocol))}
    unused = [f"{s.path} ({corpus})" for corpus, s in stores.items() if corpus not in used]
    if unused:
        raise UsageError(f"{request.table.name} has no use for {', '.join(unused)}; leave it out")


def _missing_modalities(request: TableRequest, row: TableRow, task: TableTask, stores: Stores) -> str:
    """Which corpora do not have a modality of the row; empty if all do."""
    corpora = _corpora(request.substituted(task.protocol))
    return "; ".join(
        f"corpus {c} has no {m}" for m in features_of(row, task) for c in corpora if not stores[c].manifest.has(m)
    )


def _job(request: TableRequest, row: TableRow, task: TableTask, stores: Stores) -> RowJob:
    protocol = protocols.load(request.substituted(task.protocol))
    training = [stores[c] for c in protocol.corpora]
    features, notes = {}, []
    for modality, published in features_of(row, task).items():
        substituted = published in request.substitute
        name = features[modality] = _stored_name(training, request.substituted(published), substituted=substituted)
        if published in request.table.fine_tuned and not _is_fine_tuned(training, name):
            notes.append(f"{name} is frozen, the paper's {published} was fine-tuned")
    config = FitConfig(
        store=training[0].path,
        more_stores=tuple(s.path for s in training[1:]),
        test_store=stores[protocol.test_corpus].path if protocol.test_corpus else None,
        model=row.model,
        ablation=row.ablation,
        protocol=request.substituted(task.protocol),
        audio=features.get("audio"),
        text=features.get("text"),
        folds=request.folds,
        steps=request.steps,
        epochs=request.epochs,
        settings=row.settings,
        seeds=request.seeds,
        select="last" if task.select == "last" else "validation",
        # All modalities that the model allows, so that rows that differ only in this share one run.
        score_without=variant(row.model, row.ablation)[2].optional,
        allow_missing=request.allow_missing,
        allow_duplicates=request.allow_duplicates,
        limit=request.limit,
        device=request.device,
        threads=request.threads,
        jobs=request.jobs,
        scheduler=request.scheduler,
        runs=request.runs,
    )
    return RowJob(row=row, task=task, notes=tuple(notes), config=config)


def _stored_name(stores: Sequence[FeatureStore], wanted: str, *, substituted: bool) -> str:
    """The name of a feature in the stores; a substitute may also be named by its encoder."""
    for store in stores:
        if wanted in store.features:
            return wanted
        default = default_feature_name(wanted)
        if default in store.features:
            return default
        by_encoder = [
            f.name for f in plain_features(store.features).values() if default_feature_name(f.encoder) == default
        ]
        if substituted and len(by_encoder) == 1:
            return by_encoder[0]
    return wanted


def _is_fine_tuned(stores: Sequence[FeatureStore], name: str) -> bool:
    return any(name in s.features and bool(s.features[name].provenance.get("fitted_on")) for s in stores)


def _nothing_to_run(request: TableRequest, stores: Stores, plan: TablePlan) -> str:
    """The message where every row is skipped, with a substitute that would run on a given store."""
    table = request.table
    reasons = [f"{protocol}: {reason}" for protocol, reason in plan.skipped_tasks.items()]
    reasons += [f"{row} on {protocol}: {reason}" for (protocol, row), reason in plan.skipped_rows.items()]
    given = ", ".join(f"{s.path} holds {corpus}" for corpus, s in stores.items()) or "no store was given (--store)"
    known = [c for c in stores if protocols.names(c)]
    free = [t for t in plan.skipped_tasks if t not in request.substitute]
    substitute = f"{free[0]}={protocols.default_for(known[0]).name}" if free and known else ""
    hint = f"\nTo run it on that corpus instead: --substitute {substitute}" if substitute else ""
    return f"nothing of {table.name} can be run ({given}):\n  - " + "\n  - ".join(reasons) + hint


def _checked(jobs: Sequence[RowJob]) -> list[RowJob]:
    """Resolve every fit, so that all problems are reported before the first one is trained."""
    rows_with: dict[str, list[str]] = {}
    checked = []
    for job in jobs:
        try:
            checked.append(_with_its_folds(job))
        except UsageError as error:
            for problem in error.problems if isinstance(error, SeveralProblemsError) else (str(error),):
                rows_with.setdefault(problem, []).append(job.row.name)
    if rows_with:
        lines = [f"{problem}\n    (rows: {', '.join(dict.fromkeys(rows))})" for problem, rows in rows_with.items()]
        raise UsageError(
            "these rows cannot be run:\n  - "
            + "\n  - ".join(lines)
            + "\nOr run them on features that are available, --substitute OLD=NEW,...; or choose rows, --only ROW."
        )
    return checked


def _with_its_folds(job: RowJob) -> RowJob:
    """The job on those of the requested folds that its protocol has; an official split has one."""
    try:
        with resolved(job.config):
            return job
    except UnknownNameError as error:
        folds = [n for n in job.config.folds.replace(" ", "").split(",") if n in error.valid]
        if error.kind != "fold" or not folds:
            raise
        return _with_its_folds(replace(job, config=replace(job.config, folds=",".join(folds))))
