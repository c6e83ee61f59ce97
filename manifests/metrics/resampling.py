"""What a bootstrap draws: the speakers or sessions that a protocol holds out, else dialogues, else utterances.

Utterances of one speaker are not independent, and a protocol that holds speakers out asks for the score on new
speakers: whole speakers are drawn. Fewer than five units are drawn in two stages, first a unit and then dialogues (or
utterances) inside it (Davison and Hinkley 1997, section 3.8); an interval over so few cannot be trusted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.output.console import plural
from emofuse.manifests.metrics.unit_counts import rows_at_a_time
from emofuse.manifests.names.joint import corpus_of

MINIMUM_UNITS = 5
"""With fewer units, two stages are drawn and the interval is not trusted."""
FEW_UNITS = 10
"""Over fewer units, bootstrap intervals are clearly too narrow (benchmarks/compare_error_rate.py)."""
UTTERANCE = "utterance"
_HELD_OUT = ("session", "speaker", "dialogue", "sentence")
"""What a split may hold out, the largest unit first."""
_MIXED = "held-out group"
"""The kind of unit where corpora hold out different attributes."""

Row = Mapping[str, str]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResamplingUnits:
    """The units that are drawn with replacement, for n utterances."""

    kind: str
    """speaker, session, dialogue, sentence or utterance; `held-out group` where corpora hold out different ones."""
    outer: Numbers
    """[n], the number of each utterance's unit, from 0 without gaps."""
    inner: Numbers | None = None
    """[n], with two stages, the number of its unit inside the outer one; no two outer units share one."""
    inner_kind: str | None = None
    """dialogue or utterance, with two stages."""
    trusted: bool
    """Whether there are at least five units."""

    @property
    def count(self) -> int:
        """How many (outer) units there are."""
        return int(self.outer.max()) + 1 if len(self.outer) else 0

    @property
    def description(self) -> str:
        """Such as `24 speakers`, or `4 speakers, then dialogues of each`."""
        inside = f", then {self.inner_kind}s of each" if self.inner_kind else ""
        return f"{plural(self.count, self.kind)}{inside}"

    @property
    def smallest(self) -> Numbers:
        """[n], the unit of the last stage: the inner one, or the outer one where there is one stage."""
        return self.outer if self.inner is None else self.inner

    def unit_weights(self, resamples: int, generator: np.random.Generator) -> Numbers:
        """How often each of the `smallest` units is drawn in each resample [R, units]."""
        count = self.count
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
        if self.inner is None:
            return drawn
        weights = np.zeros((resamples, int(self.inner.max()) + 1), np.int64)
        for unit in range(count):
            members = np.unique(self.inner[self.outer == unit])
            # Each draw of the unit draws its members again: the sum over its draws is one larger multinomial.
            draws = drawn[:, unit] * len(members)
            weights[:, members] = generator.multinomial(draws, np.full(len(members), 1 / len(members)))
        return weights

    def weight_blocks(self, resamples: int, generator: np.random.Generator) -> Iterator[Numbers]:
        """The same draws as `unit_weights`, some resamples at a time; of two stages, which few units have, all."""
        rows = rows_at_a_time(self.count) if self.inner is None else resamples
        for start in range(0, resamples, rows):
            yield self.unit_weights(min(rows, resamples - start), generator)


def resampling_units(protocol: Mapping[str, Any], rows: Sequence[Row]) -> ResamplingUnits:
    """The units of test utterances, by what their protocol holds out.

    The unit is what the folds are formed by (of an official split the largest attribute that it keeps disjoint; of a
    corpus that is only tested the speaker). Where utterances lack it, dialogues are drawn, else utterances.

    Args:
        protocol: The fields of a `Protocol`, as `dataclasses.asdict` gives them or config.json records them.
        rows: Rows of utterances.csv [n], in the order of the predictions; an empty cell or missing key is unknown.
            Names of a joint task carry their corpus.
    """
    held_out = [_held_out(protocol, row) for row in rows]
    if held_out and all(key and row.get(key) for key, row in zip(held_out, rows, strict=True)):
        kinds = {str(key) for key in held_out}
        kind = kinds.pop() if len(kinds) == 1 else _MIXED
        return _units(kind, [(key, row[str(key)]) for key, row in zip(held_out, rows, strict=True)], rows)
    if _several([row.get("dialogue") for row in rows]):
        return _units("dialogue", [row["dialogue"] for row in rows], rows)
    return _units(UTTERANCE, range(len(rows)), rows)


def narrow_interval(count: int, kind: str) -> str:
    """`Intervals over 5 speakers are too narrow`; empty for enough units, and for so few that none is trusted."""
    return f"Intervals over {plural(count, kind)} are too narrow" if MINIMUM_UNITS <= count < FEW_UNITS else ""


def named_units(names: Sequence[Hashable], kind: str = "unit") -> ResamplingUnits:
    """Units by name [n], drawn in one stage."""
    return ResamplingUnits(kind=kind, outer=_numbers(names), trusted=len(set(names)) >= MINIMUM_UNITS)


def _held_out(protocol: Mapping[str, Any], row: Row) -> str | None:
    """The attribute that the protocol holds out for an utterance; None if it holds out none."""
    joint = protocol.get("joint")
    if joint:
        corpus = corpus_of(row["id"])
        by: str | None = joint["by"].get(corpus)
        # All of a corpus that is never trained on is new: its speakers are the units.
        return by or ("speaker" if row.get("speaker") else None)
    if protocol["fold_by"] in _HELD_OUT:
        return str(protocol["fold_by"])
    return next((key for key in _HELD_OUT if key in protocol["disjoint"]), None)


def _several(values: Sequence[str | None]) -> bool:
    """Whether all values are known, and they form groups: several, of which some have several members."""
    return all(values) and 1 < len(set(values)) < len(values)


def _units(kind: str, names: Sequence[Hashable], rows: Sequence[Row]) -> ResamplingUnits:
    one_stage = named_units(names, kind)
    if one_stage.trusted or kind == UTTERANCE:
        return one_stage
    inside = "dialogue" if kind != "dialogue" and _several([row.get("dialogue") for row in rows]) else UTTERANCE
    members = range(len(rows)) if inside == UTTERANCE else [row["dialogue"] for row in rows]
    inner = _numbers(list(zip(names, members, strict=True)))
    return replace(one_stage, inner=inner, inner_kind=inside)


def _numbers(names: Sequence[Hashable]) -> Numbers:
    """[n], equal numbers for equal names, in the order of their first appearance."""
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], np.int64)
