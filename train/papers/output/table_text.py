"""A table of results as text for the screen, Markdown, LaTeX (booktabs) and CSV, each with all remarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emofuse.common.disk.csv_table import csv_text
from emofuse.common.disk.files import write_atomically
from emofuse.common.output.console import format_table, printable
from emofuse.common.output.latex import latex_escaped, latex_first_cell
from emofuse.manifests.metrics.scores import METRICS
from emofuse.train.papers.output.row_notes import PLAIN_STATES, TableNotes, table_notes
from emofuse.train.papers.published_table import TableTask
from emofuse.train.papers.results import MARK, ResultCell, ResultRow, ResultTable

COLUMNS = (
    *("table", "task", "row", "column", "measure", "unit", "ours", "std", "folds_x_seeds", "paper", "difference"),
    *("differs_from_row_above", "p_row_above"),
    *("state", "conditions", "marks", "notes", "run"),
)
HEAD = ("ours", "paper", "ours - paper")


def write(results: ResultTable, folder: Path) -> None:
    """Write table.csv, table.md and table.tex into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "table.md", markdown(results).encode())
    write_atomically(folder / "table.tex", latex(results).encode())
    write_atomically(folder / "table.csv", comma_separated(results).encode())


def caption(results: ResultTable) -> str:
    """One line: the paper, the table's number in it, and its subject."""
    return f"{results.table.paper}, {results.table.where}: {results.table.about}"


def warnings(results: ResultTable) -> list[str]:
    """The differences from the paper's own conditions, for every output; empty if there are none."""
    return [f"NOT the paper's own conditions: {'; '.join(results.marks)}."] if results.marks else []


def shared_notes(notes: TableNotes, task: TableTask) -> list[str]:
    """What holds for every row of ours on a task, as one line; empty if nothing does."""
    found = notes.shared[task.protocol]
    return [f"Every row of ours: {'; '.join(found)}."] if found else []


def footnotes(results: ResultTable) -> list[str]:
    """The lines under the table: definitions of the measures, skipped tasks, the table's notes, remarks."""
    measures = {m for t in results.shown_blocks for m in t.metrics.values()}
    lines = [f"{METRICS[m]}." for m in METRICS if m in measures]
    lines += ["Recall of a class: the share of its utterances that were found."] if measures - set(METRICS) else []
    lines += ["Ours: mean ± standard deviation over folds and seeds. The paper's figures are as printed."]
    lines += [f"{protocol} is left out: {reason}." for protocol, reason in results.skipped_tasks.items()]
    return [*lines, *results.table.notes, *results.remarks]


def screen(results: ResultTable) -> str:
    """Plain text in aligned columns."""
    notes = table_notes(results)
    lines = [caption(results), *warnings(results)]
    for task in results.shown_blocks:
        columns = [f"{c} {h}" for c in task.metrics for h in ("ours", "paper", "diff")]
        rows = [[r.row.name, *cells(results, task, r), remark(notes, r)] for r in results.rows_of(task)]
        lines += ["", headline(results, task), *shared_notes(notes, task), format_table(["", *columns, ""], rows)]
    printed = [printable(line, 400) if "\n" not in line else line for line in lines]
    below = [printable(line, 400) for line in notes.explained()]
    return "\n".join([*printed, "", *below, *footnotes(results)])


def markdown(results: ResultTable) -> str:
    """GitHub tables."""
    notes = table_notes(results)
    lines = [f"# {caption(results)}", "", *(f"**{w}**\n" for w in warnings(results))]
    for task in results.shown_blocks:
        columns = [f"{c} {h}" for c in task.metrics for h in HEAD]
        lines += [f"## {headline(results, task)}", "", *(f"**{w}**\n" for w in shared_notes(notes, task))]
        lines += [_piped(["", *columns, "note"]), _piped(["---", *["---:" for _ in columns], "---"])]
        lines += [_piped([r.row.name, *cells(results, task, r), remark(notes, r)]) for r in results.rows_of(task)]
        lines.append("")
    return "\n".join([*lines, *(f"- {line}" for line in [*notes.explained(), *footnotes(results)])]) + "\n"


