"""The blocks of a page in order, also those inside others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from emofuse.common.page.blocks import Chart, Choice, ClassName, Details, Examples, Page, PagedTable, Sound, Table


def walk(blocks: Iterable[Any]) -> Iterator[Any]:
    """Each block, and after it what is inside it."""
    for block in blocks:
        yield block
        yield from walk(_inside(block))


def charts_of(blocks: Iterable[Any]) -> Iterator[Chart]:
    """The charts among blocks, also those of examples."""
    return (block for block in walk(blocks) if isinstance(block, Chart))


def tables_of(blocks: Iterable[Any]) -> Iterator[Table | PagedTable]:
    """The tables among blocks."""
    return (block for block in walk(blocks) if isinstance(block, (Table, PagedTable)))


def classes_of(page: Page) -> list[str]:
    """The classes of the page's task, then others that cells name."""
    blocks = list(walk(block for section in page.sections for block in section.blocks))
    cells = [cell for table in tables_of(blocks) for row in table.rows for cell in row]
    cells += [cell for b in blocks if isinstance(b, Examples) for e in b.examples for _, cell in e.facts]
    return [*page.classes, *sorted({cell.name for cell in cells if isinstance(cell, ClassName)} - {*page.classes})]


def sounds_of(blocks: Iterable[Any]) -> Iterator[Sound]:
    """The recordings among blocks: of cells and of examples."""
    for block in walk(blocks):
        if isinstance(block, (Table, PagedTable)):
            yield from (cell for row in block.rows for cell in row if isinstance(cell, Sound))
        if isinstance(block, Examples):
            yield from (example.sound for example in block.examples if example.sound is not None)


def _inside(block: Any) -> Iterable[Any]:
    match block:
        case Details():
            return block.blocks
        case Choice():
            return [option for _, option in block.options]
        case Examples():
            return [chart for example in block.examples for chart in example.charts]
    return ()
