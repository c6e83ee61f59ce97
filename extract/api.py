"""`extract` from Python: one config in, a store out. The command `extract` is a shell around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, overload

from emofuse.common.errors import DONE, EXCLUDED, UsageError
from emofuse.common.option_values import check_say, config_of_call
from emofuse.common.output.console import Say, plural, say
from emofuse.common.output.verbosity import stage
from emofuse.common.problems import Problems
from emofuse.extract.asr.transcribe import Transcripts, prepare_transcripts, without_blank_texts
from emofuse.extract.audio.exclusions import report_excluded
from emofuse.extract.audio.scan import read_dataset, scan_corpus
from emofuse.extract.parallel.backend import ExecutionBackend
from emofuse.extract.plan.build_jobs import build_jobs, require_modalities, with_pretraining_overlap
from emofuse.extract.plan.config import ExtractConfig, ExtractOptions
from emofuse.extract.plan.job import FeatureJob, JobOutcome
from emofuse.extract.plan.store_state import planned_line, require_fitting_store
from emofuse.manifests.schema import Excluded, Manifest
from emofuse.store import FeatureStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """The result of `run_extraction`."""

    store: Path
    """The file that holds the features: the store, or of a shard its own; a dry run writes none."""
    outcomes: tuple[JobOutcome, ...]
    """One for each feature; empty after a dry run, or where the shard is empty."""
    excluded: tuple[Excluded, ...]
    """Utterances that could not be used, with reasons."""

    @property
    def exit_code(self) -> int:
        """What the command exits with: 0, or 1 if something was excluded."""
        return EXCLUDED if self.excluded else DONE


@overload
def extract(config: ExtractConfig, /, *, say: Say = say) -> FeatureStore: ...
@overload
def extract(*, say: Say = say, **options: Unpack[ExtractOptions]) -> FeatureStore: ...
def extract(config: ExtractConfig | None = None, /, *, say: Say = say, **options: Any) -> FeatureStore:
    """Run frozen encoders over a corpus, once; existing features are not encoded again.

    Args:
        config: All options in one record.
        say: Prints a line of the report; `lambda line: None` prints nothing.
        **options: Or the same options by name, as `ExtractConfig` documents them.

    Returns:
        The open store; close it, or use it in a `with` statement.

    Raises:
        UsageError: Wrong options; all of them are named. Or `dry_run`, which writes no store.
        DataError: A damaged store, or a full disk.

    Example:
        >>> from pathlib import Path
        >>> from emofuse.extract import extract
        >>> _ = Path("mine.csv").write_text("id,text,label\\na,how nice,hap\\nb,go away,ang\\n")
        >>> with extract(dataset="custom", manifest="mine.csv", encoders=["hashed"], store="mine.h5") as store:
        ...     store.feature("hashed").ids  # doctest: +ELLIPSIS
        hashed: 2 utterances encoded in ..., 2 in mine.h5
        ['a', 'b']
    """
    problems = Problems()
    config = config_of_call(ExtractConfig, config, options, problems)
    _check(config, say, problems)
    if config.dry_run:
        raise UsageError("a dry run writes no store to open: call run_extraction(config)")
    return FeatureStore(run_extraction(config, say).store)


def run_extraction(config: ExtractConfig, say: Say = say) -> Extraction:
    """Do what the command `extract` does; what is excluded is also listed on stderr.

    Args:
        config: The options.
        say: Prints a line of the report.

    Raises:
        UsageError: Wrong options, all of them named, before anything is read; or a corpus, encoder or store that does
            not fit them.
        DataError: A damaged store or damaged weights, or a full disk.
    """
    problems = Problems()
    _check(config_of_call(ExtractConfig, config, {}, problems), say, problems)
    backend = ExecutionBackend(config)
    manifest, root, device = _read_corpus(config, backend)
    transcripts = prepare_transcripts(
        config.store_path, config.transcribe, without_blank_texts(manifest), device, config.language, config.channel
    )
    if transcripts.source:
        manifest = without_blank_texts(manifest)
    require_modalities(config, manifest, recognised=transcripts.source is not None)
    with backend.ready():
        encoding_device = "cpu" if backend.uses_workers else device
        with stage("loading encoders"):
            jobs = build_jobs(config, manifest, root, device=encoding_device, recogniser=transcripts.source)
        for job in jobs:
            require_fitting_store(job)
        jobs, excluded = _scan(config, backend.on_workers_device(jobs), transcripts, say)
        if config.dry_run:
            for job in backend.with_budgets(jobs) if config.shard else jobs:
                say(planned_line(job))
            report_excluded(excluded)
            return Extraction(store=config.store_path, outcomes=(), excluded=tuple(excluded))
        jobs = backend.with_budgets(jobs)
        if not jobs:
            say(f"shard {config.shard} is empty")
        outcomes = backend.run(jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            say(outcome.line(job.store))
            excluded += [item for item in outcome.excluded if item not in excluded]
    transcripts.delete_side_file()
    report_excluded(excluded)
    if retained := _retained(config.store_path, jobs, excluded):
        say(f"{retained} of them are in {config.store_path} from an earlier run, and are unchanged")
    store = jobs[0].store if jobs else config.store_path
    return Extraction(store=store, outcomes=tuple(outcomes), excluded=tuple(excluded))


def _check(config: ExtractConfig, say: Say, problems: Problems) -> None:
    check_say(say, problems)
    config.check(problems)
    problems.raise_all()


def _read_corpus(config: ExtractConfig, backend: ExecutionBackend) -> tuple[Manifest, Path, str]:
    """The corpus, its folder, and this process's device; what is wrong with any of them is raised in one error."""
    problems = Problems()
    with problems.collecting(), stage(f"reading corpus {config.dataset}"):
        manifest, root = read_dataset(config.dataset, config.root, config.limit, config.reader_options)
    with problems.collecting():
        device = backend.local_device()
    problems.raise_all()
    return manifest, root, device


