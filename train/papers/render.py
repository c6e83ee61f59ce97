"""A sheet as text for the screen, Markdown, LaTeX (booktabs) and CSV; each says what must be said with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from emofuse.common.console import printable, table
from emofuse.common.disk.files import put
from emofuse.manifests.protocol import METRICS
from emofuse.train.papers.results import Cell, Line, Sheet
from emofuse.train.papers.table import TableTask

COLUMNS = (
    *("table", "task", "row", "column", "measure", "unit", "ours", "std", "folds_x_seeds", "paper", "difference"),
    *("state", "conditions", "marks", "notes", "run"),
)
HEAD = ("ours", "paper", "ours - paper")


def write(sheet: Sheet, folder: Path) -> None:
    """Write table.csv, table.md and table.tex."""
    folder.mkdir(parents=True, exist_ok=True)
    put(folder / "table.md", markdown(sheet).encode())
    put(folder / "table.tex", latex(sheet).encode())
    put(folder / "table.csv", comma_separated(sheet).encode())


def caption(sheet: Sheet) -> str:
    """One line: which table, of which paper, about what."""
    return f"{sheet.table.paper}, {sheet.table.where}: {sheet.table.about}"


def warnings(sheet: Sheet) -> list[str]:
    """Why these are not the paper's own conditions; said in every output."""
    return [f"NOT the paper's own conditions: {'; '.join(sheet.marks)}."] if sheet.marks else []


def under(sheet: Sheet) -> list[str]:
    """What stands under the table: definitions, the table's notes, what is left out."""
    used = {m for t in sheet.run_tasks for m in t.metrics.values()}
    told = [f"{METRICS[m]}." for m in METRICS if m in used]
    told += ["Recall of a class: the share of its utterances that were found."] if used - set(METRICS) else []
    told += ["Ours: mean ± standard deviation over folds and seeds. The paper's figures stand as printed."]
    told += [f"{protocol} is left out: {reason}." for protocol, reason in sheet.left_out.items()]
    return [*told, *sheet.table.notes, *sheet.remarks]


def screen(sheet: Sheet) -> str:
    """Plain text, aligned."""
    lines = [caption(sheet), *warnings(sheet)]
    for task in sheet.run_tasks:
        columns = [f"{c} {h}" for c in task.metrics for h in ("ours", "paper", "diff")]
        rows = [[x.row.name, *_cells(sheet, task, x), _told(x)] for x in sheet.of(task)]
        lines += ["", _headline(sheet, task), table(["", *columns, ""], rows)]
    return "\n".join([*(printable(line, 400) if "\n" not in line else line for line in lines), "", *under(sheet)])


def markdown(sheet: Sheet) -> str:
    """GitHub's tables."""
    lines = [f"# {caption(sheet)}", "", *(f"**{w}**\n" for w in warnings(sheet))]
    for task in sheet.run_tasks:
        columns = [f"{c} {h}" for c in task.metrics for h in HEAD]
        lines += [f"## {_headline(sheet, task)}", "", _piped(["", *columns, "note"])]
        lines.append(_piped(["---", *["---:" for _ in columns], "---"]))
        lines += [_piped([x.row.name, *_cells(sheet, task, x), _told(x)]) for x in sheet.of(task)]
        lines.append("")
    return "\n".join([*lines, *(f"- {told}" for told in under(sheet))]) + "\n"


def latex(sheet: Sheet) -> str:
    """One table environment per task, for a preamble with booktabs."""
    blocks = []
    for task in sheet.run_tasks:
        groups = "".join(rf" & \multicolumn{{3}}{{c}}{{{_escaped(c)}}}" for c in task.metrics)
        heads = "".join(f" & {h}" for _ in task.metrics for h in ("ours", "paper", "diff."))
        body = [
            " & ".join([_first_cell(x.row.name), *(_escaped(c) for c in _cells(sheet, task, x))]) + r" \\"
            for x in sheet.of(task)
        ]
        told = " ".join([f"{caption(sheet)}. {_headline(sheet, task)}.", *warnings(sheet), *_footnotes(sheet, task)])
        blocks.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{_escaped(told)}}}",
                    rf"\begin{{tabular}}{{l{'rrr' * len(task.metrics)}}}",
                    r"\toprule",
                    rf"{groups} \\",
                    rf"{heads} \\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}",
                    rf"\par\footnotesize {_escaped(' '.join(under(sheet)))}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(blocks) + "\n"


def comma_separated(sheet: Sheet) -> str:
    """One line per figure, in the paper's unit."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for task in sheet.table.tasks:
        for x in sheet.of(task):
            notes = "; ".join([*_notes(x), *(sheet.remarks if x.state == "run" else [])])
            for column, cell in x.cells.items():
                figures = [cell.mean, cell.deviation, cell.count, cell.published, cell.difference]
                writer.writerow(
                    [sheet.table.name, task.protocol, x.row.name, column, _measure(task, column, x), sheet.table.unit]
                    + ["" if f is None else round(f, 6) for f in figures]
                    + [x.state, sheet.protocols.get(task.protocol, ""), "; ".join(sheet.marks), notes, x.run]
                )
    return text.getvalue()


def _headline(sheet: Sheet, task: TableTask) -> str:
    told = sheet.protocols.get(task.protocol)
    return f"{task.protocol}: {told}" if told else task.protocol


def _cells(sheet: Sheet, task: TableTask, line: Line) -> list[str]:
    return [text for column in task.metrics for text in _texts(line.cells[column], sheet.scale[1])]


def _texts(cell: Cell, decimals: int) -> Sequence[str]:
    def shown(value: float | None, sign: str = "") -> str:
        return "" if value is None else f"{value:{sign}.{decimals}f}"

    spread = "" if cell.deviation is None else f" ± {shown(cell.deviation)}"
    printed = "" if cell.published is None else max(shown(cell.published), str(cell.published), key=len)
    return shown(cell.mean) + spread, printed, shown(cell.difference, "+")


def _measure(task: TableTask, column: str, line: Line) -> str:
    measure = task.metrics[column]
    return f"{measure} without {line.row.without}" if line.row.without else measure


def _notes(line: Line) -> list[str]:
    return list(line.notes) if line.state == "run" else [n for n in (line.row.note,) if n]


def _told(line: Line) -> str:
    return "; ".join([*([] if line.state == "run" else [line.state]), *_notes(line)])


def _footnotes(sheet: Sheet, task: TableTask) -> list[str]:
    return [f"{x.row.name}: {told}." for x in sheet.of(task) if (told := _told(x))]


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


_LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
_LATEX |= {c: f"\\{c}" for c in "&%$#_{}"}


def _first_cell(text: str) -> str:
    # After a line break or a rule, LaTeX takes an opening bracket for an option of theirs.
    return f"{{}}{_escaped(text)}" if text.startswith(("[", "*")) else _escaped(text)


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)
