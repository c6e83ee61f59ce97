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
from emofuse.common.errors import DONE, EXCLUDED, UsageError, command, complain

if TYPE_CHECKING:
    from emofuse.extract.encoders.base import EncoderOptions, EncoderSpec
    from emofuse.extract.runner import Job
    from emofuse.manifests.schema import Excluded, Manifest


def corpus_options(function: Any) -> Any:
    """The options that say which corpus is read, and how; shared by `extract` and `emofuse manifest`."""
    for option in (
        click.option(
            "--transcripts", type=click.Path(path_type=Path), help="CSV with columns id,text (SAVEE has none)."
        ),
        click.option("--meld-clips", type=click.Choice(["plain", "recut"]), help="Which test clips of MELD [plain]."),
        click.option(
            "--manifest", "manifest_file", type=click.Path(path_type=Path), help="Your CSV or JSONL (custom)."
        ),
        click.option("--limit", type=click.IntRange(min=1), help="At most this many utterances, spread evenly."),
        click.option(
            "--root", type=click.Path(path_type=Path), help="The corpus folder [$EMOFUSE_CORPORA/NAME or corpora/NAME]."
        ),
    ):
        function = option(function)
    return function


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
    **reader: Any,
) -> int:
    _check_names(dataset, encoders, name, weights)
    from emofuse.extract import runner
    from emofuse.extract.encoders.base import EncoderOptions
    from emofuse.extract.encoders.registry import ENCODERS
    from emofuse.extract.finetuned import checkpoints
    from emofuse.store.fitted import parse_fitted_on
    from emofuse.store.spec import DTYPES

    specs = {encoder: ENCODERS[encoder] for encoder in encoders}
    manifest, where = read(dataset, root, limit, **reader)
    _need_modalities(dataset, manifest, specs)
    device = device_of(device)
    plain = EncoderOptions(corpus=dataset, device=device)
    chosen = replace(plain, weights=weights, layers=layers, precision="fp32" if precision == "auto" else precision)
    # Among several encoders, layers and precision concern those that have weights; alone, the others refuse them.
    some_pretrained = any(spec.pretrained for spec in specs.values())
    said = {"fitted_on": parse_fitted_on(fitted_on)} if fitted_on else {}

    def job(encoder: str, options: EncoderOptions, feature: str) -> runner.Job:
        concerned = options is not plain
        return runner.Job(
            store=store or Path("cache") / f"{dataset}.h5",
            manifest=manifest,
            root=where,
            clips={},
            encoder=specs[encoder].build(options),
            encoder_name=encoder,
            feature=feature,
            dtype=DTYPES[dtype],
            device=device,
            no_text=no_text,
            provenance={
                "corpus_options": _corpus_options(where, reader),
                "encoder_options": _encoder_options(weights, layers) if concerned else [],
                **(said if concerned else {}),
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
    used: set[str] = {spec.modality for spec in specs.values()}
    unusable = [item for item in manifest.excluded if item.modality in used]
    manifest, clips, left_out = survey(manifest, where, used, quiet)
    unusable += left_out
    for make in jobs:
        surveyed = replace(make(), manifest=manifest, clips=clips)
        if dry_run:
            _describe(surveyed)
            continue
        outcome = runner.run(surveyed, quiet)
        say(runner.speed_line(surveyed, outcome))
        unusable += outcome.failed
        manifest = manifest.excluding(outcome.failed)
    return _report(unusable)


def _itself(job: Job) -> Job:
    return job


def read(dataset: str, root: Path | None, limit: int | None, **reader: Any) -> tuple[Manifest, Path]:
    """Read a corpus with the options of `corpus_options`."""
    from emofuse.datasets.base import ReaderOptions
    from emofuse.datasets.registry import read_corpus

    options = ReaderOptions(
        transcripts=reader["transcripts"], meld_clips=reader["meld_clips"], manifest=reader["manifest_file"]
    )
    manifest, where = read_corpus(dataset, root, options)
    return (manifest.sample(limit) if limit else manifest), where


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


def _need_modalities(dataset: str, manifest: Manifest, specs: dict[str, EncoderSpec]) -> None:
    from emofuse.datasets.registry import CORPORA

    for encoder, spec in specs.items():
        if not manifest.has(spec.modality):
            hint = ""
            if spec.modality == "text" and "transcripts" in CORPORA[dataset].options:
                hint = "; the release has no transcripts: pass --transcripts CSV (columns id,text)"
            raise UsageError(f"{dataset} has no {spec.modality} here, which {encoder} needs{hint}")


def device_of(asked: str) -> str:
    """The device that `auto`, `cpu`, `cuda` or `cuda:0` names here.

    Raises:
        UsageError: There is no such device.
    """
    import torch

    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise UsageError(f"no device {asked!r}; valid: auto, cpu, cuda, cuda:0") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"no device {asked!r}: {torch.cuda.device_count()} CUDA devices are visible to this torch")
    return str(device)


def survey(
    manifest: Manifest, root: Path, modalities: set[str], quiet: bool
) -> tuple[Manifest, dict[str, Any], tuple[Excluded, ...]]:
    """What a look at a corpus finds: the manifest with lengths and digests, its clips, and what cannot be used.

    Raises:
        UsageError: No clip can be used.
    """
    from emofuse.extract.survey import survey_audio, survey_text

    manifest, unusable = survey_text(manifest)
    if "audio" not in modalities:
        return manifest, {}, unusable
    survey = survey_audio(manifest, root, quiet)
    if not survey.clips:
        raise UsageError(f"no clip under {root} can be used; {survey.unusable[0].id}: {survey.unusable[0].reason}")
    return survey.manifest, survey.clips, (*unusable, *survey.unusable)


def _corpus_options(root: Path, reader: dict[str, Any]) -> list[str]:
    """How the corpus was read, as options: recorded, so that `fit` can say which command adds a feature."""
    flags = {"transcripts": "--transcripts", "meld_clips": "--meld-clips", "manifest_file": "--manifest"}
    given = [(flag, str(reader[key])) for key, flag in flags.items() if reader[key] is not None]
    return ["--root", str(root), *(word for pair in given for word in pair)]


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


def _report(unusable: list[Excluded]) -> int:
    if not unusable:
        return DONE
    print(f"{len(unusable)} items excluded:", file=sys.stderr)
    for item in unusable[:50]:
        print(f"  {item.id}: {item.reason}", file=sys.stderr)
    if len(unusable) > 50:
        print(f"  ... and {len(unusable) - 50} more; `emofuse store info` lists them", file=sys.stderr)
    return EXCLUDED
