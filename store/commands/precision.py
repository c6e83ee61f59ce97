"""What `emofuse store info --precision` prints: how much each way of storing loses, and what it does to a score."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from emofuse.common.console import printable, say, size, table
from emofuse.common.errors import UsageError
from emofuse.common.location import Location


def measured(file: Location, fit: str | None) -> dict[str, Any]:
    """Measure, JSON-ready.

    Args:
        file: The store.
        fit: Arguments of `fit`, as one word of the shell; none: no score is measured.

    Raises:
        UsageError: `fit` refuses them, they name a store or run folder of their own, or the store lies behind a URL.
        DataError: Damaged values.
    """
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.inspect.precision import losses, score

    if fit is not None and isinstance(file, str):
        raise UsageError(f"--fit needs copies beside the store, which lies at {file}: take a copy of it first")
    words = [] if fit is None else _words(fit)
    with FeatureStore(file) as store:
        found: dict[str, Any] = {"losses": [asdict(loss) for f in store.features.values() for loss in losses(f)]}
    if fit is not None:
        assert not isinstance(file, str)
        found |= {"fit": fit, "scores": [asdict(s) for s in score(file, words)]}
    return found


def _words(fit: str) -> list[str]:
    """The arguments one by one.

    Raises:
        UsageError: A quotation mark that nothing closes, or an option that `info` itself gives to each fit.
    """
    try:
        words = shlex.split(fit)
    except ValueError as error:
        raise UsageError(f"--fit {fit!r} is no line of arguments: {error}") from None
    own = [o for o in ("--store", "--out") if any(w == o or w.startswith(f"{o}=") for w in words)]
    if own:
        raise UsageError(
            f"--fit {fit!r} holds {' and '.join(own)}: each fit gets a copy of FILE and a folder for a while; leave "
            f"{'it' if len(own) == 1 else 'them'} out"
        )
    return words


def tell(found: dict[str, Any]) -> None:
    """Print it for people."""
    from emofuse.store.inspect.precision import SHORT

    rows = []
    for loss in found["losses"]:
        exact = loss["decibels"] is None
        told = ("-", "-") if not loss["fits"] else ("exact", "0") if exact else _lost(loss)
        rows.append((printable(loss["feature"]), SHORT[loss["dtype"]], size(loss["bytes"]), *told))
    say(table(("feature", "stored as", "size", "signal to error", "largest error"), rows))
    held = {loss["feature"]: loss["reference"] for loss in found["losses"] if loss["reference"] != "float32"}
    for name, reference in held.items():
        say(f"{printable(name)} is stored as {SHORT[reference]}: what fp32 had beyond that is not known here")
    for loss in found["losses"]:
        if not loss["fits"]:
            say(f"{printable(loss['feature'])} has values that are too large for {SHORT[loss['dtype']]}")
    if "scores" not in found:
        return
    say(f"\nfit {found['fit']}: {found['scores'][0]['metric'].upper()} on test, the same folds and seeds for each")
    scored = [
        (
            SHORT[s["dtype"]],
            f"{s['mean']:.4f}{_around(s['deviation'])}",
            f"{s['difference']:+.4f}{_around(s['spread'])}",
        )
        for s in found["scores"]
    ]
    say(table(("stored as", "score", "difference, fold by fold"), scored))


def _around(deviation: float | None) -> str:
    return "" if deviation is None else f" ± {deviation:.4f}"


def _lost(loss: dict[str, Any]) -> tuple[str, str]:
    return f"{loss['decibels']:.1f} dB", f"{loss['largest']:.1e} of the largest value"
