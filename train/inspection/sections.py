"""The sections of a run's page that need its trained models: the map, and what the model weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.common.page.blocks import Examples, Section, Text
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.inspection.choose import telling_utterances
from emofuse.train.inspection.example_cards import example_cards
from emofuse.train.inspection.map_section import map_section
from emofuse.train.inspection.open_fold import OpenFold, check_recorded, open_fold, utterances_that_fit
from emofuse.train.inspection.overall_weights import layer_charts, overall_charts, word_chart
from emofuse.train.inspection.predicted_fold import PredictedFold, predicted_fold
from emofuse.train.inspection.projection import MOST_POINTS, stratified_sample
from emofuse.train.inspection.readers import READERS, WITHOUT, hooks_of
from emofuse.train.inspection.request import InspectionRequest, Spans
from emofuse.train.inspection.weight_hooks import Observed, WeightHook
from emofuse.train.inspection.words import FULL
from emofuse.train.runs.finished_run import Run

NOT_AN_EXPLANATION = (
    "Weights are not an explanation of a decision. They say how much of each frame goes into a sum, not what the sum "
    "means to the classifier; frames after a recurrent or transformer layer also carry what their neighbours say, and "
    "quite other weights may give the same prediction (Jain and Wallace, NAACL 2019)."
)


def model_sections(run: Run, request: InspectionRequest) -> list[Section]:
    """The map of one fold's representation, and what its model weighs.

    What cannot be shown, such as a run whose store is not there any more, is one section that says why.

    Raises:
        UnknownNameError: The run has no such seed or fold.
        DataError: A store or the weights of the model are damaged.
    """
    if "evaluation" in run.metrics:
        return [_reason(f"an evaluation has no models of its own: see the page of {run.metrics['evaluation']['run']}")]
    if not run.config["run"].get("folds"):
        return [_reason("the run has no models that were tested")]
    target = target_of(run.metrics)
    if not target.has_class:
        return [_reason(f"maps and weights are of runs with one class an utterance; this one predicts {target.kind}")]
    side = predicted_fold(run, request.seed, request.fold)
    examples = telling_utterances(side.tested, side.classes, request.examples)
    try:
        fitting = utterances_that_fit(side)
        most = max(min(MOST_POINTS, fitting), len(side.classes))
        sample = stratified_sample([t.label for t in side.tested], most)
        chosen = np.union1d(sample, np.array(examples, np.int64)).astype(int).tolist()
        fold = open_fold(side, chosen)
        hooks = hooks_of(fold.model.recipe.model, fold.model.model)
        observed = fold.observe([p for p in hooks if p.over != "audio"])
        check_recorded(fold, observed)
    except UsageError as error:
        return [_reason(str(error))]
    place = {i: n for n, i in enumerate(chosen)}
    sections = []
    if observed.fused is not None:
        drawn = [place[i] for i in sample.tolist()]
        tested = [fold.tested[n] for n in drawn]
        sections.append(map_section(side, tested, observed.fused[drawn], request.methods, fits=most == MOST_POINTS))
    return [*sections, _weights(side, fold, hooks, observed, [place[i] for i in examples], request)]


def _reason(text: str) -> Section:
    return Section(name="models", title="What the models show", blocks=[Text(lines=[f"Not shown: {text}."])])


def _weights(
    side: PredictedFold,
    fold: OpenFold,
    hooks: Sequence[WeightHook],
    observed: Observed,
    examples: Sequence[int],
    request: InspectionRequest,
) -> Section:
    """The section of the weights, over the test side and in single utterances."""
    name = fold.model.recipe.model
    title = "What the model weighs"
    layers = layer_charts(side.run, fold)
    if not hooks:
        missing = (
            "This variant of the model has no weights to show." if name in READERS else "No weights are read from it."
        )
        return Section(name="weights", title=title, blocks=[Text(lines=[WITHOUT.get(name, missing)]), *layers])
    spans, remark = _spans(fold, hooks, request)
    lines = [READERS[name].about, NOT_AN_EXPLANATION]
    blocks: list[Any] = [Text(lines=[*lines, remark] if remark else lines), *layers]
    blocks += overall_charts(fold, hooks, observed)
    over_text = next((p for p in hooks if p.over == "text"), None)
    if over_text is not None and spans and request.texts is not None:
        words = word_chart(fold, over_text.name, observed.weights[over_text.name], request.texts, spans)
        blocks += [words] if words is not None else []
    shares = next((observed.weights[p.name] for p in hooks if p.over == "modalities"), None)
    cards = example_cards(fold, examples, hooks, shares, request, spans)
    caption = (
        "The most confident right and the most confident wrong test utterance of each class"
        f"{'' if len(cards) == 2 * len(side.classes) else ', as far as there is one and it fits here'}."
    )
    if any(p.over == "audio" for p in hooks):
        caption += " Over time, 1 is the weight that every frame would have if all were equal."
    if spans:
        caption += " The colour of a word is the mean weight of its pieces, full from "
        caption += f"{FULL:.0f} times an equal share on ({over_text.name if over_text else ''})."
    blocks.append(Examples(title="Single utterances", caption=caption, examples=cards))
    lead = f"Read from the model of fold {side.fold} (seed {side.seed}) while it classified its test side."
    return Section(name="weights", title=title, blocks=blocks, lead=lead)


def _spans(fold: OpenFold, hooks: Sequence[WeightHook], request: InspectionRequest) -> tuple[Mapping[str, Spans], str]:
    """Id -> the characters of each piece of its text; and why they are not known."""
    if request.texts is None or not any(p.over == "text" for p in hooks):
        return {}, ""
    if request.pieces is None:
        return {}, "Weights over text are shown by the number of the word piece: the tokenizer is not at hand."
    ids = [t.id for t in fold.tested if t.id in request.texts]
    found = dict(zip(ids, request.pieces([request.texts[id] for id in ids]), strict=True))
    lengths = dict(zip([t.id for t in fold.tested], fold.stored_lengths["text"], strict=True))
    fitting = {id: spans for id, spans in found.items() if len(spans) == lengths[id]}
    if len(fitting) == len(found):
        return fitting, ""
    other = len(found) - len(fitting)
    return fitting, f"The tokenizer gives {other} of {len(found)} texts another number of pieces than the store has."
