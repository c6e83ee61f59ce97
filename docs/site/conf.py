"""Sphinx configuration; `make docs` runs it on the pages that build.py has put together."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

from emofuse.common.source_version import package_version

project = "emofuse"
copyright = "emofuse's authors, Apache-2.0"
version = release = package_version()
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"emofuse {release}"
html_static_path = ["static"]
html_css_files = ["extra.css"]
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style, pygments_dark_style = "friendly", "github-dark"
smartquotes = False  # `--` is an option, not a dash
highlight_language = "text"  # indented blocks are commands, tables of files and output alike

_CODE = re.compile(r"(?<![`:])`([^`]+)`(?!`)")


def setup(app: Sphinx) -> None:
    """Read docstrings and the help of commands as they are written: code has single backticks, as in Markdown."""
    app.connect("autodoc-process-docstring", _mark_code, priority=400)  # napoleon's is 500
    for shown in ("description", "options", "arguments"):
        app.connect(f"sphinx-click-process-{shown}", _mark_code_of_command)


def _mark_code(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = [_CODE.sub(r"``\1``", line) for line in lines]


def _mark_code_of_command(app: Sphinx, context: object, lines: list[str]) -> None:
    lines[:] = [_CODE.sub(r"``\1``", line) for line in lines]
