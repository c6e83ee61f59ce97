"""`emofuse finetune`: fit an encoder's weights further, one checkpoint per fold."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.console import say, table
from emofuse.common.errors import UsageError, command
from emofuse.extract.commands.options import corpus_options, read, remembered, report, survey
from emofuse.extract.finetune.config import FinetuneSettings
from emofuse.extract.plan.device import device_of

if TYPE_CHECKING:
    from emofuse.extract.finetune.run import FinetunePlan
    from emofuse.manifests.protocol import Protocol
    from emofuse.manifests.schema import Excluded, Manifest, Utterance

_USUAL = FinetuneSettings()


def _choice(name: str, kind: Any, text: str) -> Callable[[Any], Any]:
    usual = getattr(_USUAL, name)
    shown = "" if usual is None else f"  [{usual}]"
    return click.option(f"--{name.replace('_', '-')}", type=kind, default=usual, help=text + shown)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dataset", required=True, help="iemocap, meld, savee, ravdess, emodb, goemotions, custom, synthetic.")
@click.option("--encoder", required=True, help="hubert, wav2vec2, vggish, yamnet, trill; bert, roberta, mpnet, t5, ...")
@click.option("--protocol", help="The task, or a TOML file of one's own.  [the usual one for the corpus]")
@corpus_options
@click.option("--weights", help="Where to begin: a folder, a file, or ORG/NAME[@revision] on the hub.  [its own]")
@click.option("--fitted-on", metavar="WHAT", help="What those were fitted on with labels before: none, CORPUS, ...")
@click.option("--folds", default="all", help="all, or numbers such as 1,3.  [all]")
@_choice("epochs", float, "Passes over the training side at most.")
@_choice("batch", int, "Utterances of an update.")
@_choice("accumulate", int, "Take each batch in so many parts, where memory is short.")
@_choice("lr", float, "The rate of the highest layer.")
@_choice("head_lr", float, "The rate of the classifier on top.")
@_choice("layer_decay", float, "The rate of each layer as a share of that of the layer above it.")
@_choice("weight_decay", float, "AdamW's.")
@_choice("warmup", float, "The share of updates in which rates rise.")
@_choice("unfreeze_every", int, "Set one more layer free after so many updates; 0: all at once.  [all free by 1/3]")
@_choice("looks", int, "Looks at validation per epoch.")
@_choice("patience", int, "End after so many looks without a better score.")
@_choice("dropout", float, "Before the classifier.")
@_choice("clip", float, "The largest norm of the gradients.")
@_choice("max_seconds", float, "Clips are cut to this while fitting.")
@click.option("--class-weights", type=click.Choice(["none", "balanced"]), default="none", help="In the loss.  [none]")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Same seed, same machine: same weights.  [0]")
@click.option("--allow-missing", type=click.IntRange(min=0), default=0, help="Go on if counts are off by at most this.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:0.")
@click.option("--out", type=click.Path(path_type=Path), help="The run folder.  [runs/finetune-PROTOCOL-ENCODER-DIGEST]")
@click.option("--quiet", is_flag=True, help="No progress.")
@command
def finetune(dataset: str, encoder: str, out: Path | None, **options: Any) -> None:
    """Fit an encoder's weights further on a corpus's labels, one checkpoint per fold of a protocol.

    Each fold's checkpoint sees its training side alone, and stops by its validation side. Layers are set free one
    after the other, from the last one down. `extract --weights OUT` then writes one feature per fold, and `fit` takes
    for each fold the one that has not seen its test side.

    Example: emofuse finetune --dataset iemocap --encoder roberta --protocol iemocap4
    """
    plan, left_out = _plan(dataset, encoder, **options)
    from emofuse.extract.finetune.run import finetune as run

    for line in _header(plan):
        say(line)
    finished = run(plan, out, say)
    metric = finished.metrics["selected_by"]
    rows = []
    for r in finished.metrics["folds"]:
        update, found = f"{r['update']} of {r['updates']}", f"{100 * r['validation'][metric]:.1f}"
        rows.append([r["fold"], r["name"], r["validated"], *r["utterances"].values(), update, found])
    header = ["fold", "tested", "validated", "train", "validation", "update", f"validation {metric}"]
    say(table(header, rows))
    say("chosen on validation; the test sides have not been touched")
    words = (
        "extract",
        "--dataset",
        dataset,
        *plan.corpus_options,
        "--encoder",
        encoder,
        "--weights",
        str(finished.out),
    )
    say(f"next: {shlex.join(words)}")
    click.get_current_context().exit(report(left_out, where="of the same kinds"))


def _plan(
    dataset: str,
    encoder: str,
    *,
    protocol: str | None,
    root: Path | None,
    limit: int | None,
    weights: str | None,
    fitted_on: str | None,
    folds: str,
    allow_missing: int,
    device: str,
    precision: str,
    quiet: bool,
    **options: Any,
) -> tuple[FinetunePlan, list[Excluded]]:
    """Everything checked before anything is fitted, and what of the task the encoder cannot read."""
    given = {f.name: options.pop(f.name) for f in fields(FinetuneSettings) if f.name in options}
    task = _protocol(dataset, protocol)
    from emofuse.extract.encoders.base import EncoderOptions
    from emofuse.extract.encoders.registry import ENCODERS
    from emofuse.extract.finetune.run import FinetunePlan
    from emofuse.manifests.folds import build, chosen, limited
    from emofuse.manifests.schema import Excluded
    from emofuse.store.core.fitted_on import parse_fitted_on

    spec = ENCODERS[encoder]
    if not spec.tunable:
        valid = ", ".join(e.name for e in ENCODERS if e.value.tunable)
        raise UsageError(f"encoder {encoder} has no weights that can be fitted further; valid: {valid}")
    device = device_of(device)
    if precision == "auto":
        precision = "bf16" if device.startswith("cuda") else "fp32"
    if precision == "fp16" and encoder == "t5":
        raise UsageError("encoder t5: T5 overflows in fp16; use --precision bf16, or fp32")
    settings = FinetuneSettings(**given, precision=precision)
    manifest, where = read(dataset, root, None, **options)
    if not manifest.has(spec.modality):
        hint = (
            "; texts that a recogniser wrote are in stores alone, and are not fitted on"
            if spec.modality == "text"
            else ""
        )
        raise UsageError(f"{dataset} has no {spec.modality} here, which {encoder} reads{hint}")
    labelled = {u.id for u in manifest.utterances if task.class_of(u) is not None}
    manifest, _, _ = survey(manifest, where, {spec.modality}, quiet)
    able = [u for u in manifest.utterances if u.id in labelled and getattr(u, spec.modality) is not None]
    told = {e.id: e for e in manifest.excluded if e.id in labelled and e.modality in (None, spec.modality)}
    silent = labelled - {u.id for u in able} - set(told)
    without = (Excluded(id=i, reason=f"{spec.modality}: none", modality=spec.modality) for i in sorted(silent))
    lost = [*told.values(), *without]
    _check_counts(task, manifest, able, allow_missing)
    parts = chosen(build(task, able, "validation"), folds)
    if limit:
        _, parts = limited(able, parts, task, limit)
    used = {u.id for f in parts for side in (f.train, f.validation) for u in side}
    return FinetunePlan(
        protocol=task,
        manifest=manifest,
        root=where,
        corpus_options=tuple(remembered(where, options)),
        encoder=encoder,
        options=EncoderOptions(corpus=dataset, weights=weights, device=device),
        fitted_on=tuple(parse_fitted_on(fitted_on)) if fitted_on else None,
        settings=settings,
        utterances=tuple(u for u in able if u.id in used),
        folds=tuple(parts),
        limit=limit,
        quiet=quiet,
    ), lost


def _protocol(dataset: str, name: str | None) -> Protocol:
    from emofuse.datasets.registry import CORPORA
    from emofuse.manifests import protocol as protocols

    CORPORA[dataset]
    found = protocols.default_for(dataset) if name is None else protocols.load(name)
    if found.joint:
        raise UsageError(f"protocol {found.name} joins several corpora; encoders are fitted on one, such as {dataset}")
    if found.corpus != dataset:
        valid = ", ".join(protocols.names(dataset)) or "none; write one (--protocol PATH.toml, docs/protocols.md)"
        raise UsageError(f"protocol {found.name} is for corpus {found.corpus}, not for {dataset}; valid: {valid}")
    return found


def _check_counts(task: Protocol, manifest: Manifest, able: list[Utterance], allowed: int) -> None:
    if task.expected is None:
        return
    labelled = [u for u in manifest.utterances if task.class_of(u) is not None]
    off = task.off(labelled, {u.id for u in able})
    if off > allowed:
        lines = "\n  - ".join(task.differences(labelled, {u.id for u in able}))
        raise UsageError(
            f"the counts of protocol {task.name} do not come out of this corpus (off by {off}, allowed {allowed}):"
            f"\n  - {lines}\nRepair the corpus, or go on with a reduced task: --allow-missing {off}"
        )


def _header(plan: FinetunePlan) -> list[str]:
    settings = plan.settings
    lines = [
        f"finetune {plan.encoder} on {plan.protocol.corpus}, protocol {plan.protocol.name}: {len(plan.folds)} folds by "
        f"{plan.protocol.grouping}, validated on {plan.protocol.validated_on}, chosen by {plan.protocol.metrics[0]}",
        f"{plan.options.device}, {settings.precision}, at most {settings.epochs:g} epochs of batches of "
        f"{settings.batch}, rate {settings.lr:g} falling by {settings.layer_decay:g} per layer, seed {settings.seed}",
    ]
    if plan.limit:
        lines.append(f"short run: {len(plan.utterances)} utterances (--limit {plan.limit})")
    return lines