def _scan(
    config: ExtractConfig, jobs: Sequence[FeatureJob], transcripts: Transcripts, say: Say
) -> tuple[list[FeatureJob], list[Excluded]]:
    """The jobs with a scanned and transcribed manifest, and what cannot be used of the modalities that they read."""
    manifest, root = jobs[0].manifest, jobs[0].root
    encoded = {job.encoder.modality for job in jobs}
    scanned = encoded | ({"audio"} if transcripts.source else set())
    excluded = [item for item in manifest.excluded if item.modality in scanned]
    manifest, clips, unusable = scan_corpus(
        manifest, root, {*scanned}, config.quiet, config.channel, config.max_seconds
    )
    excluded += unusable
    if config.transcribe and not transcripts.recogniser:
        say(f"--transcribe {config.transcribe}: every utterance has a text of its own; nothing to recognise")
    manifest, without_words = _transcribe(config, manifest, root, transcripts, say)
    excluded += without_words if "text" in encoded else []
    scanned_jobs = (replace(job, manifest=manifest, clips=clips) for job in jobs)
    return [with_pretraining_overlap(job, config.weights) for job in scanned_jobs], excluded


def _transcribe(
    config: ExtractConfig, manifest: Manifest, root: Path, transcripts: Transcripts, say: Say
) -> tuple[Manifest, list[Excluded]]:
    """The manifest with recognised texts, and the utterances that have none."""
    manifest = transcripts.with_stored_texts(manifest)
    if transcripts.recogniser is None:
        return manifest, transcripts.withheld(manifest)
    count = len(transcripts.without_text(manifest))
    if config.dry_run:
        say(f"{plural(count, 'utterance')} would be transcribed by {transcripts.source}")
        return manifest, []
    manifest, wordless, recognised = transcripts.transcribe(manifest, root, config.quiet)
    say(
        f"{plural(recognised, 'utterance')} transcribed by {transcripts.source}"
        + (f", {count - recognised} already were" if recognised < count else "")
        + (f"; no words in {len(wordless)}" if wordless else "")
    )
    return manifest, wordless


def _retained(store: Path, jobs: Sequence[FeatureJob], items: Sequence[Excluded]) -> int:
    """How many excluded items still have values from an earlier run, in a feature of the excluded modality."""
    if not items or not store.exists():
        return 0
    with FeatureStore(store) as opened:
        valued = {
            (job.encoder.modality, id)
            for job in jobs
            if (feature := opened.features.get(job.feature))
            for id, mark in zip(feature.ids, feature.marks().tolist(), strict=True)
            if mark
        }
    return len({(item.modality, item.id) for item in items} & valued)
