"""`extract`: run frozen encoders over a corpus, once, into a store."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.console import say, size
from emofuse.common.errors import command
from emofuse.extract.commands.options import corpus_options, read, remembered, report, survey

if TYPE_CHECKING:
    from emofuse.extract.asr.transcribe import Transcripts
    from emofuse.extract.plan.job import FeatureJob
    from emofuse.manifests.schema import Excluded, Manifest


def _finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no length of a batch: expected seconds of audio, or tokens")
    return value


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dataset", required=True, help="iemocap, meld, savee, ravdess, emodb, goemotions, custom, synthetic.")
@click.option("--encoder", "encoders", required=True, multiple=True, help="An encoder; give it again for more.")
@corpus_options
@click.option("--store", type=click.Path(path_type=Path), help="The file to write [cache/DATASET.h5].")
@click.option("--name", help="What the feature is called in the store [the encoder's name].")
@click.option(
    "--weights", help="A folder, a file, ORG/NAME[@revision] on the hub, or a run of `emofuse finetune` [its own]."
)
@click.option(
    "--fitted-on",
    metavar="WHAT",
    help="What the weights were fitted on with labels: none, CORPUS, or CORPUS:session=1,2 (speaker, split likewise).",
)
@click.option(
    "--layers", default="last", show_default=True, help="last, all, mean, numbers: 6,9,12, or the encoder's own words."
)
@click.option(
    "--views",
    default="frames",
    show_default=True,
    help="What to leave of one pass: frames, mean (over frames, in every layer), statistics; with commas between.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:0.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True)
@click.option(
    "--compile", is_flag=True, help="Compile a transformer's layers with torch: pays from some hours of audio."
)
@click.option(
    "--dtype", type=click.Choice(["fp16", "fp32", "bf16"]), default="fp16", show_default=True, help="On disk."
)
@click.option(
    "--transcribe",
    metavar="MODEL",
    help="Have the utterances without a text recognised by a folder or ORG/NAME, such as openai/whisper-small.",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=1),
    callback=_finite,
    help="Seconds of audio, or tokens, of a batch [what the feature was begun with, or what fits in memory].",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes on this machine, each with a GPU if there are any."
)
@click.option("--scheduler", metavar="ADDRESS", help="Have the workers of a Dask cluster encode: tcp://HOST:8786.")
@click.option("--shard", metavar="I/N", help="Encode part I of N into a store of its own, for `emofuse store merge`.")
@click.option("--no-text", is_flag=True, help="Leave the texts out of the store; a digest of each stays.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how large it would be; write nothing.")
@click.option("--quiet", is_flag=True, help="No progress.")
@command
def extract(dataset: str, encoders: tuple[str, ...], **options: Any) -> None:
    """Run frozen encoders over a corpus, once, into a store.

    Example: extract --dataset iemocap --encoder hubert --encoder bert

    Exit codes: 0 done; 1 done, some items excluded (listed); 2 wrong use; 3 damaged data or a full disk; 130
    interrupted.
    """
    sys.exit(_extract(dataset, encoders, **options))


def main() -> None:
    """Entry point of the script `extract`."""
    extract()


def _extract(
    dataset: str,
    encoders: tuple[str, ...],
    *,
    root: Path | None,
    limit: int | None,
    store: Path | None,
    device: str,
    dry_run: bool,
    quiet: bool,
    transcribe: str | None,
    budget: float | None,
    shard: str | None,
    workers: int | None,
    scheduler: str | None,
    name: str | None,
    weights: str | None,
    layers: str,
    views: str,
    precision: str,
    compile: bool,
    dtype: str,
    fitted_on: str | None,
    no_text: bool,
    **reader: Any,
) -> int:
    from emofuse.common.system.allocator import use_large_pages

    use_large_pages()
    from emofuse.common.problems import Problems
    from emofuse.extract.parallel.backend import ExecutionBackend
    from emofuse.extract.plan.request import ExtractRequest

    request = ExtractRequest(
        dataset=dataset,
        encoders=encoders,
        name=name,
        weights=weights,
        layers=layers,
        views=views,
        precision=precision,
        compile=compile,
        dtype=dtype,
        fitted_on=fitted_on,
        no_text=no_text,
    )
    many = ExecutionBackend(device=device, shard=shard, workers=workers, scheduler=scheduler)
    problems = Problems()
    request.check(problems)
    many.check(transcribe, problems)
    problems.stop()
    from emofuse.extract.asr.transcribe import transcripts, without_blanks
    from emofuse.extract.plan.job import check, speed_line

    with problems.noting():
        manifest, where = read(dataset, root, limit, **reader)
    with problems.noting():
        device = many.device_here(transcribe)
    problems.stop()
    store = store or Path("cache") / f"{dataset}.h5"
    heard = transcripts(store, transcribe, without_blanks(manifest), device)
    manifest = without_blanks(manifest) if heard.source else manifest
    request.need_modalities(manifest, recognised=heard.source is not None)
    asked_for = remembered(where, {**reader, "transcribe": transcribe})
    with many.ready(dry_run):
        jobs = request.jobs(manifest, where, store, "cpu" if many.elsewhere else device, asked_for, heard.source)
        for job in jobs:
            check(job)
        jobs = many.inspected(jobs)
        modalities = {job.encoder.modality for job in jobs}
        used: set[str] = {*modalities, *(["audio"] if heard.source else [])}
        unusable = [item for item in manifest.excluded if item.modality in used]
        manifest, clips, left_out = survey(manifest, where, used, quiet)
        unusable += left_out
        if transcribe and not heard.recogniser:
            say(f"--transcribe {transcribe}: every utterance has a text of its own; nothing to recognise")
        manifest, silent = _transcribed(heard, manifest, where, dry_run=dry_run, quiet=quiet)
        unusable += silent if "text" in modalities else []
        jobs = [request.knowing(replace(job, manifest=manifest, clips=clips)) for job in jobs]
        if dry_run:
            for job in many.settle(jobs, budget) if many.shard else jobs:
                _describe(job)
            return report(unusable)
        jobs = many.settle(jobs, budget)
        if not jobs:
            say(f"nothing falls to shard {shard}")
        for job, outcome in zip(jobs, many.run(jobs, quiet), strict=True):
            say(speed_line(job, outcome))
            unusable += [item for item in outcome.failed if item not in unusable]
    heard.finish()
    code = report(unusable)
    if kept := _held(store, jobs, unusable):
        say(f"{kept} of them are in {store} from an earlier run, and stay as they were")
    return code


def _held(store: Path, jobs: Sequence[FeatureJob], items: Sequence[Excluded]) -> int:
    """How many items have values all the same, in a feature of the modality that could not be used now."""
    from emofuse.store import FeatureStore

    if not items or not store.exists():
        return 0
    with FeatureStore(store) as opened:
        held = {
            (job.encoder.modality, id)
            for job in jobs
            if (feature := opened.features.get(job.feature))
            for id, mark in zip(feature.ids, feature.marks().tolist(), strict=True)
            if mark
        }
    return len({(item.modality, item.id) for item in items} & held)


def _transcribed(
    heard: Transcripts, manifest: Manifest, root: Path, *, dry_run: bool, quiet: bool
) -> tuple[Manifest, list[Excluded]]:
    """The manifest with recognised texts, and what was silent."""
    manifest = heard.known(manifest)
    if heard.recogniser is None:
        return manifest, heard.left_out(manifest)
    if dry_run:
        say(f"{len(heard.lacking(manifest))} utterances would be transcribed by {heard.source}")
        return manifest, []
    before = len(heard.lacking(manifest))
    manifest, silent, written = heard.fill(manifest, root, quiet)
    say(
        f"{written} utterances transcribed by {heard.source}"
        + (f", {before - written} already were" if written < before else "")
        + (f"; no words in {len(silent)}" if silent else "")
    )
    return manifest, silent


def _describe(job: FeatureJob) -> None:
    from emofuse.extract.plan.job import feature_spec, frame_counts, is_done, stored_lengths

    spec, lengths = feature_spec(job), stored_lengths(job, frame_counts(job))
    state = "is there already" if is_done(job) else "would be written"
    say(
        f"{job.feature}: {len(lengths)} utterances, {job.manifest.hours:.2f} h, {sum(lengths.values())} frames of "
        f"{'x'.join(map(str, spec.frame_shape))} {spec.dtype}, {size(sum(lengths.values()) * spec.frame_bytes)} "
        f"{state} in {job.store}"
    )
