"""What a comparison page is made of, and the short names of the runs on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from emofuse.common.page.links import relative_link
from emofuse.manifests.metrics.scores import RESAMPLES, Labels, intervals
from emofuse.manifests.targets.kind_intervals import kind_intervals
from emofuse.train.comparison.comparison import Comparison, PairComparison
from emofuse.train.comparison.inputs.run_predictions import Row, RunPredictions
from emofuse.train.comparison.statistics.paired_scores import PairedPredictions
from emofuse.train.comparison.statistics.resampled_scores import ClassScores, ResampledScores, resampled_scores
from emofuse.train.fitting.file_names import PAGE
from emofuse.train.runs.reporting.tested_utterances import Tested

MOST_CHOICES, MOST_ROWS_SHOWN = 8, 40
"""How many pairs have a chart of their own to choose; rows of a table that are all shown, more are paged."""
MOST_IN_KEY = 4
"""Up to how many runs have their names in view all over the page."""
_LONGEST = 24
"""Characters of a name that fits into the legend of a narrow chart, beside its letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMaterial:
    """What a page shows besides the predictions of the runs."""

    folder: Path | None = None
    """Of the page, which links are relative to; None for figures and tables without a page."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Id -> what is said in the utterance, where known and not withheld."""
    sound: Callable[[str], str | None] = lambda id: None
    """The link to the recording of an utterance, None where there is none."""
    about: Mapping[str, Row] = field(default_factory=dict)
    """Id -> what the stores say of the speaker, session and so on; for runs without utterances.csv."""
    remarks: Callable[[], Sequence[str]] = tuple
    """What is not shown, and why; phrases that begin in lower case. Asked after `sound`."""
    command: str = ""
    """What makes the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRecord:
    """The compared runs, what was found, and what else is at hand; n utterances, S seeds, C classes."""

    comparison: Comparison
    runs: tuple[RunPredictions, ...]
    """In the order of `comparison.runs`."""
    scores: tuple[ResampledScores, ...]
    """Of each run, with intervals."""
    tested: tuple[Mapping[str, Tested], ...]
    """Of each run, utterance -> what it predicted over all seeds."""
    material: PageMaterial

    @classmethod
    def of(cls, comparison: Comparison, runs: Sequence[RunPredictions], material: PageMaterial) -> ComparisonRecord:
        """The record of runs that were compared; computes their intervals."""
        first = runs[0]
        scores = (
            [_scores(run, comparison) for run in runs]
            if first.found
            else resampled_scores(
                [run.predictions for run in runs], first.labels, len(first.classes), comparison.units, RESAMPLES
            )
        )
        return cls(
            comparison=comparison,
            runs=tuple(runs),
            scores=tuple(scores),
            tested=tuple(run.tested() for run in runs),
            material=material,
        )

    @property
    def labels(self) -> Labels:
        """True class numbers [n]."""
        return self.runs[0].labels

    @property
    def classes(self) -> tuple[str, ...]:
        """C names."""
        return self.runs[0].classes

    @property
    def letters(self) -> list[str]:
        """A letter for each run: its name in charts and columns."""
        return letters(len(self.runs))

    @property
    def legend(self) -> list[str]:
        """Letter and name of each run; the letter alone where a name is long."""
        names = [run.name for run in self.comparison.runs]
        return [
            f"{letter}  {name}" if len(name) <= _LONGEST else letter
            for letter, name in zip(self.letters, names, strict=True)
        ]

    @property
    def key(self) -> str:
        """What the letters stand for, short enough to stay in view."""
        names = [run.name for run in self.comparison.runs]
        return letters_line(names) if len(names) <= MOST_IN_KEY else "Letters: see the table of scores."

    def numbers(self, pair: PairComparison) -> tuple[int, int]:
        """The places of a pair's runs."""
        names = [run.name for run in self.comparison.runs]
        return names.index(pair.first), names.index(pair.second)

    def short(self, pair: PairComparison) -> str:
        """Such as `A - B`."""
        return " - ".join(self.letters[i] for i in self.numbers(pair))

    def predictions(self, pair: PairComparison) -> PairedPredictions:
        """The predictions of a pair."""
        first, second = (self.runs[i].by_seed() for i in self.numbers(pair))
        return PairedPredictions(first=first, second=second)

    def utterance_rows(self) -> list[Row] | None:
        """The rows of utterances.csv [n]; None where no run has one for every utterance."""
        by_id = dict(self.material.about)
        by_id |= {id: row for run in reversed(self.runs) for id, row in run.utterance_rows().items()}
        ids = self.runs[0].ids
        return [by_id[id] for id in ids] if all(id in by_id for id in ids) else None

    def report(self, number: int) -> str | None:
        """The link to the page of a run; None where it has none, or nothing is linked."""
        path = self.runs[number].run.folder / PAGE
        folder = self.material.folder
        return relative_link(path, folder) if folder is not None and path.is_file() else None


def _scores(run: RunPredictions, comparison: Comparison) -> ResampledScores:
    """The intervals of a run whose target is more than one class; no scores of classes."""
    target, units = run.target, comparison.units
    kinds = kind_intervals(target, [(f.truth, f.values, f.sets) for f in run.found], units)
    of_class = intervals(run.labels, run.predictions, len(run.classes), units) if target.has_class else {}
    none = ClassScores(observed=np.zeros(0), resampled=np.zeros((0, 0)))
    return ResampledScores(intervals={**of_class, **kinds}, recall=none, f1=none)


def letters(count: int) -> list[str]:
    """A letter for each run, in order."""
    return [chr(ord("A") + i) if i < 26 else f"R{i + 1}" for i in range(count)]


def letters_line(names: Sequence[str]) -> str:
    """What the letters stand for: `A is smcn; B is concat.`"""
    return "; ".join(f"{letter} is {name}" for letter, name in zip(letters(len(names)), names, strict=True)) + "."
