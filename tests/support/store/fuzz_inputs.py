"""Mutations of stores, manifests and checkpoints: of bytes, of checksummed metadata, and of what the bytes mean."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hdf5_checksums import Span

MAGIC = (b"\0", b"\xff" * 4, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"OHDR", b"TREE", b"\x89HDF\r\n\x1a\n", b"[" * 300)
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e308, 10**12, -(2**63), 2**63, 10**400, float("nan"), float("inf"), "", "\0", "\ud800"),
    *("../../etc/passwd", "x" * 100_000, [], {}, {"a": {"b": []}}, [[[1]]], "\x1b[2J", "C:\\x", 0.5, "NaN"),
)


def bytes_mutated(data: bytes, rng: random.Random) -> bytes:
    """A few flips, insertions, deletions, moved pieces, or a cut."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at, length = rng.randrange(len(found) + 1), rng.choice((1, 2, 4, 8, 64, 512))
        match rng.randrange(7):
            case 0 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                found[at:at] = rng.randbytes(length)
            case 2:
                del found[at : at + length]
            case 3:
                found[at : at + length] = rng.randbytes(length)
            case 4:
                begin = rng.randrange(len(found) + 1)
                found[at : at + length] = found[begin : begin + length]
            case 5:
                word = rng.choice(MAGIC)
                found[at : at + len(word)] = word
            case 6 if rng.random() < 0.2:
                del found[at:]
    return bytes(found)


def metadata_mutated(data: bytes, spans: list[Span], rng: random.Random) -> bytes:
    """Changes of HDF5's metadata under checksums that are right again."""
    found = bytearray(data)
    for span in rng.sample(spans, rng.choice((1, 1, 1, 2, 3))):
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(span.start + 4, span.end)
            match rng.randrange(5):
                case 0:
                    found[at] ^= 1 << rng.randrange(8)
                case 1:
                    found[at] = rng.choice((0, 1, 2, 127, 128, 254, 255))
                case 2:
                    found[at : at + 8] = rng.choice((-1, 0, 1, 2**40, 2**62, len(data))).to_bytes(
                        8, "little", signed=True
                    )
                case 3:  # an address of something else
                    found[at : at + 8] = rng.choice(spans).start.to_bytes(8, "little")
                case 4:
                    found[at] = (found[at] + rng.choice((-1, 1))) % 256
        del found[len(data) :]
        span.mend(found)
    return bytes(found)


