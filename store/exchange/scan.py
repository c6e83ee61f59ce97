"""The first look at a source: every array is read once and judged, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError
from emofuse.common.progress import Progress
from emofuse.store.exchange.arrays import NUMERIC
from emofuse.store.exchange.registry import Bad, ForeignSource
from emofuse.store.exchange.report import shown

NAMED = 20
"""Problems that one message names."""
FP16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceScan:
    """What the arrays of a source are."""

    lengths: Mapping[str, int]
    """Id of the source -> frames, of those that are wanted."""
    digests: Mapping[str, str]
    """Id of the source -> digest of its array."""
    content: str
    """xxh3-128 over all ids and arrays of the source, in whatever order it has them."""
    shape: tuple[int, ...]
    """(D,) or (L, D)."""
    vectors: bool
    """Every array is one vector, without a time axis."""
    dtypes: frozenset[str]


def frames_of(array: NDArray[Any]) -> NDArray[Any]:
    """[T, D] or [T, L, D]; one vector becomes one frame."""
    return array[np.newaxis] if array.ndim == 1 else array


def digest_of(array: NDArray[Any] | Bad) -> str:
    """Digest of an array's type, shape and values, or of what is wrong with it."""
    if isinstance(array, Bad):
        return xxhash.xxh3_128_hexdigest(f"bad: {array.why}".encode())
    state = xxhash.xxh3_128(f"{array.dtype.newbyteorder('<').str} {array.shape}".encode())
    state.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).view(np.uint8).reshape(-1).data)
    return state.hexdigest()


def survey(
    source: ForeignSource, wanted: Mapping[str, str], keep_padding: bool, fp16: bool, progress: Progress
) -> SourceScan:
    """Read everything once.

    Args:
        wanted: The ids whose arrays are judged; the others only count towards the content.
        keep_padding: Frames that are all zero at an end are meant.
        fp16: The values go into float16.

    Raises:
        UsageError: Arrays that cannot be taken, up to 20 named.
        DataError: The same, where one of them is damaged.
    """
    lengths: dict[str, int] = {}
    digests: dict[str, str] = {}
    shapes: dict[tuple[int, ...], list[str]] = {}
    dtypes, vectors, problems, damaged = set(), 0, [], False
    for id, array in source.read():
        digests[id] = digest_of(array)
        progress.advance()
        if id not in wanted:
            continue
        fault = _fault(array, keep_padding or source.trimmed, fp16)
        if fault or isinstance(array, Bad):
            problems.append(f"{printable(id)}: {printable(fault or '', 240)}")
            damaged = damaged or (isinstance(array, Bad) and array.damaged)
            continue
        frames = frames_of(array)
        lengths[id] = len(frames)
        shapes.setdefault(frames.shape[1:], []).append(id)
        vectors += array.ndim == 1
        dtypes.add(array.dtype.name)
    if len(shapes) > 1:
        problems += [f"{len(ids)} utterances have frames of shape {shape}: {shown(ids, 5)}"
                     for shape, ids in shapes.items()]  # fmt: skip
    if problems:
        more = [f"... and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
        raise (DataError if damaged else UsageError)(
            "the source cannot be imported, nothing was written:\n"
            + "\n".join(f"  - {p}" for p in [*problems[:NAMED], *more])
        )
    state = xxhash.xxh3_128()
    for id in sorted(digests):
        state.update(f"{id}\0{digests[id]}\n".encode())
    return SourceScan(
        lengths=lengths,
        digests={id: digests[id] for id in lengths},
        content=state.hexdigest(),
        shape=next(iter(shapes)),
        vectors=vectors == len(lengths),
        dtypes=frozenset(dtypes),
    )


def _fault(array: NDArray[Any] | Bad, zeros: bool, fp16: bool) -> str | None:
    """What is wrong with one array."""
    if isinstance(array, Bad):
        return array.why
    if array.dtype.kind not in NUMERIC:
        return f"holds {array.dtype}, not plain numbers"
    if array.ndim not in (1, 2, 3):
        return f"has shape {array.shape}; [T, D], [T, L, D] or [D] is needed"
    frames = frames_of(array)
    if not len(frames):
        return "has no frames"
    if not frames[0].size:
        return f"has shape {array.shape}, frames without values"
    if not np.isfinite(frames).all():
        return f"{int((~np.isfinite(frames)).sum())} of its {frames.size} values are NaN or infinite"
    if fp16 and (largest := float(np.abs(frames).max())) > FP16_MAX:
        return f"value {largest:.0f} does not fit float16; import with --dtype bf16 or fp32"
    if not zeros:
        full = np.flatnonzero(frames.reshape(len(frames), -1).any(axis=1))
        before, after = (int(full[0]), len(frames) - 1 - int(full[-1])) if len(full) else (0, len(frames))
        if before or after:
            return (
                f"{before} frames at its beginning and {after} at its end are all zero, of {len(frames)}; is that "
                "padding? cut it off, or say --keep-padding if these are values"
            )
    return None
