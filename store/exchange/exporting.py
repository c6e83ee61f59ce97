"""Writes features of a store as another lab's format: beside its final place, put there by one rename."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.console import printable
from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError, complain
from emofuse.common.location import Location
from emofuse.common.progress import Progress
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature, FeatureStore
from emofuse.store.exchange.feature_metadata import Origin, describe
from emofuse.store.exchange.registry import FORMATS, Format
from emofuse.store.exchange.splits import sides_of
from emofuse.store.inspect.describe import has

BLOCK = 32 << 20
"""Bytes of frames that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What a format writes."""

    origin: Origin
    features: tuple[Feature, ...]
    utterances: tuple[Utterance, ...]
    """Those that have every feature, in the manifest's order."""
    sides: Mapping[str, str]
    """Utterance id -> train, valid or test; empty for formats without sides."""
    said: Mapping[str, Any]
    """What goes beside the values, so that an import knows it again."""
    progress: Progress

    def lengths(self, feature: Feature) -> list[int]:
        """Frames of each utterance."""
        return [int(feature.lengths[feature.position[u.id]]) for u in self.utterances]

    def read(self, feature: Feature) -> Iterator[tuple[Utterance, NDArray[Any]]]:
        """Each utterance with its frames, [T, D] or [T, L, D], float16 or float32; a block at a time."""
        for block in self.blocks():
            yield from self.read_block(feature, block)

    def blocks(self) -> Iterator[list[Utterance]]:
        """The utterances, cut so that the frames of a block are about `BLOCK` bytes."""
        block: list[Utterance] = []
        size = 0
        counts = zip(*(self.lengths(f) for f in self.features), strict=True)
        for u, frames in zip(self.utterances, counts, strict=True):
            cost = sum(n * f.spec.frame_bytes for n, f in zip(frames, self.features, strict=True))
            if block and size + cost > BLOCK:
                yield block
                block, size = [], 0
            block.append(u)
            size += cost
        if block:
            yield block

    def read_block(self, feature: Feature, block: Sequence[Utterance]) -> Iterator[tuple[Utterance, NDArray[Any]]]:
        """The utterances of one block, verified against their checksums."""
        ragged = feature.read([u.id for u in block])
        ends = np.cumsum(ragged.lengths)
        for u, end, frames in zip(block, ends.tolist(), ragged.lengths.tolist(), strict=True):
            yield u, ragged.values[end - frames : end]
            self.progress.advance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export did."""

    written: int
    lacking: tuple[str, ...]
    """Utterances with the modality that a feature does not hold."""
    stale: tuple[str, ...]
    """Utterances whose audio or text has changed since; never exported."""


def export(store: Location, to: str, features: Sequence[str], out: Path, valid: str | None = None,
           test: str | None = None, quiet: bool = False) -> Exported:  # fmt: skip
    """Write features of a store in the format `to`.

    Args:
        store: A path or a URL.
        out: A folder or file that does not exist yet, as the format has it.
        valid: `KEY=VALUE,...`: the utterances of the valid side, where the corpus has no split of its own.
        test: The same for the test side.

    Raises:
        UsageError: An unknown name, an option that has no effect, `out` exists, or the format cannot hold the features.
        DataError: The store is damaged.
    """
    chosen = FORMATS[to]
    with FeatureStore(store) as opened:
        held = tuple(opened.feature(name) for name in features)
        refuse(chosen, to, held, out, valid, test)
        stale = {id for f in held for id in f.stale}
        everyone = opened.manifest.utterances
        wanted = [u for u in everyone if any(has(u, f.modality) or u.id in f.position for f in held)]
        whole = [u for u in wanted if all(u.id in f.position for f in held)]
        going = tuple(u for u in whole if u.id not in stale)
        if not going:
            raise UsageError(f"{store}: no utterance has {' and '.join(features)} up to date; nothing was written")
        with Progress(len(going) * len(held), f"to {to}", "utterances", quiet=quiet) as progress:
            job = Export(
                origin=Origin(corpus=opened.corpus, reader=opened.manifest.reader, excluded=opened.manifest.excluded),
                features=held,
                utterances=going,
                sides=sides_of(going, valid, test) if chosen.sides else {},
                said=describe(opened.corpus, held),
                progress=progress,
            )
            write_beside(chosen, job, out)
    kept = {u.id for u in whole}
    return Exported(
        written=len(going),
        lacking=tuple(u.id for u in wanted if u.id not in kept),
        stale=tuple(u.id for u in whole if u.id in stale),
    )


def refuse(
    chosen: Format, to: str, features: Sequence[Feature], out: Path, valid: str | None, test: str | None
) -> None:
    """Refuse what the format cannot do, all at once.

    Raises:
        UsageError: Everything that is wrong.
    """
    problems = []
    if chosen.write is None:
        problems.append(f"{to} is only read; `--to parquet` writes what Hugging Face's datasets reads")
    if len(features) != 1 and not chosen.several:
        problems.append(f"{to} takes one --feature, got {len(features)}")
    if len({f.name for f in features}) != len(features):
        problems.append("a --feature is named twice")
    problems += [f"{to} has no layer axis; {f.name!r} has {len(f.layers)} layers" for f in features
                 if f.layers and not chosen.layered]  # fmt: skip
    problems += [f"feature {printable(f.name)!r} is not complete; run `extract` again" for f in features
                 if not f.complete]  # fmt: skip
    if not chosen.sides:
        problems += [f"{option} has no effect on {to}" for option, value in (("--valid", valid), ("--test", test))
                     if value is not None]  # fmt: skip
    if out.exists() and not (chosen.folder and out.is_dir() and not any(out.iterdir())):
        problems.append(f"--out {out} exists; name another place or remove it")
    complain(problems, f"cannot export to {to}")


def write_beside(chosen: Format, job: Export, out: Path) -> None:
    """Let the format write into a fresh place beside `out`, and put it there when it is whole.

    What an export that was killed has left there goes first.

    Raises:
        UsageError: Another process is exporting to `out`.
    """
    assert chosen.write is not None
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.exporting")
    refusal = f"another process is exporting to {out} ({{holder}}); wait for it or stop it"
    with lock(scratch.with_name(f"{scratch.name}.lock"), refusal):
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir()
            fresh = scratch if chosen.folder else scratch / out.name
            chosen.write(job, fresh)
            fresh.replace(out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
