"""`compare` from Python: one config in, a comparison out. The command `emofuse compare` calls it too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack, overload

from emofuse.common.charts.drawing import require_report_extra
from emofuse.common.disk.outputs import write_output
from emofuse.common.option_values import checked_config
from emofuse.common.output.console import Say, format_size, printable, say
from emofuse.common.page.export import write_parts
from emofuse.common.page.links import open_page
from emofuse.common.page.render import render
from emofuse.train.comparison import comparison_output as output
from emofuse.train.comparison.compare_config import CompareConfig, CompareOptions
from emofuse.train.comparison.comparison import Comparison, compare_predictions, open_runs
from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.comparison.sentences import warnings

if TYPE_CHECKING:
    from emofuse.train.comparison.page.record import PageMaterial

FORMATS = {
    "table": output.screen,
    "csv": output.comma_separated,
    "json": output.as_json,
    "md": output.markdown,
    "latex": output.latex,
}


@overload
def compare(config: CompareConfig, /, *, say: Say = say) -> Comparison: ...
@overload
def compare(*, say: Say = say, **options: Unpack[CompareOptions]) -> Comparison: ...
def compare(config: CompareConfig | None = None, /, *, say: Say = say, **options: Any) -> Comparison:
    """Whether finished runs differ beyond chance: paired tests and intervals on the test utterances they share.

    Args:
        config: All options in one record.
        say: Prints the comparison; `lambda line: None` prints nothing.
        **options: Or the same options by name, as `CompareConfig` documents them.

    Raises:
        UsageError: Wrong options, a path that cannot be written, a missing package of the page, runs that are not
            finished, or not of the same task and test utterances; all are named.
        DataError: A run is damaged.
    """
    config = checked_config(CompareConfig, config, options, say)
    if config.has_page:
        require_report_extra()
    runs = open_runs(config.folders(), missing_as_wrong=config.missing_as_wrong)
    material = _material(config, runs)
    found = compare_predictions(runs, baseline=config.baseline, metrics=config.metrics, unit=config.unit)
    if material is not None:
        _write_page(config, found, runs, material, say)
    if not config.writes_parts:
        _write_text(config, found, say)
    if config.html is not None and config.open:
        open_page(config.html, say)
    return found


def _write_text(config: CompareConfig, found: Comparison, say: Say) -> None:
    """Print the comparison, or write it into the file that the user named."""
    text = FORMATS[config.format](found).rstrip("\r\n")
    if config.out is None:
        say(text.replace("\r\n", "\n"))  # of CSV
    else:
        write_output(config.out, f"{text}\n".encode())
        say(f"comparison: {printable(str(config.out), 400)}")


def _material(config: CompareConfig, runs: Sequence[RunPredictions]) -> PageMaterial | None:
    """What the page shows besides the runs' predictions; None where no page is made."""
    if not config.has_page:
        return None
    from emofuse.train.comparison.page.material import page_material

    return page_material(config, runs, config.html.parent if config.html is not None else None)


def _write_page(
    config: CompareConfig, found: Comparison, runs: Sequence[RunPredictions], material: PageMaterial, say: Say
) -> None:
    """Write the page, its charts or tables, as far as the user asks for them."""
    from emofuse.train.comparison.page.comparison_page import comparison_page
    from emofuse.train.comparison.page.record import letters_line

    page = comparison_page(found, runs, material)
    for remark in material.remarks():
        say(f"note: {printable(remark, 400)}")
    if config.html is not None:
        content = render(page).encode()
        write_output(config.html, content)
        say(f"page: {printable(str(config.html), 400)}, {format_size(len(content))}")
    if config.writes_parts:
        assert config.out is not None
        note = " ".join([letters_line([run.name for run in found.runs]), *warnings(found)])
        for file in write_parts(page, config.out, config.format, note):
            say(printable(str(file), 400))
