"""Builds the documentation as a site: `python docs/site/build.py [FOLDER]`; warnings are errors.

The source of the site is docs/, the pages outside it (README.md as the home page, FORMAT.md, ...) and pages made from
the code. They are put together in a temporary folder, in which links that are right in the repository lead to the
page that shows the file.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path, PurePosixPath

from contents import CONTENTS
from generated_pages import generated_pages
from notebook_page import write_notebook_pages
from sphinx.cmd.build import build_main

SITE = Path(__file__).resolve().parent
DOCS, ROOT = SITE.parent, SITE.parents[1]
PAGES_OF_FILES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "benchmarks/NOTES.md": "benchmarks.md",
    "store/FORMAT.md": "reference/format.md",
    "manifests/protocols": "reference/protocol-list.md",
    "train/models": "reference/models.md",
}
"""Files and folders outside docs/, and the page that shows them."""
NOT_PAGES = ("examples", "site", "notebooks")
_LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]+)?\)")
_PICTURE = re.compile(r'<picture>.*?srcset="([^"]+)".*?<img[^>]*alt="([^"]+)"[^>]*src="([^"]+)".*?</picture>', re.S)


def main(out: str = "site") -> int:
    """Build into a folder; returns Sphinx's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        write_source(source)
        quiet = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(SITE), "-d", str(source / ".cache")]
        return build_main([*quiet, str(source), out])


def write_source(source: Path) -> None:
    """Put all pages together, each at its address."""
    shutil.copytree(DOCS, source, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_PAGES))
    write_notebook_pages(DOCS / "notebooks", source / "notebooks")
    for file, page in PAGES_OF_FILES.items():
        if file.endswith(".md"):
            _write(source / page, (ROOT / file).read_text(encoding="utf-8"))
    for page, text in generated_pages().items():
        _write(source / page, text)
    for path in source.rglob("*.md"):
        page = path.relative_to(source).as_posix()
        text = _PICTURE.sub(_two_images, path.read_text(encoding="utf-8"))
        _write(path, lead_links(text, page))
    with (source / "index.md").open("a", encoding="utf-8") as home:
        home.write(CONTENTS)


def lead_links(text: str, page: str) -> str:
    """A page with its links to files of the repository changed to links to pages; a file without one is plain text."""
    origin = PurePosixPath(next((file for file, shown in PAGES_OF_FILES.items() if shown == page), f"docs/{page}"))

    def lead(found: re.Match[str]) -> str:
        picture, name, link, anchor = found[1], found[2], found[3], found[4] or ""
        target = os.path.normpath(origin.parent / link)
        shown = PAGES_OF_FILES.get(target)
        if target.startswith("docs/") and not target.startswith(("docs/examples", "docs/site")):
            shown = target.removeprefix("docs/").replace(".ipynb", ".md")
        if shown is None and picture:
            raise ValueError(f"{page} shows {link}, which is no file of docs/")
        return f"{picture}[{name}]({os.path.relpath(shown, PurePosixPath(page).parent)}{anchor})" if shown else name

    return _LINK.sub(lead, text)


def _two_images(found: re.Match[str]) -> str:
    """A picture in two versions, in the theme's way."""
    dark, alt, light = found.groups()
    shown = ((light, "only-light"), (dark, "only-dark"))
    return "\n\n".join(f"![{alt}]({path}){{.{kind}}}" for path, kind in shown)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
