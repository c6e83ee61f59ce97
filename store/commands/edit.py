"""`emofuse store verify`, `merge`, `copy`, `rm`, `repack` and `add`: check and change stores."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DAMAGED, DONE, EXCLUDED, UsageError, command
from emofuse.common.location import Location, LocationType
from emofuse.common.output.console import format_size, plural, printable, say, say_json, warn
from emofuse.common.output.verbosity import stage

if TYPE_CHECKING:
    from emofuse.manifests.schema import Manifest
    from emofuse.store.inspect.verify import FeatureCheck

STORE = click.argument("file", type=LocationType())
all_or_nothing = functools.partial(command, interrupted="interrupted; nothing has changed")


def local_path(file: Location) -> Path:
    """The path of a store that can be changed.

    Raises:
        UsageError: A URL.
    """
    if not isinstance(file, Path):
        raise UsageError(f"{file} can only be read: `emofuse store copy {file} FILE` makes a copy that can be changed")
    return file


@click.command(short_help="Check every value against its checksum; repair.")
@STORE
@click.option("--quick", is_flag=True, help="Do not read the values.")
@click.option(
    "--repair",
    "mend",
    is_flag=True,
    help="Drop what is damaged, so that `extract` computes it again; complete the rest.",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="With --repair, if the manifest itself is damaged: the same manifest, as JSON Lines or in another store.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON; not with --repair.")
@verbosity_options
@all_or_nothing
def verify(file: Location, quick: bool, mend: bool, manifest: Path | None, as_json: bool) -> None:
    """Check every value of FILE against its checksum.

    --repair drops exactly the damaged utterances from their feature, and any feature whose index is damaged; everything
    else stays, and the same `extract` command as before computes what is missing. A feature whose values are all
    written, but that was never marked as complete, is completed. Exit code 3: something is damaged.
    """
    from emofuse.store.inspect.verify import repair, repair_manifest
    from emofuse.store.inspect.verify import verify as verify_store

    if quick and mend:
        raise UsageError("--repair must read the values: omit --quick")
    if as_json and (mend or manifest):
        raise UsageError("--json prints what a check finds: omit --repair and --manifest")
    if mend:
        file = local_path(file)
    if manifest is not None:
        if not mend:
            raise UsageError("--manifest belongs to --repair: give both")
        repair_manifest(local_path(file), _read_manifest(manifest))
        say(f"{file}: its manifest is repaired")
    with stage("checking every value"):
        checks = verify_store(file, quick=quick)
    if as_json:
        say_json({"path": str(file), "quick": quick, "features": [_facts(check) for check in checks]})
        sys.exit(DONE if all(check.intact for check in checks) else DAMAGED)
    _print_checks(checks, quick)
    if not checks:
        say("manifest: no damage; no features")
    if all(check.intact for check in checks):
        return
    if not mend:
        warn(_remedy(file, checks))
        sys.exit(DAMAGED)
    repair(local_path(file), checks)
    for line in _repairs(checks):
        say(line)


def _facts(check: FeatureCheck) -> dict[str, Any]:
    return {**asdict(check), "intact": check.intact}


def _print_checks(checks: Sequence[FeatureCheck], quick: bool) -> None:
    for check in checks:
        if check.unreadable:
            damage = "" if check.foreign else "unreadable. "
            say(f"{printable(check.feature)}: {damage}{printable(check.unreadable, 400)}")
            continue
        state = "no damage" if check.intact else f"{len(check.damaged)} damaged" if check.damaged else "not complete"
        if check.unwritten:
            state += f", {check.unwritten} not yet written"
        read = "values not read" if quick else f"{format_size(check.bytes)} read"
        say(f"{printable(check.feature)}: {plural(check.utterances, 'utterance')}, {read}, {state}")
        for id in check.damaged:
            say(f"  damaged: {printable(id)}")
        if check.stale:
            stale = f"{len(check.stale)} utterances are stale (audio or text has changed)"
            say(f"  {stale}; `extract` computes them again")


def _remedy(file: Location, checks: Sequence[FeatureCheck]) -> str:
    """What to do about a damaged or unfinished store."""
    if any(check.foreign for check in checks):
        return f"`emofuse store repack {file}` undoes the other program's layout; nothing is lost"
    if any(check.unwritten for check in checks):
        return "it is still in progress: the `extract` that writes it resumes"
    if all(check.only_incomplete or check.intact for check in checks):
        return f"all values are written: `emofuse store verify --repair {file}`, or the same `extract`, completes it"
    return f"`emofuse store verify --repair {file}` drops what is damaged; `extract` then computes it again"


def _repairs(checks: Sequence[FeatureCheck]) -> list[str]:
    """What a repair has done to each feature."""
    lines = []
    for check in (c for c in checks if not c.intact):
        name = printable(check.feature)
        if check.only_incomplete:
            lines.append(f"{name}: completed; all {plural(check.utterances, 'utterance')} kept")
        else:
            what = "the feature" if check.unreadable else plural(len(check.damaged), "utterance")
            lines.append(f"{name}: {what} dropped; run the `extract` command that computed it again")
    return lines


@click.command(short_help="Merge shards, or stores of one corpus.")
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=LocationType())
@click.option("--prefer-first", is_flag=True, help="Where rows or values differ, take those of the first store.")
@verbosity_options
@all_or_nothing
def merge(target: Path, sources: Sequence[Location], prefer_first: bool) -> None:
    """Merge SOURCES into TARGET: shards of one feature, or two people's stores of one corpus.

    Values are copied as they are. Where the stores contradict each other, every conflict is named and nothing is
    written. TARGET may be one of the sources. Exit code 1: merged, but utterances are missing (counted).
    """
    from emofuse.store.edit.merge import merge as merge_stores

    with stage("merging"):
        result = merge_stores(target, sources, prefer_first=prefer_first)
    for conflict in result.resolved[:20]:
        say(f"taken from the first: {printable(conflict, 400)}")
    if len(result.resolved) > 20:
        say(f"... and {len(result.resolved) - 20} more")
    say(f"{target}: {plural(result.utterances, 'utterance')}; {_counts(result.features)}")
    for name, numbers in result.missing_shards.items():
        shown = ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")
        problem = f"{printable(name)}: utterances are missing, and these shards are not among the stores: {shown}"
        warn(problem)
    for name, count in result.missing_utterances.items():
        hint = "shards of the same --limit and --budget together hold all"
        warn(f"{printable(name)}: {count} utterances are in none of the shards; {hint}")
    if result.missing_shards or result.missing_utterances:
        sys.exit(EXCLUDED)


@click.command(short_help="Write a smaller store to share.")
@click.argument("source", type=LocationType())
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--features", help="Names of features, separated by commas [all].")
@click.option(
    "--dtype",
    type=click.Choice(["fp16", "fp32", "bf16", "int8"]),
    help="Convert the values to this type [as they are].",
)
@click.option("--no-text", is_flag=True, help="Leave out the texts; keep a digest of each.")
@verbosity_options
@all_or_nothing
def copy(source: Location, target: Path, features: str | None, dtype: str | None, no_text: bool) -> None:
    """Write TARGET, a smaller store to share, from SOURCE (a file or a URL)."""
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.core.spec import DTYPES
    from emofuse.store.edit.rewrite import copy as copy_store

    names = [name.strip() for name in (features or "").split(",") if name.strip()]
    with FeatureStore(source) as store:
        stored = "int8" if dtype == "int8" else DTYPES[dtype] if dtype else None
        with stage("copying"):
            copy_store(store, target, names, stored, no_text=no_text)
    say(f"{target}: {format_size(target.stat().st_size)}")


@click.command(short_help="Remove features or utterances.")
@STORE
@click.argument("features", nargs=-1)
@click.option("--utterance", "utterances", multiple=True, help="An utterance's id; may be repeated.")
@click.option("--speaker", "speakers", multiple=True, help="All utterances of a speaker; may be repeated.")
@click.option("--keep-out", is_flag=True, help="Keep the ids as excluded, so that `extract` never adds them again.")
@verbosity_options
@all_or_nothing
def rm(file: Location, features: Sequence[str], **selected: Any) -> None:
    """Remove FEATURES, or utterances, from FILE, and free their space.

    An utterance is removed from the manifest, all features, and partial stores beside FILE. Also remove its clip from
    the corpus folder, or give --keep-out; otherwise the next `extract` adds it again.
    """
    from emofuse.store.edit.rewrite import remove_features, remove_utterances

    path = local_path(file)
    if bool(features) == bool(selected["utterances"] or selected["speakers"]):
        raise UsageError("name either features to remove, or utterances with --utterance or --speaker")
    if selected["keep_out"] and features:
        raise UsageError("--keep-out applies to utterances only: a feature can always be extracted again")
    if features:
        freed = remove_features(path, features)
        say(f"{file}: without {', '.join(map(printable, features))}; {format_size(freed)} freed")
        if copies := _copies_left(path, features):
            say(f"note: augmented copies of it stay; remove them: emofuse store rm {file} {' '.join(copies)}")
        return
    result = remove_utterances(path, selected["utterances"], selected["speakers"], keep_out=selected["keep_out"])
    removed = f"{plural(result.utterances, 'utterance')} removed ({_counts(result.features)})"
    say(f"{file}: {removed}; {format_size(result.freed)} freed")


def _copies_left(path: Path, features: Sequence[str]) -> list[str]:
    """The augmented copies of `features` in a store that no longer has the features themselves."""
    from emofuse.store.core.augmented import copied_name
    from emofuse.store.core.reader import FeatureStore

    with FeatureStore(path) as store:
        return [printable(f.name) for f in store.features.values() if f.is_copy and copied_name(f) in features]


def _counts(features: Mapping[str, int]) -> str:
    """Each feature with its number of utterances."""
    return ", ".join(f"{printable(name)} {n}" for name, n in features.items()) or "no features"


def _read_manifest(path: Path) -> Manifest:
    """The manifest in a JSON Lines file, or that of a store."""
    from emofuse.manifests.jsonl import read_manifest
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.hdf5.file_types import is_hdf5

    if not is_hdf5(path):
        return read_manifest(path)
    with FeatureStore(path) as store:
        return store.manifest


@click.command(short_help="Rewrite without gaps, and check every value.")
@STORE
@verbosity_options
@all_or_nothing
def repack(file: Location) -> None:
    """Rewrite FILE without gaps, also after another program has compressed it, and check every value.

    Exit code 3: values are damaged; they are kept, and named.
    """
    from emofuse.store.edit.repack import repack as repack_store

    path = local_path(file)
    with stage("rewriting"):
        result = repack_store(path)
    freed = (
        f"{format_size(result.freed)} freed"
        if result.freed >= 0
        else f"{format_size(-result.freed)} larger than before"
    )
    say(f"{file}: {format_size(path.stat().st_size)}, {freed}")
    for feature, ids in result.damaged.items():
        say(f"{printable(feature)}: {len(ids)} damaged, {', '.join(map(printable, ids[:10]))} first")
    if result.damaged:
        warn(f"`emofuse store verify --repair {file}` drops them; `extract` then computes them again")
        sys.exit(DAMAGED)


@click.command(short_help="Add new utterances of a grown corpus.")
@STORE
@click.option(
    "--manifest", required=True, type=click.Path(path_type=Path), help="The grown corpus, from `emofuse manifest`."
)
@verbosity_options
@all_or_nothing
def add(file: Location, manifest: Path) -> None:
    """Add the new utterances of a corpus that has grown to FILE's manifest; `extract` then encodes only those."""
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.edit.rewrite import add as add_to
    from emofuse.store.inspect.describe import has_modality

    count = add_to(local_path(file), _read_manifest(manifest))
    with FeatureStore(file) as store:
        utterances = store.manifest.utterances
        missing = {
            f.name: sum(has_modality(u, f.modality) and u.id not in f.position for u in utterances)
            for f in store.features.values()
        }
    pending = ", ".join(f"{printable(name)} {n}" for name, n in missing.items() if n)
    say(f"{file}: {plural(count, 'utterance')} added{'; still to extract: ' + pending if pending else ''}")
