"""docs/notebooks run from the first cell to the last, and their files have outputs to look at."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from notebook_runs import KernelError, run_notebook
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
    run_notebook(notebook, tmp_path)


def test_a_broken_notebook_is_found(tmp_path: Path) -> None:
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="division by zero"):
        run_notebook(broken, tmp_path)


@pytest.mark.parametrize("command", ["/no/such/python", "false"])
def test_a_broken_kernel_is_one_line_with_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    spec = tmp_path / "kernels" / "gone" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": [command], "display_name": "gone", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    for kernel in ("gone", "absent"):
        with pytest.raises(
            KernelError, match=f"^the notebook kernel {kernel} is broken: .*pip install ipykernel"
        ) as found:
            run_notebook(notebook, tmp_path, kernel=kernel)
        assert "\n" not in str(found.value)
