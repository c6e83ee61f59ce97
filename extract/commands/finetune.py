"""`emofuse finetune`: fine-tune an encoder, one checkpoint per fold."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import UsageError, command, raise_problems
from emofuse.common.output.console import HELP_OPTIONS, format_table, plural, say
from emofuse.extract.audio.exclusions import report_excluded
from emofuse.extract.commands.options import DATASETS, complete_datasets, corpus_options
from emofuse.extract.finetune.config import FinetuneSettings
from emofuse.extract.plan.device import device_of

if TYPE_CHECKING:
    from emofuse.extract.encoder_training.run import TrainingRun
    from emofuse.extract.encoders.base import EncoderSpec
    from emofuse.extract.finetune.plan import FinetunePlan
    from emofuse.manifests.protocol import Protocol
    from emofuse.manifests.schema import Excluded, Manifest, Modality, Utterance

_DEFAULTS = FinetuneSettings()


def _setting(name: str, kind: Any, text: str) -> Callable[[Any], Any]:
    """An option for a field of `FinetuneSettings`."""
    return click.option(f"--{name.replace('_', '-')}", type=kind, default=getattr(_DEFAULTS, name), help=text)


@click.command(context_settings={**HELP_OPTIONS, "show_default": True})
@click.option("--dataset", required=True, shell_complete=complete_datasets, help=DATASETS)
@click.option("--encoder", required=True, help="hubert, wav2vec2, vggish, yamnet, trill; bert, roberta, mpnet, t5, ...")
@click.option("--protocol", help="A built-in protocol or a TOML file.  [default: the corpus's default protocol]")
@corpus_options
@click.option(
    "--weights", help="Initial weights: a folder, a file, or ORG/NAME[@revision] on the hub.  [default: the encoder's]"
)
@click.option("--fitted-on", metavar="WHAT", help="Labels that the initial weights were fitted on: none, CORPUS, ...")
@click.option("--folds", default="all", help="all, or numbers such as 1,3.")
@_setting("epochs", float, "Maximum number of passes over the training side.")
@_setting("batch", int, "Utterances per update.")
@_setting("accumulate", int, "Micro-batches per update, to save memory.")
@_setting("lr", float, "Peak learning rate of the highest layer.")
@_setting("head_lr", float, "Peak learning rate of the classifier.")
@_setting("layer_decay", float, "Ratio of a layer's learning rate to that of the layer above it.")
@_setting("weight_decay", float, "Weight decay of AdamW.")
@_setting("warmup", float, "Fraction of the updates in which learning rates rise.")
@_setting(
    "unfreeze_every",
    int,
    "Updates between unfreezing layers; 0: all at once.  [default: all layers unfrozen after a third of the updates]",
)
@_setting("looks", int, "Evaluations on the validation side per epoch.")
@_setting("patience", int, "Evaluations without a better score after which a fold ends.")
@_setting("dropout", float, "Dropout before the classifier.")
@_setting("clip", float, "Maximum norm of the gradients.")
@_setting("max_seconds", float, "Length in seconds to which clips are cut during training.")
@click.option(
    "--class-weights",
    type=click.Choice(["none", "balanced"]),
    default="none",
    help="Weights of the classes in the loss.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    help="Precision of the computation, with float32 weights; auto is bf16 on a GPU, else fp32.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Same seed, same machine: same weights.")
@click.option(
    "--allow-missing",
    type=click.IntRange(min=0),
    default=0,
    help="Continue where counts differ from the protocol's by at most this.",
)
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:0.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run folder.  [default: runs/finetune-PROTOCOL-ENCODER-DIGEST]"
)
@verbosity_options
@command
def finetune(out: Path | None, **options: Any) -> None:
    """Fine-tune an encoder on a corpus's labels, one checkpoint per fold of a protocol.

    Each fold is trained on its training side only; early stopping uses its validation side. Layers are unfrozen one
    after the other, from the last one down. `extract --weights OUT` then writes one feature per fold, and `fit` uses
    for each fold the feature whose encoder has not seen its test side.

    Example: emofuse finetune --dataset iemocap --encoder roberta --protocol iemocap4
    """
    call = _Call.of(options)
    plan, excluded = call.plan()
    from emofuse.extract.finetune.run import finetune as run

    for line in _header(plan):
        say(line)
    finished = run(plan, out, say)
    _print_result(call, plan, finished)
    click.get_current_context().exit(report_excluded(excluded, where="of the same kinds"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """The options of one call."""

    dataset: str
    encoder: str
    protocol: str | None
    root: Path | None
    limit: int | None
    reader: dict[str, Any]
    """Further options that say how the corpus is read."""
    weights: str | None
    fitted_on: str | None
    folds: str
    allow_missing: int
    device: str
    precision: str
    settings: dict[str, Any]
    """Fields of `FinetuneSettings`, without the precision."""

    @classmethod
    def of(cls, options: dict[str, Any]) -> _Call:
        own = {f.name for f in fields(cls)} - {"reader", "settings"}
        settings = {f.name for f in fields(FinetuneSettings)} - own
        return cls(
            **{name: value for name, value in options.items() if name in own},
            settings={name: value for name, value in options.items() if name in settings},
            reader={name: value for name, value in options.items() if name not in own | settings},
        )

    def plan(self) -> tuple[FinetunePlan, list[Excluded]]:
        """Check everything before anything is fine-tuned; also returns the utterances that the encoder cannot read.

        Raises:
            UsageError: An option that cannot work, or a corpus that does not fit the protocol.
        """
        from emofuse.datasets.base import ReaderOptions
        from emofuse.datasets.registry import corpus_name

        reader = ReaderOptions(**self.reader)
        protocol = _protocol(corpus_name(self.dataset, self.root, reader), self.protocol)
        from emofuse.extract.audio.scan import corpus_arguments, read_dataset, scan_corpus
        from emofuse.extract.encoders.base import EncoderOptions
        from emofuse.extract.finetune.plan import FinetunePlan
        from emofuse.manifests.folds.cross_validation import build_folds, limit_folds, select_folds
        from emofuse.manifests.folds.sides_from_file import fold_file_problems
        from emofuse.manifests.row_filter import where_problems
        from emofuse.store.core.fitted_on import parse_fitted_on

        spec = _tunable_spec(self.encoder)
        device = device_of(self.device)
        settings = self._settings(device)
        manifest, root = read_dataset(self.dataset, self.root, options=reader)
        self._check_modality(manifest, spec.modality)
        problems = where_problems(protocol.where, manifest.utterances, protocol.names)
        problems += fold_file_problems(protocol, manifest, self.allow_missing)
        raise_problems(problems, f"{self.dataset} does not match protocol {protocol.name}")
        labelled = {u.id for u in manifest.utterances if protocol.has(u)}
        manifest, _, _ = scan_corpus(manifest, root, {spec.modality})
        manifest = replace(manifest, utterances=protocol.with_one_spelling(manifest.utterances))
        readable, excluded = _readable(manifest, labelled, spec.modality)
        _check_counts(protocol, manifest, readable, self.allow_missing)
        folds = select_folds(build_folds(protocol, readable, "validation"), self.folds)
        if self.limit:
            _, folds = limit_folds(readable, folds, protocol, self.limit)
        used = {u.id for fold in folds for side in (fold.train, fold.validation) for u in side}
        plan = FinetunePlan(
            protocol=protocol,
            manifest=manifest,
            root=root,
            corpus_options=tuple(corpus_arguments(root, reader)),
            encoder=self.encoder,
            options=EncoderOptions(corpus=self.dataset, weights=self.weights, device=device),
            fitted_on=tuple(parse_fitted_on(self.fitted_on)) if self.fitted_on else None,
            settings=settings,
            utterances=tuple(u for u in readable if u.id in used),
            folds=tuple(folds),
            limit=self.limit,
        )
        return plan, excluded

    def _settings(self, device: str) -> FinetuneSettings:
        precision = self.precision
        if precision == "auto":
            precision = "bf16" if device.startswith("cuda") else "fp32"
        if precision == "fp16" and self.encoder == "t5":
            raise UsageError("encoder t5: T5 overflows in fp16; use --precision bf16 or fp32")
        return FinetuneSettings(**self.settings, precision=precision)

    def _check_modality(self, manifest: Manifest, modality: Modality) -> None:
        if not manifest.has(modality):
            hint = "; recognised texts are in stores only and cannot be fitted on" if modality == "text" else ""
            raise UsageError(f"{self.dataset} has no {modality} here, which {self.encoder} reads{hint}")


def _tunable_spec(encoder: str) -> EncoderSpec:
    from emofuse.extract.encoders.registry import ENCODERS

    spec = ENCODERS[encoder]
    if not spec.tunable:
        valid = ", ".join(e.name for e in ENCODERS if e.value.tunable)
        raise UsageError(f"encoder {encoder} has no weights that can be fitted further; valid: {valid}")
    return spec


def _protocol(corpus: str, name: str | None) -> Protocol:
    from emofuse.manifests import protocol_files as protocols

    protocol = protocols.default_for(corpus) if name is None else protocols.load(name)
    if protocol.joint:
        raise UsageError(
            f"protocol {protocol.name} joins several corpora; encoders are fine-tuned on one, such as {corpus}"
        )
    if protocol.corpus != corpus:
        valid = ", ".join(protocols.names(corpus)) or "none; write one (--protocol PATH.toml; `emofuse help protocols`)"
        raise UsageError(f"protocol {protocol.name} is for corpus {protocol.corpus}, not for {corpus}; valid: {valid}")
    return protocol


def _readable(manifest: Manifest, labelled: set[str], modality: Modality) -> tuple[list[Utterance], list[Excluded]]:
    """The labelled utterances that have the modality, and the other labelled ones with reasons."""
    from emofuse.manifests.schema import Excluded

    readable = [u for u in manifest.utterances if u.id in labelled and getattr(u, modality) is not None]
    listed = {e.id: e for e in manifest.excluded if e.id in labelled and e.modality in (None, modality)}
    missing = sorted(labelled - {u.id for u in readable} - set(listed))
    without = (Excluded(id=id, reason=f"{modality}: none", modality=modality) for id in missing)
    return readable, [*listed.values(), *without]


def _check_counts(protocol: Protocol, manifest: Manifest, readable: list[Utterance], allowed: int) -> None:
    if protocol.expected is None:
        return
    labelled = [u for u in manifest.utterances if protocol.has(u)]
    off = protocol.largest_difference(labelled, {u.id for u in readable})
    if off > allowed:
        lines = "\n  - ".join(protocol.differences(labelled, {u.id for u in readable}))
        raise UsageError(
            f"the counts of protocol {protocol.name} do not match this corpus (off by {off}, allowed {allowed}):"
            f"\n  - {lines}\nRepair the corpus, or continue with a reduced task: --allow-missing {off}"
        )


def _header(plan: FinetunePlan) -> list[str]:
    settings = plan.settings
    lines = [
        f"finetune {plan.encoder} on {plan.protocol.corpus}, protocol {plan.protocol.name}: "
        f"{plural(len(plan.folds), 'fold')} by {plan.protocol.grouping}, validated on "
        f"{plan.protocol.validated_on}, selected by {plan.protocol.metrics[0]}",
        f"{plan.options.device}, {settings.precision}, at most {settings.epochs:g} epochs of batches of "
        f"{settings.batch}, learning rate {settings.lr:g} falling by {settings.layer_decay:g} per layer, seed "
        f"{settings.seed}",
    ]
    if plan.limit:
        lines.append(f"short run: {plural(len(plan.utterances), 'utterance')} (--limit {plan.limit})")
    return lines


def _print_result(call: _Call, plan: FinetunePlan, finished: TrainingRun) -> None:
    metric = finished.metrics["selected_by"]
    rows = []
    for fold in finished.metrics["folds"]:
        update, score = f"{fold['update']} of {fold['updates']}", f"{100 * fold['validation'][metric]:.1f}"
        rows.append([fold["fold"], fold["name"], fold["validated"], *fold["utterances"].values(), update, score])
    header = ["fold", "tested", "validated", "train", "validation", "update", f"validation {metric}"]
    say(format_table(header, rows))
    say("selected on validation; the test sides have not been used")
    corpus = ("--dataset", call.dataset, *plan.corpus_options)
    say(f"next: {shlex.join(('extract', *corpus, '--encoder', call.encoder, '--weights', str(finished.out)))}")
