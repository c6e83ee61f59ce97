"""The true value of an utterance, from its label, its votes or its ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emofuse.common.output.console import plural
from emofuse.manifests.schema import Utterance
from emofuse.manifests.targets.dimension import Dimension
from emofuse.manifests.targets.distribution import class_votes
from emofuse.manifests.targets.target import LABEL_SEPARATOR, Target, Truth
from emofuse.manifests.votes import parse_votes

SHOWN = 3
"""How many utterances a message names."""
LONGEST = 20
"""Characters of a wrong rating that a message repeats."""


def classes_in(label: str | None, target: Target, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The classes of a label, of several labels where the target has several; none for a label that is no class.

    Args:
        label: The corpus's own.
        target: Whose classes they are.
        labels: The corpus's own label -> class.
    """
    if label is None:
        return ()
    names = label.split(LABEL_SEPARATOR) if target.kind == "multilabel" else [label]
    return tuple(dict.fromkeys(labels[n.strip()] for n in names if n.strip() in labels))


def has_truth(target: Target, labels: Mapping[str, str], label: str | None, utterance: Utterance) -> bool:
    """Whether an utterance has what the target predicts; votes and ratings that are wrong count, to be named later.

    Args:
        label: The corpus's own.
    """
    if target.kind == "distribution":
        return _has_votes(target, labels, utterance)
    if target.kind == "dimensions" and not labels:
        return _has_ratings(target, utterance)
    return bool(classes_in(label, target, labels)) and _has_ratings(target, utterance)


def _has_ratings(target: Target, utterance: Utterance) -> bool:
    return all(d.is_rated(utterance) for d in target.dimensions)


def _has_votes(target: Target, labels: Mapping[str, str], utterance: Utterance) -> bool:
    text = utterance.extra.get(target.votes_field)
    if text is None:
        return False
    try:
        votes = parse_votes(str(text))
    except ValueError:
        return True
    return any(count and label in labels for label, count in votes.items())


def votes_of(target: Target, labels: Mapping[str, str], utterance: Utterance) -> list[float]:
    """The votes for each class [C].

    Raises:
        ValueError: The votes cannot be read.
    """
    votes = parse_votes(str(utterance.extra[target.votes_field]))
    found: list[float] = class_votes(votes, labels, target.classes, target.other_votes).tolist()
    return found


def most_voted(target: Target, labels: Mapping[str, str], utterance: Utterance) -> str | None:
    """The class with most votes, of ties the first; None where the votes cannot be read."""
    try:
        votes = votes_of(target, labels, utterance)
    except (ValueError, KeyError):
        return None
    return target.classes[votes.index(max(votes))]


def truth_problems(target: Target, utterances: Sequence[Utterance]) -> list[str]:
    """What is wrong with the votes or the ratings of the utterances of a task, one line for each kind."""
    problems = []
    for dimension in target.dimensions:
        problems += _rating_problems(dimension, utterances)
    if target.kind == "distribution":
        wrong = [found for u in utterances if (found := _votes_problem(target, u))]
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        problems += [f"votes that cannot be used: {'; '.join(wrong[:SHOWN])}{more}"] if wrong else []
    return problems


def _rating_problems(dimension: Dimension, utterances: Sequence[Utterance]) -> list[str]:
    unreadable, outside = list[str](), list[str]()
    for utterance in utterances:
        try:
            rating = dimension.rating(utterance)
        except ValueError:
            unreadable.append(f"{utterance.id} {str(utterance.extra[dimension.field])[:LONGEST]!r}")
            continue
        if rating is not None and not dimension.holds(rating):
            outside.append(f"{utterance.id} {rating:g}")
    problems = []
    if unreadable:
        problems.append(
            f"{plural(len(unreadable), 'rating')} of {dimension.name} not a number: {_first(unreadable)}; expected "
            "such as 3.5, with a point, or nothing where there is no rating"
        )
    if outside:
        problems.append(
            f"{plural(len(outside), 'rating')} of {dimension.name} outside its scale, {dimension.low:g} to "
            f"{dimension.high:g}: {_first(outside)}; correct them, or the scale"
        )
    return problems


def _first(named: Sequence[str]) -> str:
    return ", ".join([*named[:SHOWN], *(["..."] if len(named) > SHOWN else [])])


def _votes_problem(target: Target, utterance: Utterance) -> str:
    try:
        parse_votes(str(utterance.extra[target.votes_field]))
    except ValueError as error:
        return f"{utterance.id}: {error}"
    return ""


def truth_remarks(target: Target, candidates: Sequence[Utterance], used: Sequence[Utterance]) -> list[str]:
    """What the annotations of a task mean for its scores: ratings that are missing, and votes of one rater.

    Args:
        candidates: The utterances that the task would have if all were annotated.
        used: Those that it has.
    """
    remarks, of_all = [], f"of {plural(len(candidates), 'utterance')}"
    for dimension in target.dimensions:
        without = sum(not dimension.is_rated(u) for u in candidates)
        remarks += [f"without {dimension.name} and left out: {without} {of_all}"] if without else []
    if target.kind == "distribution":
        without = sum(target.votes_field not in u.extra for u in candidates)
        remarks += [f"without votes and left out: {without} {of_all}"] if without else []
        others = len(candidates) - without - len(used)
        remarks += [f"with votes only for labels that are no class, and left out: {others} {of_all}"] if others else []
        alone = sum(sum(parse_votes(str(u.extra[target.votes_field])).values()) == 1 for u in used)
        remarks += [f"of one rater only, so one class has all: {alone} of {len(used)}"] if alone else []
    return remarks


def truth_array(
    target: Target, labels: Mapping[str, str], own_labels: Sequence[str | None], utterances: Sequence[Utterance]
) -> Truth:
    """The true values of utterances that have one, as `Truth` says.

    Args:
        own_labels: The corpus's own label of each utterance.
    """
    index = {c: i for i, c in enumerate(target.classes)}
    classes = [classes_in(label, target, labels) for label in own_labels]
    if target.kind == "classes":
        return np.array([index[c[0]] for c in classes], np.int64)
    if target.kind == "distribution":
        return np.array([votes_of(target, labels, u) for u in utterances], np.float64)
    if target.kind == "multilabel":
        return np.array([[float(c in of) for c in target.classes] for of in classes], np.float64)
    ratings = np.array([[d.rating(u) for d in target.dimensions] for u in utterances], np.float64)
    if target.kind == "dimensions":
        return ratings
    return np.column_stack([np.array([index[c[0]] for c in classes], np.float64), ratings])
