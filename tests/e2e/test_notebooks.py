"""docs/notebooks run from the first cell to the last, and their files have outputs to look at."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from paths import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    shown = {mime for cell in notebook.cells for output in cell.get("outputs", ()) for mime in output.get("data", ())}
    assert {"image/png", "text/html"} <= shown, (
        "run it and save it with its outputs: jupyter nbconvert --execute --inplace"
    )
    assert path.stat().st_size < 200_000
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_a_broken_notebook_is_found(tmp_path: Path) -> None:
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="division by zero"):
        NotebookClient(broken, timeout=60).execute()
