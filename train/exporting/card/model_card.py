"""MODEL_CARD.md (Mitchell et al., "Model cards for model reporting", FAT* 2019) from what a run folder records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.disk import run_folder
from emofuse.common.output.console import plural
from emofuse.manifests.metrics.scores import definition
from emofuse.manifests.row_filter import where_text
from emofuse.train.exporting.card.card_scores import (
    calibration_table,
    class_lines,
    group_tables,
    score_lines,
    shared_lines,
)
from emofuse.train.exporting.card.card_sources import encoder_lines, licence_lines, origin_lines, usage_lines
from emofuse.train.exporting.card.markdown import bullets, escaped, table
from emofuse.train.exporting.checked_file import Check
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.models.registry import MODELS
from emofuse.train.runs.finished_run import METRICS as METRICS_FILE
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.trained_models import TrainedModel

LIMITS = (
    "The labels are what annotators perceived, or actors were asked to show. They are not what a person feels.",
    "Scores hold for speakers, language, microphones and texts like those of the corpus. Measure on your own labelled "
    "recordings first: `emofuse evaluate`.",
    "Probabilities always sum to one over the classes above: there is no class for anything else.",
    "Do not decide about single persons (work, school, credit, health, law) by this model. In the European Union, "
    "Regulation 2024/1689, article 5, prohibits inferring emotions at work and in education.",
)


def model_card(run: Run, models: Sequence[TrainedModel], file: str | None, check: Check | None) -> str:
    """The card of a run.

    Args:
        run: The run.
        models: Those of its models that are exported.
        file: The name of the exported file; None if there is none.
        check: How the file was checked; None without one.
    """
    recipe = models[0].recipe
    title = f"# Model card: {escaped(run.metrics['model'])} on {escaped(run.metrics['protocol'])}"
    sections = {
        "Model": _model(run, models, file, check),
        "Intended use": bullets(_uses(recipe)),
        "Data": _data(run),
        "Protocol": bullets(_protocol(run)),
        "Scores": [*score_lines(run.metrics), *_what_is_scored(run, models)],
        "Classes": class_lines(run.metrics),
        "Groups": group_tables(run.metrics),
        "What test shares with training": shared_lines(run.metrics),
        "Calibration": calibration_table(run.metrics),
        "Encoders": encoder_lines(run),
        "Limits": bullets(LIMITS),
        "Licences": licence_lines(run),
        "How to run it": usage_lines(run, file),
        "Origin": origin_lines(run),
    }
    lines = [title, "", *_marks(run)]
    for heading, content in sections.items():
        lines += [f"## {heading}", "", *content] if content else []
    return "\n".join(lines).rstrip() + "\n"


def _marks(run: Run) -> list[str]:
    """What a reader must know before all else."""
    marks = [escaped(mark) for mark in caveats(run.metrics)]
    if "synthetic" in run.corpora:
        marks.append("trained on generated signals, not on speech: of no use for recordings")
    return bullets([f"**{mark}**" for mark in marks]) if marks else []


def _model(run: Run, models: Sequence[TrainedModel], file: str | None, check: Check | None) -> list[str]:
    recipe = models[0].recipe
    parameters = sum(p.numel() for p in models[0].model.parameters())
    members = "; ".join(_member(m) for m in models)
    items = [
        f"Architecture: {escaped(recipe.model)}, {escaped(MODELS.entry(recipe.model).description)}; "
        f"{parameters:,} parameters",
        f"Reads: {' and '.join(recipe.inputs.dimensions)} features (below). Gives: probabilities of "
        f"{', '.join(map(escaped, recipe.classes))}, in this order",
        f"Trained models: {plural(len(models), 'model')} ({members})"
        + (", whose probabilities are averaged" if len(models) > 1 else ""),
        f"Settings: `{json.dumps(run.config['run']['settings'])}`, class weights {run.config['run']['class_weights']}",
    ]
    if file is not None and check is not None:
        items.append(
            f"File: `{file}`; its probabilities are within {check.difference:.1e} of PyTorch's on {check.features}"
        )
    return bullets(items)


def _member(model: TrainedModel) -> str:
    return f"all data, seed {model.seed}" if model.fold is None else f"fold {model.fold}, seed {model.seed}"


def _uses(recipe: ModelRecipe) -> list[str]:
    return [
        "Research on speech emotion recognition, and statistics over many recordings of the kind it was trained on.",
        f"Each utterance needs its {' and '.join(recipe.inputs.dimensions)} features, by the encoders below.",
        "A person who sees the output should know that a model made it, and how often it is wrong (scores below).",
    ]


def _data(run: Run) -> list[str]:
    identity, confusion = run.config["run"], run.metrics["confusion"]
    where = identity["protocol"].get("where", {})
    seeds = len(run.metrics.get("seeds", (0,)))
    tested = {c: sum(row) // seeds for c, row in zip(run.metrics["classes"], confusion, strict=True)}
    items = [
        f"Corpus: {', '.join(map(escaped, run.corpora))}; {plural(identity['utterances'], 'utterance')} of the task",
        f"Source: {escaped(identity['protocol']['source'])}",
        *([f"Only utterances with {escaped(where_text(where))}"] if where else []),
        "Tested utterances: " + ", ".join(f"{escaped(c)} {count}" for c, count in tested.items()),
        f"Digest of the manifest: `{identity['manifest']}`",
    ]
    excluded = run.config.get("excluded", {})
    if excluded:
        items.append(f"Left out, as they have no up-to-date feature: {plural(len(excluded), 'utterance')}")
    items += [f"Differs from the protocol: {escaped(difference)}" for difference in run.config.get("differences", ())]
    return [*bullets(items), *_fold_sizes(run)]


def _fold_sizes(run: Run) -> list[str]:
    """How many utterances each fold trains, validates and tests on."""
    first = next(iter(run.seed_folders.values()))
    folds = run_folder.read_json(first / METRICS_FILE)["folds"]
    sides = ("train", "validation", "test")
    return table(["fold", *sides], [[f["name"], *(f["utterances"][side] for side in sides)] for f in folds])


def _protocol(run: Run) -> list[str]:
    identity = run.config["run"]
    protocol = identity["protocol"]
    by = protocol["fold_by"] or "corpus"
    select = "the step that is best on validation" if identity["select"] == "validation" else "the last step"
    return [
        f"{escaped(protocol['name'])}: {plural(len(identity['folds']), 'fold')} by {escaped(by)}; train, validation "
        f"and test share {_disjoint(protocol)}",
        f"Each fold tests {select}; its test side is scored once, after that",
        *(f"{escaped(definition(name))}" for name in run.metrics["metrics"]),
    ]


def _disjoint(protocol: Mapping[str, Any]) -> str:
    """What the sides of a fold do not share, of a joint task by corpus."""
    joint = protocol.get("joint")
    if not joint:
        return f"no {' and no '.join(protocol['disjoint'] or ['utterance'])}"
    by_corpus = [f"no {' and no '.join(kinds)} of {escaped(corpus)}" for corpus, kinds in joint["disjoint"].items()]
    return ", ".join(by_corpus) + (
        f"; the test side is {escaped(joint['test_corpus'])}" if joint["test_corpus"] else ""
    )


def _what_is_scored(run: Run, models: Sequence[TrainedModel]) -> list[str]:
    """Whose scores these are."""
    if any(m.fold is None for m in models):
        return [
            "They are those of the cross-validation. The exported model is trained on all data and has no score.",
            "",
        ]
    if len(models) > 1 and len(run.config["run"]["folds"]) > 1:
        return [
            "Each fold's model was scored on its own test side alone. The exported mean of all of them has no score on "
            "this corpus: every utterance was in training for some of them.",
            "",
        ]
    return []
