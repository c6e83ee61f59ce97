"""`emofuse store diff`, `card`: compare stores, also without having both."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emofuse.common.console import printable, say
from emofuse.common.errors import DONE, command
from emofuse.common.location import Location, LocationType

if TYPE_CHECKING:
    from emofuse.store.compare.card import CardDiff
    from emofuse.store.compare.diff import FeatureDiff, ManifestDiff

DIFFER = 1


@click.command()
@click.argument("a", type=LocationType())
@click.argument("b", type=LocationType())
@click.option("--values", is_flag=True, help="Read the values too, and say how far they lie apart.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@command
def diff(a: Location, b: Location, values: bool, as_json: bool) -> None:
    """What differs between the stores A and B; exit code 0: nothing, 1: they differ."""
    from emofuse.store.compare.diff import diff as compare
    from emofuse.store.core.reader import FeatureStore

    with FeatureStore(a) as one, FeatureStore(b) as other:
        found = compare(one, other, values=values)
    if as_json:
        say(json.dumps({"same": found.same, **asdict(found)}, indent=2))
        sys.exit(DONE if found.same else DIFFER)
    lines = [f"{a} (A) and {b} (B) {'hold the same' if found.same else 'differ'}", *_manifest(found.manifest)]
    for where, names in (("A", found.only_a), ("B", found.only_b)):
        lines += [f"feature {printable(name)}: only in {where}" for name in names]
    for f in found.features:
        lines += _feature(f)
    say("\n".join(lines))
    sys.exit(DONE if found.same else DIFFER)


def _manifest(m: ManifestDiff) -> list[str]:
    if m.same:
        return ["manifest: the same"]
    lines = ["manifest", *(f"  {printable(words)}" for words in m.said)]
    for what, items in (("only in A", m.only_a), ("only in B", m.only_b)):
        lines += [f"  utterances {what}: {items.words()}"] if items else []
    lines += [f"  rows that differ: {m.rows}"] if m.rows else []
    lines += [f"    {name} {items.words('; ')}" for name, items in m.fields.items()]
    for what, items in (("only in A", m.excluded_a), ("only in B", m.excluded_b)):
        lines += [f"  excluded {what}: {items.words('; ')}"] if items else []
    return lines


def _feature(f: FeatureDiff) -> list[str]:
    lines = [f"feature {printable(f.name)}" + (": the same" if f.same else "")]
    lines += [f"  {printable(words, 300)}" for words in f.kind]
    lines += [f"  fingerprint {printable(words, 300)}" for words in f.fingerprint]
    lines += [f"  fitted on: {printable(words, 300)}" for words in f.fitted_on]
    for what, items in (
        ("utterances only in A", f.only_a),
        ("utterances only in B", f.only_b),
        ("another number of frames", f.lengths),
        ("from other audio or text", f.sources),
        ("values differ", f.values),
    ):
        lines += [f"  {what}: {items.words()}"] if items else []
    if f.largest:
        worst = f.largest.difference
        how = "some are no finite numbers" if worst is None else f"largest relative difference {worst:.3g}"
        lines.append(f"  values of {f.largest.compared} utterances read: {how}, in {printable(f.largest.utterance)}")
    return [*lines, *(f"  remark: {printable(words, 300)}" for words in f.remarks)]


@click.command()
@click.argument("file", type=LocationType())
@click.option("--out", type=click.Path(path_type=Path), help="Write the card to this file [print it].")
@click.option("--against", type=LocationType(), help="Compare with this card, or with the card of this store.")
@command
def card(file: Location, out: Path | None, against: Location | None) -> None:
    """A card of FILE to show another lab: ids, durations, counts and digests, without audio, text or speakers.

    With --against, says whether a card of theirs is of the same data and features: exit code 0 the same, 1 they differ.
    """
    from emofuse.store.compare.card import compare, make_card, write_card
    from emofuse.store.compare.card_file import card_at
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.inspect.output import put

    with FeatureStore(file) as store:
        mine = make_card(store)
    if out:
        put(out, write_card(mine))
        names = ", ".join(map(printable, mine["features"])) or "no feature"
        say(f"{out}: {len(mine['utterances'])} utterances; {names}; digest {mine['digest']}")
    elif not against:
        say(write_card(mine).decode().rstrip())
    if against:
        found = compare(mine, card_at(against))
        say("\n".join(_card(found, f"{file} (here) and {against} (there)")))
        sys.exit(DONE if found.same else DIFFER)


def _card(c: CardDiff, stores: str) -> list[str]:
    lines = [f"{stores} {'are the same' if c.same else 'differ'}", f"data: {'the same' if c.same_data else 'differ'}"]
    lines += [f"  {printable(words, 300)}" for words in c.said]
    for what, items in (
        ("ids only here", c.only_here),
        ("ids only there", c.only_there),
        ("durations differ", c.seconds),
        ("audio differs", c.audio),
        ("audio looked at by one alone", c.unseen),
    ):
        lines += [f"  {what}: {items.words()}"] if items else []
    lines.append(f"features: {'differ' if c.features else 'the same'}")
    for name, said in c.features.items():
        lines += [f"  {printable(name)}: {printable(words, 300)}" for words in said[:10]]
        lines += [f"  {printable(name)}: ... and {len(said) - 10} more"] if len(said) > 10 else []
    return [*lines, *(f"remark: {printable(words, 300)}" for words in c.remarks)]
