"""`emofuse store verify`, `merge`, `copy`, `rm`, `repack`, `add`: check stores and make new ones of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.console import printable, say, size
from emofuse.common.errors import DAMAGED, UsageError, command

if TYPE_CHECKING:
    from emofuse.store.verify import Verified

STORE = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@click.argument("file")
@click.option("--quick", is_flag=True, help="Leave the values unread.")
@click.option("--repair", "mend", is_flag=True, help="Drop what is damaged, so that `extract` fills it again.")
@command
def verify(file: str, quick: bool, mend: bool) -> None:
    """Read every value of FILE against its checksum; exit code 3 when something is damaged.

    --repair drops exactly the damaged utterances from their feature, and a feature whose index is damaged; everything
    else stays, and the same `extract` command as ever computes what is missing.
    """
    from emofuse.store.verify import repair
    from emofuse.store.verify import verify as verify_store

    if quick and mend:
        raise UsageError("--repair must read the values: leave out --quick")
    found = verify_store(file, quick=quick)
    _tell(found, quick)
    if all(f.sound for f in found):
        return
    if not mend:
        print(f"`emofuse store verify --repair {file}` drops it; `extract` then fills it again", file=sys.stderr)
        sys.exit(DAMAGED)
    repair(Path(file), found)
    say(f"dropped from {file}; run the `extract` command that made it again")


def _tell(found: Sequence[Verified], quick: bool) -> None:
    for f in found:
        if f.lost:
            say(f"{printable(f.feature)}: lost. {printable(f.lost, 400)}")
            continue
        state = "sound" if f.sound else f"{len(f.damaged)} damaged" if f.damaged else "not complete"
        read = "values not read" if quick else f"{size(f.bytes)} read"
        say(f"{printable(f.feature)}: {f.utterances} utterances, {read}, {state}")
        for id in f.damaged:
            say(f"  damaged: {printable(id)}")
        if f.stale:
            say(f"  {len(f.stale)} utterances are stale (audio or text has changed); `extract` computes them again")


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--prefer-first", is_flag=True, help="Where rows or values differ, take the first store's.")
@command
def merge(target: Path, sources: Sequence[Path], prefer_first: bool) -> None:
    """Write TARGET with all that SOURCES hold: shards of one feature, or two people's stores of one corpus.

    Values are copied as they are. What the stores hold differently is named, and nothing is written. TARGET may be
    one of the sources.
    """
    from contextlib import ExitStack

    from emofuse.store.merge import merge as merge_stores
    from emofuse.store.reader import FeatureStore

    with ExitStack() as stack:
        done = merge_stores(target, [stack.enter_context(FeatureStore(s)) for s in sources], prefer_first=prefer_first)
    for conflict in done.settled[:20]:
        say(f"taken from the first: {printable(conflict, 400)}")
    if len(done.settled) > 20:
        say(f"... and {len(done.settled) - 20} more")
    held = ", ".join(f"{printable(name)} {n}" for name, n in done.features.items())
    say(f"{target}: {done.utterances} utterances; {held or 'no feature'}")


@click.command()
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--features", help="Names, separated by commas [all].")
@click.option("--dtype", type=click.Choice(["fp16", "fp32", "bf16", "int8"]), help="Store the values so [as they are].")
@click.option("--no-text", is_flag=True, help="Leave out the texts; a digest of each stays.")
@command
def copy(source: str, target: Path, features: str | None, dtype: str | None, no_text: bool) -> None:
    """Write TARGET, a slim store to share, from SOURCE (a file or a URL)."""
    from emofuse.store.edit import copy as copy_store
    from emofuse.store.reader import FeatureStore
    from emofuse.store.spec import DTYPES

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
@command
def rm(file: Path, features: Sequence[str], **who: Any) -> None:
    """Remove FEATURES, or utterances, from FILE, and give their space back.

    A removed utterance leaves manifest, features, and what is under way beside the file; take its clip out of the
    corpus folder too, or give --keep-out, or the next `extract` adds it again.
    """
    from emofuse.store.edit import remove_features, remove_utterances

    ids = [*who["utterances"], *_ids_of(file, who["speakers"])]
    if bool(features) == bool(ids):
        raise UsageError("name features to remove, or utterances with --utterance or --speaker; one of the two")
    if who["keep_out"] and features:
        raise UsageError("--keep-out is about utterances: a feature can always be extracted again")
    if features:
        freed = remove_features(file, features)
        say(f"{file}: without {', '.join(map(printable, features))}; {size(freed)} freed")
        return
    done = remove_utterances(file, ids, keep_out=who["keep_out"])
    held = ", ".join(f"{printable(name)} {n}" for name, n in done.features.items())
    say(f"{file}: {len(set(ids))} utterances removed ({held or 'no feature'}); {size(done.freed)} freed")


def _ids_of(file: Path, speakers: Sequence[str]) -> list[str]:
    from emofuse.common.errors import UnknownNameError
    from emofuse.store.reader import FeatureStore

    if not speakers:
        return []
    with FeatureStore(file) as store:
        known = store.manifest.counts("speaker")
        for speaker in speakers:
            if speaker not in known:
                raise UnknownNameError(f"speaker in {file}", speaker, known)
        return [u.id for u in store.manifest.utterances if u.speaker in speakers]


@click.command()
@STORE
@command
def repack(file: Path) -> None:
    """Write FILE anew, also where another program has compressed it; every value is checked on the way."""
    from emofuse.store.repack import repack as repack_store

    freed = repack_store(file)
    say(f"{file}: {size(file.stat().st_size)}, {size(freed)} freed" if freed >= 0 else f"{file}: {size(-freed)} larger")


@click.command()
@STORE
@click.option(
    "--manifest", required=True, type=click.Path(path_type=Path), help="What `emofuse manifest` wrote of the corpus."
)
@command
def add(file: Path, manifest: Path) -> None:
    """Let FILE know the utterances of a corpus that has grown; `extract` then encodes those alone."""
    from emofuse.manifests.schema import read_manifest
    from emofuse.store.edit import add as add_to
    from emofuse.store.reader import FeatureStore

    count = add_to(file, read_manifest(manifest))
    with FeatureStore(file) as store:
        lacking = {f.name: len(store.manifest) - len(f.lengths) for f in store.features.values()}
    waiting = ", ".join(f"{printable(name)} lacks {n}" for name, n in lacking.items() if n)
    say(f"{file}: {count} utterances added{'; ' + waiting if waiting else ''}")
