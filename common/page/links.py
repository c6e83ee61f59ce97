"""Links from a page to other files, and the page in the reader's browser."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from urllib.parse import quote

from emofuse.common.output.console import Say, printable


def relative_link(file: Path, page_folder: Path) -> str | None:
    """The relative URL of a file, for a page in `page_folder`; None on another drive.

    `.` and `..` are resolved as a browser does it, without following symbolic links.
    """
    try:
        relative = os.path.relpath(os.path.abspath(file), os.path.abspath(page_folder))  # noqa: PTH100
    except ValueError:
        return None
    parts = [quote(os.fsencode(part), safe="") for part in Path(relative).parts]
    # A name such as `javascript:x.wav` is no scheme behind `./`.
    return "/".join(parts if parts and parts[0] == ".." else [".", *parts])


def open_page(path: Path, say: Say) -> None:
    """Open a page in the browser, or say that there is none."""
    try:
        opened = webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        opened = False
    if not opened:
        say(f"note: no browser was found here: open {printable(str(path), 400)} in one")
