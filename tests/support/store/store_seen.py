"""Reads everything of a store, and runs work in a child that may crash."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emofuse.store import FeatureStore

SECONDS = 120
"""Time limit of a child."""


def read_everything(path: Path) -> dict[str, Any]:
    """Everything that a reader can get of a store, as plain values, without the features that are reported as damaged.

    Raises:
        EmofuseError: The damage was noticed.
    """
    with FeatureStore(path) as store:
        found: dict[str, Any] = {"manifest": store.manifest, "corpus": store.corpus}
        for name, f in store.features.items():
            if not f.complete:
                continue
            read = f.read(f.ids)
            values = (read.values.tobytes(), read.values.dtype, read.values.shape, read.lengths.tobytes())
            described = (f.spec, json.dumps([f.fingerprint, f.provenance], sort_keys=True), f.stale, f.sources, f.ids)
            found[name] = (*values, *described, f.marks().tobytes())
        return found


def in_child(work: Callable[[], Any], log: Path) -> Any:
    """The JSON value that `work` returns in a forked child, whose stderr goes to `log`."""
    answer = log.with_suffix(".json")
    answer.unlink(missing_ok=True)
    process = os.fork()
    if not process:
        signal.alarm(SECONDS)
        os.dup2(os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC), 2)
        try:
            answer.write_text(json.dumps(work()))
        except BaseException:
            os.write(2, traceback.format_exc().encode())
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    last = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
    assert status == 0, f"exit {status} after {last}"
    return json.loads(answer.read_text())
