"""The output of `emofuse store info --precision`: the error of each dtype, and its effect on a fit's score."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.location import Location, is_remote
from emofuse.common.output.console import format_size, format_table, printable, say


def measure_precision(file: Location, fit: str | None) -> dict[str, Any]:
    """Measure what each dtype costs, ready for JSON.

    Args:
        file: The store.
        fit: Options of `fit` in one string, as a shell takes them; None measures no score.

    Raises:
        UsageError: `fit` refuses them, they name a store or a run folder, or the store is behind a URL.
        DataError: Damaged values.
    """
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.inspect.storage_precision import fit_scores, storage_errors

    if fit is not None and is_remote(file):
        raise UsageError(f"--fit needs space for copies beside the store, which is at {file}: make a local copy first")
    options = [] if fit is None else _split_options(fit)
    with FeatureStore(file) as store:
        errors = [error for feature in store.features.values() for error in storage_errors(feature)]
    result: dict[str, Any] = {"losses": [asdict(error) for error in errors]}
    if fit is not None:
        assert isinstance(file, Path)
        result |= {"fit": fit, "scores": [asdict(score) for score in fit_scores(file, options)]}
    return result


def _split_options(fit: str) -> list[str]:
    """The options one by one.

    Raises:
        UsageError: An unclosed quotation mark, or an option that `info` itself gives to each fit.
    """
    try:
        options = shlex.split(fit)
    except ValueError as error:
        raise UsageError(f"--fit {fit!r} is not a valid list of options: {error}") from None
    reserved = [name for name in ("--store", "--out") if any(o == name or o.startswith(f"{name}=") for o in options)]
    if reserved:
        raise UsageError(
            f"--fit {fit!r} contains {' and '.join(reserved)}: each fit gets a temporary copy of FILE and a temporary "
            f"folder; omit {'it' if len(reserved) == 1 else 'them'}"
        )
    return options


def print_precision(result: dict[str, Any]) -> None:
    """Print what `measure_precision` returned, as tables."""
    from emofuse.store.inspect.storage_precision import SHORT_NAMES

    errors = result["losses"]
    rows = [
        (printable(e["feature"]), SHORT_NAMES[e["dtype"]], format_size(e["bytes"]), *_error_cells(e)) for e in errors
    ]
    say(format_table(("feature", "stored as", "size", "signal to error", "largest error"), rows))
    references = {e["feature"]: e["reference"] for e in errors if e["reference"] != "float32"}
    for name, reference in references.items():
        say(f"{printable(name)} is stored as {SHORT_NAMES[reference]}: what was lost against fp32 is not known")
    for e in errors:
        if not e["fits"]:
            say(f"{printable(e['feature'])} has values that are too large for {SHORT_NAMES[e['dtype']]}")
    if "scores" not in result:
        return
    metric = result["scores"][0]["metric"].upper()
    say(f"\nfit {result['fit']}: {metric} on test, the same folds and seeds for each")
    scores = [
        (
            SHORT_NAMES[s["dtype"]],
            f"{s['mean']:.4f}{_plus_minus(s['deviation'])}",
            f"{s['difference']:+.4f}{_plus_minus(s['spread'])}",
        )
        for s in result["scores"]
    ]
    say(format_table(("stored as", "score", "difference, fold by fold"), scores))


def _error_cells(error: dict[str, Any]) -> tuple[str, str]:
    """Signal-to-error ratio and largest error."""
    if not error["fits"]:
        return "-", "-"
    if error["decibels"] is None:
        return "exact", "0"
    return f"{error['decibels']:.1f} dB", f"{error['largest']:.1e} of the largest value"


def _plus_minus(deviation: float | None) -> str:
    return "" if deviation is None else f" ± {deviation:.4f}"
