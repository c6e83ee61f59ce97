"""`compare` from Python: one config in, a comparison out. The command `emofuse compare` calls it too."""

from __future__ import annotations

from typing import Any, Unpack, overload

from emofuse.common.console import Say, say
from emofuse.common.disk.files import write_atomically
from emofuse.common.option_values import checked_config
from emofuse.train.comparison import comparison_output as output
from emofuse.train.comparison.compare_config import CompareConfig, CompareOptions
from emofuse.train.comparison.comparison import Comparison, compare_runs

FORMATS = {
    "table": output.screen,
    "csv": output.comma_separated,
    "json": output.as_json,
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
        UsageError: Wrong options, runs that are not finished, or not of the same task and test utterances; all are
            named.
        DataError: A run is damaged.
    """
    config = checked_config(CompareConfig, config, options, say)
    found = compare_runs(
        config.folders(),
        baseline=config.baseline,
        metrics=config.metrics,
        unit=config.unit,
        missing_as_wrong=config.missing_as_wrong,
    )
    text = FORMATS[config.format](found).rstrip("\r\n")
    if config.out is None:
        say(text)
    else:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(config.out, f"{text}\n".encode())
        say(f"comparison: {config.out}")
    return found
