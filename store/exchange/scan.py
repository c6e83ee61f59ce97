"""The first pass over a source: every array is read once and checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.console import printable
from emofuse.common.output.progress import Progress
from emofuse.store.exchange.join_report import first_ids
from emofuse.store.exchange.records import NUMERIC_KINDS, ForeignSource, Unusable

NAMED_PROBLEMS = 20
"""Problems that one message names."""
LARGEST = {
    "float16": float(np.finfo(np.float16).max),
    "bfloat16": float(np.ldexp(2 - 2.0**-7, 127)),
    "float32": float(np.finfo(np.float32).max),
}
"""The largest value that each stored type can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceScan:
    """What the scan found out about a source's arrays."""

    lengths: Mapping[str, int]
    """Id of the source -> frames, of the wanted ids."""
    digests: Mapping[str, str]
    """Id of the source -> digest of its array, of the wanted ids."""
    content: str
    """xxh3-128 over all ids and arrays of the source; it does not depend on their order."""
    frame_shape: tuple[int, ...]
    """(D,) or (L, D)."""
    vectors: bool
    """Whether every array is one vector, without a time axis."""
    dtypes: frozenset[str]


@dataclass(slots=True)
class _Findings:
    """What has been collected so far."""

    lengths: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    shapes: dict[tuple[int, ...], list[str]] = field(default_factory=dict)
    dtypes: set[str] = field(default_factory=set)
    vectors: int = 0
    problems: list[str] = field(default_factory=list)
    damaged: bool = False

    def add_sound(self, id: str, array: NDArray[Any]) -> None:
        frames = as_frames(array)
        self.lengths[id] = len(frames)
        self.shapes.setdefault(frames.shape[1:], []).append(id)
        self.vectors += array.ndim == 1
        self.dtypes.add(array.dtype.name)

    def refuse_problems(self) -> None:
        problems = self.problems
        if len(self.shapes) > 1:
            problems = problems + [
                f"{len(ids)} utterances have frames of shape {shape}: {first_ids(ids, 5)}"
                for shape, ids in self.shapes.items()
            ]
        if problems:
            more = [f"... and {len(problems) - NAMED_PROBLEMS} more"] if len(problems) > NAMED_PROBLEMS else []
            raise (DataError if self.damaged else UsageError)(
                "the source cannot be imported, nothing was written:\n"
                + "\n".join(f"  - {p}" for p in [*problems[:NAMED_PROBLEMS], *more])
            )

    def content(self) -> str:
        state = xxhash.xxh3_128()
        for id in sorted(self.digests):
            state.update(f"{id}\0{self.digests[id]}\n".encode())
        return state.hexdigest()


def as_frames(array: NDArray[Any]) -> NDArray[Any]:
    """[T, D] or [T, L, D]; a vector [D] becomes one frame."""
    return array[np.newaxis] if array.ndim == 1 else array


def array_digest(array: NDArray[Any] | Unusable) -> str:
    """Digest of an array's type, shape and values, or of why it is unusable."""
    if isinstance(array, Unusable):
        return xxhash.xxh3_128_hexdigest(f"bad: {array.reason}".encode())
    state = xxhash.xxh3_128(f"{array.dtype.newbyteorder('<').str} {array.shape}".encode())
    state.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).view(np.uint8).reshape(-1).data)
    return state.hexdigest()


def scan_source(
    source: ForeignSource, wanted: Mapping[str, str], keep_padding: bool, dtype: str, progress: Progress
) -> SourceScan:
    """Read everything once.

    Args:
        source: The opened source.
        wanted: The ids whose arrays are checked; the others only count towards the content digest.
        keep_padding: Frames of zeros at an end are values.
        dtype: The type that the values will be stored as.
        progress: Advances with each array.

    Raises:
        UsageError: Arrays that cannot be imported, up to 20 named.
        DataError: The same, where one of them is damaged.
    """
    findings = _Findings()
    for id, array in source.read():
        findings.digests[id] = array_digest(array)
        progress.advance()
        if id not in wanted:
            continue
        if isinstance(array, Unusable):
            findings.damaged = findings.damaged or array.damaged
            problem: str | None = array.reason
        else:
            problem = _problem(array, keep_padding or source.has_lengths, dtype)
        if problem is not None:
            findings.problems.append(f"{printable(id)}: {printable(problem, 240)}")
        elif not isinstance(array, Unusable):
            findings.add_sound(id, array)
    findings.refuse_problems()
    return SourceScan(
        lengths=findings.lengths,
        digests={id: findings.digests[id] for id in findings.lengths},
        content=findings.content(),
        frame_shape=next(iter(findings.shapes)),
        vectors=findings.vectors == len(findings.lengths),
        dtypes=frozenset(findings.dtypes),
    )


def _problem(array: NDArray[Any], zeros_allowed: bool, dtype: str) -> str | None:
    """What is wrong with one array; None where nothing is."""
    if array.dtype.kind not in NUMERIC_KINDS:
        return f"holds {array.dtype}, not plain numbers"
    if array.ndim not in (1, 2, 3):
        return f"has shape {array.shape}; expected [T, D], [T, L, D] or [D]"
    frames = as_frames(array)
    if not len(frames):
        return "has no frames"
    if not frames[0].size:
        return f"has shape {array.shape}, frames without values"
    if not np.isfinite(frames).all():
        return f"{int((~np.isfinite(frames)).sum())} of its {frames.size} values are NaN or infinite"
    if (largest := float(np.abs(frames).max())) > LARGEST[dtype]:
        place = [int(i) for i in np.unravel_index(int(np.abs(frames).argmax()), frames.shape)]
        wider = "import with --dtype bf16 or fp32" if largest <= LARGEST["bfloat16"] else "correct it in the source"
        return f"value {largest:g} at {place} does not fit {dtype}; {wider}"
    return None if zeros_allowed else _padding(frames)


def _padding(frames: NDArray[Any]) -> str | None:
    """A question about frames of zeros at an end of [T, ...]; None where there are none."""
    nonzero = np.flatnonzero(frames.reshape(len(frames), -1).any(axis=1))
    before, after = (int(nonzero[0]), len(frames) - 1 - int(nonzero[-1])) if len(nonzero) else (0, len(frames))
    if not before and not after:
        return None
    return (
        f"of its {len(frames)} frames, {before} at the beginning and {after} at the end are all zero; is that "
        "padding? cut it off, or give --keep-padding if these are values"
    )
