"""`emofuse store verify`, `merge`, `copy`, `rm`, `repack`, `add`: check stores and make new ones of them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.console import printable, say, size
from emofuse.common.errors import DAMAGED, EXCLUDED, UsageError, command
from emofuse.common.location import Location, LocationType

if TYPE_CHECKING:
    from emofuse.manifests.schema import Manifest
    from emofuse.store.core.spec import Modality
    from emofuse.store.inspect.verify import Verified

MODALITIES: tuple[Modality, ...] = ("audio", "text")
STORE = click.argument("file", type=LocationType())
unchanged = functools.partial(command, interrupted="interrupted; nothing has changed")


def local(file: Location) -> Path:
    """A file on a disk.

    Raises:
        UsageError: A URL.
    """
    if isinstance(file, str):
        raise UsageError(f"{file} can only be read: `emofuse store copy {file} FILE` takes a copy that can be changed")
    return file


@click.command()
@click.argument("file", type=LocationType())
@click.option("--quick", is_flag=True, help="Leave the values unread.")
@click.option("--repair", "mend", is_flag=True, help="Drop what is damaged, so that `extract` fills it again.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="With --repair, where the manifest itself is damaged: the same one, as JSON Lines or in another store.",
)
@unchanged
def verify(file: Location, quick: bool, mend: bool, manifest: Path | None) -> None:
    """Read every value of FILE against its checksum; exit code 3 when something is damaged.

    --repair drops exactly the damaged utterances from their feature, and a feature whose index is damaged; everything
    else stays, and the same `extract` command as ever computes what is missing.
    """
    from emofuse.store.inspect.verify import repair, repair_manifest
    from emofuse.store.inspect.verify import verify as verify_store

    if quick and mend:
        raise UsageError("--repair must read the values: leave out --quick")
    if mend:
        file = local(file)
    if manifest is not None:
        if not mend:
            raise UsageError("--manifest belongs to --repair: give both")
        repair_manifest(local(file), _manifest_of(manifest))
        say(f"{file}: its manifest is whole again")
    found = verify_store(file, quick=quick)
    _tell(found, quick)
    if not found:
        say("manifest: sound; no feature")
    if all(f.sound for f in found):
        return
    if not mend:
        advice = f"`emofuse store verify --repair {file}` drops it; `extract` then fills it again"
        if any(f.foreign for f in found):
            advice = f"`emofuse store repack {file}` undoes the other program's layout; nothing is lost"
        elif any(f.unwritten for f in found):
            advice = "it is under way: the `extract` that writes it goes on"
        print(advice, file=sys.stderr)
        sys.exit(DAMAGED)
    repair(local(file), found)
    say(f"dropped from {file}; run the `extract` command that made it again")


def _tell(found: Sequence[Verified], quick: bool) -> None:
    for f in found:
        if f.lost:
            say(f"{printable(f.feature)}: {'' if f.foreign else 'lost. '}{printable(f.lost, 400)}")
            continue
        state = "sound" if f.sound else f"{len(f.damaged)} damaged" if f.damaged else "not complete"
        if f.unwritten:
            state += f", {f.unwritten} not yet written"
        read = "values not read" if quick else f"{size(f.bytes)} read"
        say(f"{printable(f.feature)}: {f.utterances} utterances, {read}, {state}")
        for id in f.damaged:
            say(f"  damaged: {printable(id)}")
        if f.stale:
            say(f"  {len(f.stale)} utterances are stale (audio or text has changed); `extract` computes them again")


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=LocationType())
@click.option("--prefer-first", is_flag=True, help="Where rows or values differ, take the first store's.")
@unchanged
def merge(target: Path, sources: Sequence[Location], prefer_first: bool) -> None:
    """Write TARGET with all that SOURCES hold: shards of one feature, or two people's stores of one corpus.

    Values are copied as they are. What the stores hold differently is named, and nothing is written. TARGET may be
    one of the sources.
    """
    from emofuse.store.edit.merge import merge as merge_stores

    done = merge_stores(target, sources, prefer_first=prefer_first)
    for conflict in done.settled[:20]:
        say(f"taken from the first: {printable(conflict, 400)}")
    if len(done.settled) > 20:
        say(f"... and {len(done.settled) - 20} more")
    held = ", ".join(f"{printable(name)} {n}" for name, n in done.features.items())
    say(f"{target}: {done.utterances} utterances; {held or 'no feature'}")
    for name, numbers in done.absent.items():
        shown = ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")
        said = f"{printable(name)}: utterances are lacking, and these shards are not among the stores: {shown}"
        print(said, file=sys.stderr)
    for name, count in done.lacking.items():
        why = "shards of one --limit and one --budget hold all between them"
        print(f"{printable(name)}: {count} utterances are in none of the shards; {why}", file=sys.stderr)
    if done.absent or done.lacking:
        sys.exit(EXCLUDED)


@click.command()
@click.argument("source", type=LocationType())
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--features", help="Names, separated by commas [all].")
@click.option("--dtype", type=click.Choice(["fp16", "fp32", "bf16", "int8"]), help="Store the values so [as they are].")
@click.option("--no-text", is_flag=True, help="Leave out the texts; a digest of each stays.")
@unchanged
def copy(source: Location, target: Path, features: str | None, dtype: str | None, no_text: bool) -> None:
    """Write TARGET, a slim store to share, from SOURCE (a file or a URL)."""
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.core.spec import DTYPES
    from emofuse.store.edit.rewrite import copy as copy_store

    names = [name.strip() for name in (features or "").split(",") if name.strip()]
    with FeatureStore(source) as store:
        stored = "int8" if dtype == "int8" else DTYPES[dtype] if dtype else None
        copy_store(store, target, names, stored, no_text=no_text)
    say(f"{target}: {size(target.stat().st_size)}")


@click.command()
@STORE
@click.argument("features", nargs=-1)
@click.option("--utterance", "utterances", multiple=True, help="An utterance's id; give it again for more.")
@click.option("--speaker", "speakers", multiple=True, help="Every utterance of a speaker.")
@click.option("--keep-out", is_flag=True, help="Keep the ids, as excluded: `extract` never adds them again.")
@unchanged
def rm(file: Location, features: Sequence[str], **who: Any) -> None:
    """Remove FEATURES, or utterances, from FILE, and give their space back.

    A removed utterance leaves manifest, features, and what is under way beside the file; take its clip out of the
    corpus folder too, or give --keep-out, or the next `extract` adds it again.
    """
    from emofuse.store.edit.rewrite import remove_features, remove_utterances

    path = local(file)
    if bool(features) == bool(who["utterances"] or who["speakers"]):
        raise UsageError("name features to remove, or utterances with --utterance or --speaker; one of the two")
    if who["keep_out"] and features:
        raise UsageError("--keep-out is about utterances: a feature can always be extracted again")
    if features:
        freed = remove_features(path, features)
        say(f"{file}: without {', '.join(map(printable, features))}; {size(freed)} freed")
        return
    done = remove_utterances(path, who["utterances"], who["speakers"], keep_out=who["keep_out"])
    held = ", ".join(f"{printable(name)} {n}" for name, n in done.features.items())
    say(f"{file}: {done.utterances} utterances removed ({held or 'no feature'}); {size(done.freed)} freed")


def _manifest_of(path: Path) -> Manifest:
    """A manifest from JSON Lines, or from another store."""
    from emofuse.manifests.jsonl import read_manifest
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.hdf5.file_types import is_hdf5

    if not is_hdf5(path):
        return read_manifest(path)
    with FeatureStore(path) as store:
        return store.manifest


@click.command()
@STORE
@unchanged
def repack(file: Location) -> None:
    """Write FILE anew, also where another program has compressed it, and look at every value.

    Exit code 3: values are damaged; they are carried along, and named.
    """
    from emofuse.store.edit.repack import repack as repack_store

    path = local(file)
    done = repack_store(path)
    freed = f"{size(done.freed)} freed" if done.freed >= 0 else f"{size(-done.freed)} larger than before"
    say(f"{file}: {size(path.stat().st_size)}, {freed}")
    for feature, ids in done.damaged.items():
        say(f"{printable(feature)}: {len(ids)} damaged, {', '.join(map(printable, ids[:10]))} first")
    if done.damaged:
        print(f"`emofuse store verify --repair {file}` drops them; `extract` then fills them again", file=sys.stderr)
        sys.exit(DAMAGED)


@click.command()
@STORE
@click.option(
    "--manifest", required=True, type=click.Path(path_type=Path), help="What `emofuse manifest` wrote of the corpus."
)
@unchanged
def add(file: Location, manifest: Path) -> None:
    """Let FILE know the utterances of a corpus that has grown; `extract` then encodes those alone."""
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.core.spec import source_digest
    from emofuse.store.edit.rewrite import add as add_to

    count = add_to(local(file), _manifest_of(manifest))
    with FeatureStore(file) as store:
        every = store.manifest.utterances
        having = {m: {u.id for u in every if getattr(u, m) is not None or source_digest(m, u)} for m in MODALITIES}
        lacking = {f.name: len(having[f.modality] - set(f.ids)) for f in store.features.values()}
    waiting = ", ".join(f"{printable(name)} lacks {n}" for name, n in lacking.items() if n)
    say(f"{file}: {count} utterances added{'; ' + waiting if waiting else ''}")
