"""The command `emofuse models`: all architectures with their size and cost, or one with its settings and ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import command
from emofuse.common.output.console import HELP_OPTIONS, format_table, say, say_json

if TYPE_CHECKING:
    from emofuse.train.models.listing.model_list import ModelRow


@click.command(context_settings=HELP_OPTIONS)
@click.argument("name", required=False)
@click.option("--corpus", default="iemocap", show_default=True, help="The corpus whose preset is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@verbosity_options
@command
def models(name: str | None, corpus: str, as_json: bool) -> None:
    """List all models, or show the settings and ablations of one.

    Example: emofuse models mmrbn
    """
    if name is not None:
        facts = _model_facts(name, corpus)
        say_json(facts) if as_json else say("\n".join(_detail_lines(facts)))
        return
    rows = _rows(corpus)
    say_json([asdict(row) for row in rows]) if as_json else say(_model_list(rows))


def _rows(corpus: str) -> list[ModelRow]:
    """From the list that comes with emofuse, which needs no PyTorch; counted where that list has not everything."""
    from emofuse.train.models.listing.model_list import CORPUS, listed_rows

    if corpus == CORPUS and not entry_points(group="emofuse.models"):
        return listed_rows()
    from emofuse.train.models.listing.count_models import counted_rows

    return counted_rows(corpus)


def _model_list(rows: Sequence[ModelRow]) -> str:
    from emofuse.train.models.listing.model_list import SECONDS, WORDS

    cells = [
        (r.name, r.features, f"{r.parameters:,}", f"{r.flops / 1e6:,.1f}", str(r.ablations or ""), r.description)
        for r in rows
    ]
    return (
        format_table(["model", "features", "parameters", "MFLOP", "ablations", ""], cells)
        + "\n\nParameters: with four classes and the dimensions of the default features. MFLOP: matrix products,"
        f"\nattention and convolutions of one forward pass over {SECONDS} s of speech and {WORDS} word pieces"
        "\n(the means of IEMOCAP)."
        "\n`emofuse models NAME` lists settings and ablations."
    )


def _model_facts(name: str, corpus: str) -> dict[str, Any]:
    """What is known of one model, JSON-ready."""
    from emofuse.train.models.config import effective, is_optional
    from emofuse.train.models.listing.cost import cost
    from emofuse.train.models.registry import MODELS, variant

    entry = MODELS.entry(name)
    preset = entry.value.preset(corpus)
    ablations = {}
    for ablation_name, ablation in entry.value.ablations.items():
        _, _, changed = variant(name, ablation_name)
        ablations[ablation_name] = {
            "modalities": list(changed.modalities),
            "parameters": cost(changed, replace(changed.preset(corpus), **ablation.settings)).parameters,
            "model": ablation.model,
            "settings": dict(ablation.settings),
        }
    return {
        "name": name,
        "description": entry.description,
        "settings": {
            key: {"value": getattr(preset, key), "choices": list(f.metadata["choices"]), "optional": is_optional(f)}
            for key, f in effective(preset, entry.value.modalities).items()
        },
        "ablations": ablations,
        "may_be_missing": list(entry.value.optional),
    }


def _detail_lines(facts: Mapping[str, Any]) -> list[str]:
    lines = [f"{facts['name']}: {facts['description']}"]
    for title, optional in (
        ("settings (--set KEY=VALUE)", False),
        ("training, off by default (`emofuse help fitting`)", True),
    ):
        values = [
            [f"  {key}", str(setting["value"]), " | ".join(setting["choices"])]
            for key, setting in facts["settings"].items()
            if setting["optional"] == optional
        ]
        lines += ["", title, format_table(["", "", ""], values)]
    rows = [
        [
            f"  {name}",
            " + ".join(ablation["modalities"]),
            f"{ablation['parameters']:,}",
            f"model {ablation['model']}"
            if ablation["model"]
            else ", ".join(f"{k}={v}" for k, v in ablation["settings"].items()),
        ]
        for name, ablation in facts["ablations"].items()
    ]
    if rows:
        lines += ["", "ablations (--ablation NAME)", format_table(["", "modalities", "parameters", "sets"], rows)]
    if facts["may_be_missing"]:
        lines += ["", f"may be missing at inference (--score-without): {', '.join(facts['may_be_missing'])}"]
    return lines