def store_rebuilt(path: Path, rng: random.Random) -> None:
    """One to three things of a store replaced through HDF5 itself."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(rng.choice((1, 1, 2, 3))):
            name = rng.choice(names)
            with contextlib.suppress(KeyError, RuntimeError):  # an earlier change has cut it off
                if isinstance(file.get(name, getlink=True), h5py.HardLink):
                    rng.choice(CHANGES)(file, name, rng)


def _attribute(file: h5py.File, name: str, rng: random.Random) -> None:
    node = file[name]
    where = node if len(node.attrs) else file
    key = rng.choice(list(where.attrs))
    value: Any = rng.choice(
        (
            0,
            -1,
            2**63 - 1,
            10**12,
            1e300,
            float("nan"),
            "",
            "x" * 500,
            "\x1b[2J",
            [1, 2],
            [],
            b"\xff\xfe",
            h5py.Empty("i8"),
        )
    )
    if rng.random() < 0.3:
        value = np.zeros(rng.choice(((3, 3), (1,), (7000,))), rng.choice(("i8", "f4", "S3", "u1")))
    del where.attrs[key]
    if rng.random() < 0.9:
        where.attrs.create(key, value)


def _replaced(file: h5py.File, name: str, rng: random.Random) -> None:
    old = file[name]
    shape = old.shape if isinstance(old, h5py.Dataset) else (3,)
    del file[name]
    kind = rng.choice(("i8", "u1", "f4", "f8", "S32", "i1", "u8", h5py.string_dtype(), np.dtype([("a", "i4")])))
    shape = rng.choice((shape, (0,), (1,), (10**12,), (2**62,), (2, 2), (), (*shape, 1), (max(1, *shape, 1) + 1,)))
    large = int(np.prod(shape, dtype=object)) > 10**6
    options: dict[str, Any] = {}
    if shape and 0 not in shape and (large or rng.random() < 0.4):
        options = {"chunks": tuple(min(64, n) for n in shape), "compression": rng.choice((None, "gzip"))}
    file.create_dataset(name, shape, kind, **options)


def _values(file: h5py.File, name: str, rng: random.Random) -> None:
    node = file[name]
    if not isinstance(node, h5py.Dataset) or not node.size or node.dtype.kind not in "iuf":
        return
    at = rng.randrange(len(node))
    odd = rng.choice((0, 1, -1, 127, 255, 2**31, 2**62, -(2**63), 2**63 - 1))
    with np.errstate(all="ignore"):
        node[at] = np.array(odd).astype(node.dtype) if abs(odd) < 2**63 else np.array(0, node.dtype)


def _link(file: h5py.File, name: str, rng: random.Random) -> None:
    target = rng.choice(["/", "/manifest", "/features", "/absent", f"/{name}", "/etc/passwd"])
    link = rng.choice((h5py.SoftLink(target), h5py.ExternalLink("/etc/passwd", target), None))
    if link is None:
        link = file[target] if target in file else h5py.SoftLink(target)
    del file[name]
    file[name] = link


def _removed(file: h5py.File, name: str, rng: random.Random) -> None:
    del file[name]


def _elsewhere(file: h5py.File, name: str, rng: random.Random) -> None:
    node = file[name]
    if not isinstance(node, h5py.Dataset):
        return
    shape, dtype = node.shape, node.dtype
    del file[name]
    if rng.random() < 0.5:
        layout = h5py.VirtualLayout(shape, dtype)
        file.create_virtual_dataset(name, layout)
    else:
        file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


CHANGES: tuple[Callable[[h5py.File, str, random.Random], None], ...] = (
    *(_attribute, _attribute, _replaced, _replaced, _values, _values, _link, _removed, _elsewhere),
)


def manifest_mutated(text: str, rng: random.Random) -> bytes:
    """Rows with odd keys and values, or odd lines."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(lines))
        if rng.random() < 0.1:
            lines[at] = rng.choice(("[" * 100_000, "", "null", "[]", '{"id":' * 5000, "9" * 5000, '{"a":1e999}'))
            continue
        row = json.loads(lines[at]) if lines[at].startswith("{") and lines[at].endswith("}") else {}
        row[rng.choice([*row, "extra", "turn", "start", "audio", "text_digest", "excluded", "new"])] = rng.choice(ODD)
        lines[at] = json.dumps(row)
    return ("\n".join(lines) + "\n").encode()


def checkpoint_mutated(data: bytes, rng: random.Random) -> bytes:
    """A header with odd values, with a correct length."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"]["emofuse"])
    key = rng.choice([k for k in header if k != "__metadata__"])
    match rng.randrange(5):
        case 0:
            about[rng.choice([*about])] = rng.choice(ODD)
        case 1:
            about["settings"][rng.choice([*about["settings"], "new"])] = rng.choice((*ODD, 10**6, 10**9))
        case 2:
            about["inputs"][rng.choice([*about["inputs"], "new"])] = rng.choice((*ODD, 10**9))
        case 3:
            header[key][rng.choice([*header[key]])] = rng.choice(
                ([0, 10**12], "F16", "I64", [10**6, 10**6], [-1], *ODD)
            )
        case 4:
            header[rng.choice(("standardise.audio.mean", "standardise.x", "y" * 1000))] = header.pop(key)
    metadata = rng.choice((json.dumps(about), json.dumps(about), json.dumps(rng.choice(ODD)), "[" * 100_000))
    header["__metadata__"]["emofuse"] = metadata if rng.random() < 0.2 else json.dumps(about)
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data[8 + length :]
