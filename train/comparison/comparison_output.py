"""A comparison as tables for the screen, CSV, JSON, Markdown and LaTeX (booktabs), each with all warnings."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from emofuse.common.disk.csv_table import csv_text
from emofuse.common.output.console import format_table, printable
from emofuse.common.output.latex import latex_escaped, latex_first_cell
from emofuse.common.page.export import markdown_escaped, table_text
from emofuse.manifests.metrics.scores import short_name
from emofuse.train.comparison.comparison import Comparison, Difference, PairComparison
from emofuse.train.comparison.comparison_tables import (
    NOTHING_DIFFERS,
    PAIR_HELP,
    equal_settings,
    has_mcnemar,
    mcnemar_table,
    pairs_table,
    runs_table,
    settings_table,
)
from emofuse.train.comparison.sentences import footnotes, sentence, warnings


def screen(comparison: Comparison) -> str:
    """Plain text in aligned columns."""
    names = [short_name(m) for m in comparison.metrics]
    settings, names_of_runs = settings_table(comparison), [run.name for run in comparison.runs]
    runs = [
        [run.name, *(f"{run.scores[m]:.3f}" for m in comparison.metrics), len(run.seeds), run.folder]
        for run in comparison.runs
    ]
    lines = [
        caption(comparison),
        "",
        format_table(["run", *names, "seeds", ""], runs),
        "",
        format_table(["differing in", *names_of_runs], settings.rows) if settings.rows else NOTHING_DIFFERS,
        "",
        textwrap.fill(
            equal_line(comparison), 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        ),
        "",
        format_table(["pair", "", *PAIR_HELP], pairs_table(comparison).rows),
        "",
        *_mcnemar_lines(comparison),
        *(f"{sentence(pair, comparison)}." for pair in comparison.pairs),
        "",
        *footnotes(comparison),
    ]
    return "\n".join(printable(line, 400) if "\n" not in line else line for line in lines)


def _mcnemar_lines(comparison: Comparison) -> list[str]:
    columns = ["McNemar", "first only", "second only", "odds ratio", "p"]
    return [format_table(columns, mcnemar_table(comparison).rows), ""] if has_mcnemar(comparison) else []


def markdown(comparison: Comparison) -> str:
    """The tables, a sentence for each pair, and what the figures are."""
    settings = settings_table(comparison)
    tables = [runs_table(comparison), *([settings] if settings.rows else []), pairs_table(comparison)]
    tables += [mcnemar_table(comparison)] if has_mcnemar(comparison) else []
    sentences = [f"- {markdown_escaped(sentence(pair, comparison))}." for pair in comparison.pairs]
    return "\n".join(
        [
            f"{markdown_escaped(caption(comparison))}.",
            "",
            *(table_text(table, "md") for table in tables),
            *sentences,
            "",
            *(f"- {markdown_escaped(line)}" for line in (equal_line(comparison), *footnotes(comparison))),
        ]
    )


def equal_line(comparison: Comparison) -> str:
    """The settings that all runs share, but for details of features and of the protocol."""
    shared = [f"{name} {value}" for name, value in equal_settings(comparison).items() if "." not in name]
    return printable(f"The same in all runs: {'; '.join(shared)}.", 4000)


def caption(comparison: Comparison) -> str:
    """The protocol, the utterances and the units of a comparison in one line."""
    return f"{comparison.protocol}: {comparison.utterances} test utterances, {comparison.units.description}"


def comma_separated(comparison: Comparison) -> str:
    """One row for each pair and metric."""
    folders = {run.name: str(run.folder) for run in comparison.runs}
    return csv_text(
        [
            {"first": pair.first, "second": pair.second, "metric": metric}
            | _figures(comparison, pair, metric)
            | {"unit": comparison.units.kind, "units": comparison.units.count, "sentence": sentence(pair, comparison)}
            | {"first_run": folders[pair.first], "second_run": folders[pair.second]}
            | {"protocol": comparison.protocol, "warnings": " ".join(warnings(comparison))}
            for pair, metric, _ in _rows(comparison)
        ]
    )


def as_json(comparison: Comparison) -> str:
    """Everything, machine-readable."""
    content = {
        "protocol": comparison.protocol,
        "utterances": comparison.utterances,
        "metrics": list(comparison.metrics),
        "unit": comparison.units.kind,
        "units": comparison.units.count,
        "test": {
            "exact": comparison.exact,
            "permutations": None if comparison.exact else comparison.permutations,
            "smallest_corrected_p": comparison.smallest_p,
        },
        "resamples": comparison.resamples,
        "n_test_over_n_train": comparison.ratio,
        "runs": [
            {
                "name": run.name,
                "folder": str(run.folder),
                "seeds": list(run.seeds),
                "scores": dict(run.scores),
                "caveats": list(run.caveats),
                "settings": dict(run.settings),
            }
            for run in comparison.runs
        ],
        "pairs": [
            {"first": pair.first, "second": pair.second, "sentence": sentence(pair, comparison)}
            | {"differences": {m: _figures(comparison, pair, m) for m in comparison.metrics}}
            for pair in comparison.pairs
        ],
        "warnings": warnings(comparison),
        "notes": footnotes(comparison),
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def latex(comparison: Comparison) -> str:
    """A table environment; the document must load booktabs."""
    body = [
        " & ".join([latex_first_cell(str(title)), *(latex_escaped(str(cell)) for cell in cells)]) + r" \\"
        for title, *cells in pairs_table(comparison).rows
    ]
    text = " ".join([f"{caption(comparison)}.", *(f"{sentence(pair, comparison)}." for pair in comparison.pairs)])
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{latex_escaped(text)}}}",
            r"\begin{tabular}{llrrrrrr}",
            r"\toprule",
            rf"pair & & {' & '.join(map(latex_escaped, PAIR_HELP))} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\par\footnotesize {latex_escaped(' '.join(footnotes(comparison)))}",
            r"\end{table}",
        ]
    )


def _rows(comparison: Comparison) -> Iterator[tuple[PairComparison, str, Difference]]:
    for pair in comparison.pairs:
        for metric in comparison.metrics:
            yield pair, metric, pair.differences[metric]


def _figures(comparison: Comparison, pair: PairComparison, metric: str) -> dict[str, Any]:
    """All numbers of a pair in one metric; differences and intervals in 0..1."""
    found, mcnemar = pair.differences[metric], pair.mcnemar
    scores = {run.name: run.scores[metric] for run in comparison.runs}
    return {
        "first_score": scores[pair.first],
        "second_score": scores[pair.second],
        "difference": found.value,
        "low": found.interval[0],
        "high": found.interval[1],
        "p": found.p,
        "holm_p": found.corrected_p,
        "cohens_d": found.effect,
        "corrected_t": None if found.t is None or abs(found.t.t) == float("inf") else found.t.t,
        "corrected_t_degrees": None if found.t is None else found.t.degrees,
        "corrected_t_p": None if found.t is None else found.t.p,
        "mcnemar_only_first": mcnemar and mcnemar.only_first,
        "mcnemar_only_second": mcnemar and mcnemar.only_second,
        "mcnemar_odds_ratio": mcnemar and mcnemar.odds_ratio,
        "mcnemar_p": mcnemar and mcnemar.p,
        "mcnemar_exact": mcnemar and mcnemar.exact,
    }
