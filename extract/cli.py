"""`extract`: run frozen encoders over a corpus, once, into a store."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.console import say, size
from emofuse.common.errors import UsageError, command, complain
from emofuse.extract.options import corpus_options, device_of, read, remembered, report, survey

if TYPE_CHECKING:
    from emofuse.extract.encoders.base import EncoderOptions, EncoderSpec
    from emofuse.extract.runner import Job
    from emofuse.extract.transcribe import Transcripts
    from emofuse.manifests.schema import Excluded, Manifest


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
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:0.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True)
@click.option(
    "--dtype", type=click.Choice(["fp16", "fp32", "bf16"]), default="fp16", show_default=True, help="On disk."
)
@click.option(
    "--transcribe",
    metavar="MODEL",
    help="Have the utterances without a text recognised by a folder or ORG/NAME, such as openai/whisper-small.",
)
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
    name: str | None,
    weights: str | None,
    layers: str,
    device: str,
    precision: str,
    dtype: str,
    dry_run: bool,
    quiet: bool,
    fitted_on: str | None,
    no_text: bool,
    transcribe: str | None,
    **reader: Any,
) -> int:
    _check_names(dataset, encoders, name, weights)
    from emofuse.extract import runner
    from emofuse.extract.encoders.base import EncoderOptions
    from emofuse.extract.encoders.registry import ENCODERS
    from emofuse.extract.finetuned import checkpoints
    from emofuse.extract.transcribe import transcripts, without_blanks
    from emofuse.store.fitted import declared, parse_fitted_on
    from emofuse.store.spec import DTYPES

    specs = {encoder: ENCODERS[encoder] for encoder in encoders}
    manifest, where = read(dataset, root, limit, **reader)
    store = store or Path("cache") / f"{dataset}.h5"
    device = device_of(device)
    heard = transcripts(store, transcribe, without_blanks(manifest), device)
    manifest = without_blanks(manifest) if heard.source else manifest
    _need_modalities(dataset, manifest, specs, recognised=heard.source is not None)
    plain = EncoderOptions(corpus=dataset, device=device)
    chosen = replace(plain, weights=weights, layers=layers, precision="fp32" if precision == "auto" else precision)
    # Among several encoders, layers and precision concern those that have weights; alone, the others refuse them.
    some_pretrained = any(spec.pretrained for spec in specs.values())
    said = parse_fitted_on(fitted_on) if fitted_on else None

    def job(encoder: str, options: EncoderOptions, feature: str) -> runner.Job:
        concerned = options is not plain
        built = specs[encoder].build(options)
        stated = {}
        if concerned and said is not None:
            stated = {"fitted_on": declared(built.provenance()["fitted_on"], said)}
        return runner.Job(
            store=store,
            manifest=manifest,
            root=where,
            clips={},
            encoder=built,
            encoder_name=encoder,
            feature=feature,
            dtype=DTYPES[dtype],
            device=device,
            no_text=no_text,
            recogniser=heard.source,
            provenance={
                "corpus_options": remembered(where, {**reader, "transcribe": transcribe}),
                "encoder_options": _encoder_options(weights, layers) if concerned else [],
                **stated,
            },
        )

    jobs: list[Callable[[], runner.Job]] = []
    for encoder, spec in specs.items():
        options = chosen if spec.pretrained or not some_pretrained else plain
        tuned = checkpoints(options.weights, encoder, dataset)
        wanted = [(replace(options, weights=str(t.folder)), t.feature(spec.feature, name)) for t in tuned] or [
            (options, name or spec.feature)
        ]
        for each, feature in wanted:
            made = job(encoder, each, feature)
            runner.check(made)
            # Of several checkpoints one alone lies in memory at a time.
            jobs.append(partial(job, encoder, each, feature) if len(wanted) > 1 else partial(_itself, made))
    used: set[str] = {*(spec.modality for spec in specs.values()), *(["audio"] if heard.source else [])}
    unusable = [item for item in manifest.excluded if item.modality in used]
    manifest, clips, left_out = survey(manifest, where, used, quiet)
    unusable += left_out
    if transcribe and not heard.recogniser:
        say(f"--transcribe {transcribe}: every utterance has a text of its own; nothing to recognise")
    manifest, silent = _transcribed(heard, manifest, where, dry_run=dry_run, quiet=quiet)
    if "text" in {spec.modality for spec in specs.values()}:
        unusable += silent
    for make in jobs:
        surveyed = _knowing(replace(make(), manifest=manifest, clips=clips), weights)
        if dry_run:
            _describe(surveyed)
            continue
        outcome = runner.run(surveyed, quiet)
        say(runner.speed_line(surveyed, outcome))
        unusable += outcome.failed
        manifest = manifest.excluding(outcome.failed)
    if not dry_run:
        heard.finish()
    return report(unusable)


def _itself(job: Job) -> Job:
    return job


def _knowing(job: Job, weights: str | None) -> Job:
    """The job, which knows what of its corpus the encoder's weights have heard without labels."""
    from emofuse.extract.heard import heard

    if "--weights" not in job.provenance["encoder_options"]:
        return job
    stated = {**job.encoder.provenance(), **job.provenance}["fitted_on"]
    also = [entry for entry in heard(weights, job.manifest) if entry not in stated]
    if not also:
        return job
    return replace(job, provenance={**job.provenance, "fitted_on": [*stated, *also]})


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