def latex(results: ResultTable) -> str:
    """One table environment per task; the document must load booktabs."""
    notes = table_notes(results)
    return "\n\n".join(_latex_table(results, task, notes) for task in results.shown_blocks) + "\n"


def _latex_table(results: ResultTable, task: TableTask, notes: TableNotes) -> str:
    rows = results.rows_of(task)
    groups = "".join(rf" & \multicolumn{{3}}{{c}}{{{latex_escaped(c)}}}" for c in task.metrics)
    heads = "".join(f" & {h}" for _ in task.metrics for h in ("ours", "paper", "diff."))
    body = [" & ".join([_latex_name(r, notes), *map(latex_escaped, cells(results, task, r))]) + r" \\" for r in rows]
    text = [f"{caption(results)}. {headline(results, task)}.", *warnings(results), *shared_notes(notes, task)]
    here = {letter for row in rows for letter in notes.letters_of(row)}
    below = [line for line in notes.explained() if line.partition(":")[0] in here] + footnotes(results)
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{latex_escaped(' '.join(text))}}}",
            rf"\begin{{tabular}}{{l{'rrr' * len(task.metrics)}}}",
            r"\toprule",
            rf"{groups} \\",
            rf"{heads} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\par\footnotesize {latex_escaped(' '.join(below))}",
            r"\end{table}",
        ]
    )


def _latex_name(row: ResultRow, notes: TableNotes) -> str:
    letters = notes.letters_of(row)
    return latex_first_cell(row.row.name) + (rf"\textsuperscript{{{','.join(letters)}}}" if letters else "")


def comma_separated(results: ResultTable) -> str:
    """CSV with one line per figure, in the paper's unit."""
    rows = []
    for task in results.table.blocks:
        conditions = results.conditions.get(task.protocol, "")
        for r in results.rows_of(task):
            notes = "; ".join(
                [*(r.notes or filter(None, [r.row.note])), *(results.remarks if r.state == "run" else [])]
            )
            for column, cell in r.cells.items():
                figures = [cell.mean, cell.deviation, cell.count, cell.published, cell.difference]
                values = [
                    *(results.table.name, task.protocol, r.row.name, column, _measure(task, column, r)),
                    results.table.unit,
                    *("" if f is None else round(f, 6) for f in figures),
                    *("" if cell.p_above is None else v for v in ("yes" if cell.differs else "no", cell.p_above)),
                    *(r.state, conditions, "; ".join(results.marks), notes, r.run),
                ]
                rows.append(dict(zip(COLUMNS, values, strict=True)))
    return csv_text(rows, COLUMNS)


def headline(results: ResultTable, task: TableTask) -> str:
    """A task's protocol, features, selection and seeds; which tasks a mean is of."""
    conditions = results.conditions.get(task.protocol)
    return f"{task.title}: {conditions}" if conditions else task.title


def cells(results: ResultTable, task: TableTask, row: ResultRow) -> list[str]:
    """Ours, the paper's and the difference for each column, as text."""
    return [text for column in task.metrics for text in _texts(row.cells[column], results.scale[1])]


def remark(notes: TableNotes, row: ResultRow) -> str:
    """The letters of a row's notes, behind `cited` or `not run`."""
    return "; ".join(
        [*([row.state] if row.state in PLAIN_STATES else []), *filter(None, [", ".join(notes.letters_of(row))])]
    )


def _texts(cell: ResultCell, decimals: int) -> Sequence[str]:
    """Ours, the paper's, and the difference."""

    def rounded(value: float | None, sign: str = "") -> str:
        return "" if value is None else f"{value:{sign}.{decimals}f}"

    spread = "" if cell.deviation is None else f" ± {rounded(cell.deviation)}"
    published = "" if cell.published is None else max(rounded(cell.published), str(cell.published), key=len)
    return rounded(cell.mean) + spread + MARK * cell.differs, published, rounded(cell.difference, "+")


def _measure(task: TableTask, column: str, row: ResultRow) -> str:
    measure = task.metrics[column]
    return f"{measure} without {row.row.without}" if row.row.without else measure


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
