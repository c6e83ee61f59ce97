"""The command `emofuse models`: every architecture with its size and cost, or one with its settings and ablations."""

from __future__ import annotations

from dataclasses import replace

import click

from emofuse.common.console import say, table
from emofuse.common.errors import command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False)
@click.option("--corpus", default="iemocap", show_default=True, help="Whose preset; presets may differ by corpus.")
@command
def models(name: str | None, corpus: str) -> None:
    """List the models that fit knows, or tell all about one.

    Example: emofuse models mmrbn
    """
    say(_every(corpus) if name is None else _one(name, corpus))


def _every(corpus: str) -> str:
    from emofuse.train.models.cost import SECONDS, WORDS, cost
    from emofuse.train.models.registry import MODELS

    rows = []
    for entry in MODELS:
        spec, found = entry.value, cost(entry.value, entry.value.preset(corpus))
        reads = {"all": " + ", "any": " and/or ", "one": " or "}[spec.needs].join(spec.features.values())
        size = f"{found.parameters:,}", f"{found.flops / 1e6:,.1f}"
        rows.append([entry.name, reads, *size, str(len(spec.ablations) or ""), entry.description])
    return (
        table(["model", "features", "parameters", "MFLOP", "ablations", ""], rows)
        + f"\n\nParameters at four classes and the usual features' widths. MFLOP: matrix products, attention and"
        f"\nconvolutions of one utterance, forward, at {SECONDS} s and {WORDS} word pieces (the mean of IEMOCAP).\n"
        "`emofuse models NAME` lists settings and ablations."
    )


def _one(name: str, corpus: str) -> str:
    from emofuse.train.models.config import settings_of
    from emofuse.train.models.cost import cost
    from emofuse.train.models.registry import MODELS, variant

    spec = MODELS[name]
    preset = spec.preset(corpus)
    described = next(e.description for e in MODELS if e.name == name)
    lines = [f"{name}: {described}", "", "settings (--set KEY=VALUE)"]
    lines.append(table(["", ""], [[f"  {k}", str(v)] for k, v in settings_of(preset, spec.modalities).items()]))
    rows = []
    for printed, ablation in spec.ablations.items():
        _, _, changed = variant(name, printed)
        base = changed.preset(corpus)
        found = cost(changed, replace(base, **ablation.settings))
        sets = ", ".join(f"{k}={v}" for k, v in ablation.settings.items())
        told = f"model {ablation.model}" if ablation.model else sets
        rows.append([f"  {printed}", " + ".join(changed.modalities), f"{found.parameters:,}", told])
    if rows:
        lines += ["", "ablations (--ablation NAME)", table(["", "reads", "parameters", "sets"], rows)]
    if spec.optional:
        lines += ["", f"may lack at inference (--score-without): {', '.join(spec.optional)}"]
    return "\n".join(lines)