def _check_names(dataset: str, encoders: tuple[str, ...], name: str | None, weights: str | None) -> None:
    """Every wrong word of the command line, at once and before anything heavy is imported."""
    from emofuse.datasets.registry import CORPORA
    from emofuse.extract.encoders.registry import ENCODERS

    problems = []
    for registry, words in ((CORPORA, (dataset,)), (ENCODERS, encoders)):
        for word in words:
            try:
                registry[word]
            except UsageError as error:
                problems.append(str(error))
    if len(set(encoders)) < len(encoders):
        problems.append(f"an encoder is named twice: {', '.join(encoders)}")
    pretrained = [e for e in encoders if e in ENCODERS and ENCODERS[e].pretrained]
    for option, value, concerned in (("--name", name, encoders), ("--weights", weights, pretrained)):
        if value and len(concerned) > 1:
            problems.append(
                f"{option} belongs to one encoder, not to {', '.join(concerned)}: run `extract` once for each"
            )
    complain(problems, "cannot extract")


def _need_modalities(dataset: str, manifest: Manifest, specs: dict[str, EncoderSpec], *, recognised: bool) -> None:
    from emofuse.datasets.registry import CORPORA

    for encoder, spec in specs.items():
        if not manifest.has(spec.modality) and not (spec.modality == "text" and recognised):
            hint = ""
            if spec.modality == "text" and "transcripts" in CORPORA[dataset].options:
                hint = "; the release has no transcripts: pass --transcripts CSV (columns id,text)"
            if spec.modality == "text" and manifest.has("audio"):
                hint += f"{' or' if hint else ';'} have them recognised: --transcribe openai/whisper-small"
            raise UsageError(f"{dataset} has no {spec.modality} here, which {encoder} needs{hint}")


def _encoder_options(weights: str | None, layers: str) -> list[str]:
    return [*(["--weights", weights] if weights else []), *(["--layers", layers] if layers != "last" else [])]


def _describe(job: Job) -> None:
    from emofuse.extract import runner

    spec, lengths = runner.feature_spec(job), runner.frame_counts(job)
    state = "is there already" if runner.is_done(job, spec) else "would be written"
    say(
        f"{job.feature}: {len(lengths)} utterances, {job.manifest.hours:.2f} h, {sum(lengths.values())} frames of "
        f"{'x'.join(map(str, spec.frame_shape))} {spec.dtype}, {size(sum(lengths.values()) * spec.frame_bytes)} "
        f"{state} in {job.store}"
    )
