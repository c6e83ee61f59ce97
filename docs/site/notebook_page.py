"""Notebooks as pages: cells, their output and their pictures, as the notebook's file has them."""

from __future__ import annotations

from pathlib import Path

from nbconvert import MarkdownExporter


def write_notebook_pages(notebooks: Path, out: Path) -> None:
    """Write one Markdown page per notebook, and its pictures beside it."""
    out.mkdir(parents=True, exist_ok=True)
    for notebook in sorted(notebooks.glob("*.ipynb")):
        exporter = MarkdownExporter()  # type: ignore[no-untyped-call]
        text, resources = exporter.from_filename(
            str(notebook), {"unique_key": notebook.stem, "output_files_dir": "pictures"}
        )
        for name, content in resources["outputs"].items():
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_bytes(content)
        (out / f"{notebook.stem}.md").write_text(text, encoding="utf-8")
