"""The command `emofuse models`: all architectures with their size and cost, or one with its settings and ablations."""

from __future__ import annotations

from dataclasses import replace

import click

from emofuse.common.console import HELP_OPTIONS, format_table, say
from emofuse.common.errors import command


@click.command(context_settings=HELP_OPTIONS)
@click.argument("name", required=False)
@click.option("--corpus", default="iemocap", show_default=True, help="The corpus whose preset is shown.")
@command
def models(name: str | None, corpus: str) -> None:
    """List all models, or show the settings and ablations of one.

    Example: emofuse models mmrbn
    """
    say(_model_list(corpus) if name is None else _model_details(name, corpus))


def _model_list(corpus: str) -> str:
    from emofuse.train.models.cost import SECONDS, WORDS, cost
    from emofuse.train.models.registry import MODELS

    rows = []
    for entry in MODELS:
        spec, model_cost = entry.value, cost(entry.value, entry.value.preset(corpus))
        features = {"all": " + ", "any": " and/or ", "one": " or "}[spec.needs].join(spec.features.values())
        parameters, megaflops = f"{model_cost.parameters:,}", f"{model_cost.flops / 1e6:,.1f}"
        ablations = str(len(spec.ablations) or "")
        rows.append([entry.name, features, parameters, megaflops, ablations, entry.description])
    return (
        format_table(["model", "features", "parameters", "MFLOP", "ablations", ""], rows)
        + "\n\nParameters: with four classes and the dimensions of the default features. MFLOP: matrix products,"
        f"\nattention and convolutions of one forward pass over {SECONDS} s of speech and {WORDS} word pieces"
        "\n(the means of IEMOCAP)."
        "\n`emofuse models NAME` lists settings and ablations."
    )


def _model_details(name: str, corpus: str) -> str:
    from emofuse.train.models.config import effective, is_optional
    from emofuse.train.models.cost import cost
    from emofuse.train.models.registry import MODELS, variant

    spec = MODELS[name]
    preset = spec.preset(corpus)
    description = next(e.description for e in MODELS if e.name == name)
    lines = [f"{name}: {description}"]
    known = effective(preset, spec.modalities)
    for title, optional in (
        ("settings (--set KEY=VALUE)", False),
        ("training, off by default (docs/how-to/fitting.md)", True),
    ):
        values = [
            [f"  {key}", str(getattr(preset, key)), " | ".join(f.metadata["choices"])]
            for key, f in known.items()
            if is_optional(f) == optional
        ]
        lines += ["", title, format_table(["", "", ""], values)]
    rows = []
    for ablation_name, ablation in spec.ablations.items():
        _, _, changed = variant(name, ablation_name)
        parameters = cost(changed, replace(changed.preset(corpus), **ablation.settings)).parameters
        settings = ", ".join(f"{k}={v}" for k, v in ablation.settings.items())
        sets = f"model {ablation.model}" if ablation.model else settings
        rows.append([f"  {ablation_name}", " + ".join(changed.modalities), f"{parameters:,}", sets])
    if rows:
        lines += ["", "ablations (--ablation NAME)", format_table(["", "modalities", "parameters", "sets"], rows)]
    if spec.optional:
        lines += ["", f"may be missing at inference (--score-without): {', '.join(spec.optional)}"]
    return "\n".join(lines)
