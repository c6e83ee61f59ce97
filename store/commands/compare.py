"""`emofuse store diff` and `card`: compare two stores, or a store with another lab's card."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, command
from emofuse.common.location import Location, LocationType
from emofuse.common.output.console import plural, printable, say, say_json

if TYPE_CHECKING:
    from emofuse.store.compare.card import CardDiff
    from emofuse.store.compare.diff import FeatureDiff, ManifestDiff

DIFFERENT = 1
"""The exit code where two stores or cards differ."""


@click.command(short_help="Show how two stores differ.")
@click.argument("a", type=LocationType())
@click.argument("b", type=LocationType())
@click.option("--values", is_flag=True, help="Also read the values, and measure how far they are apart.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@verbosity_options
@command
def diff(a: Location, b: Location, values: bool, as_json: bool) -> None:
    """Show how the stores A and B differ.

    Exit code 0: they hold the same; 1: they differ.
    """
    from emofuse.store.compare.diff import diff as compare
    from emofuse.store.core.reader import FeatureStore

    with FeatureStore(a) as store_a, FeatureStore(b) as store_b:
        result = compare(store_a, store_b, values=values)
    if as_json:
        facts = asdict(result)
        facts["manifest"] = {"said": facts["manifest"].pop("general"), **facts["manifest"]}  # a key of earlier versions
        say_json({"same": result.same, **facts})
        sys.exit(DONE if result.same else DIFFERENT)
    verdict = "hold the same" if result.same else "differ"
    lines = [f"{a} (A) and {b} (B) {verdict}", *_manifest_lines(result.manifest)]
    for where, names in (("A", result.only_a), ("B", result.only_b)):
        lines += [f"feature {printable(name)}: only in {where}" for name in names]
    for f in result.features:
        lines += _feature_lines(f)
    say("\n".join(lines))
    sys.exit(DONE if result.same else DIFFERENT)


def _manifest_lines(m: ManifestDiff) -> list[str]:
    if m.same:
        return ["manifest: the same"]
    lines = ["manifest", *(f"  {printable(difference)}" for difference in m.general)]
    for what, items in (("only in A", m.only_a), ("only in B", m.only_b)):
        lines += [f"  utterances {what}: {items.text()}"] if items else []
    lines += [f"  rows that differ: {m.rows}"] if m.rows else []
    lines += [f"    {name} {items.text('; ')}" for name, items in m.fields.items()]
    for what, items in (("only in A", m.excluded_a), ("only in B", m.excluded_b)):
        lines += [f"  excluded {what}: {items.text('; ')}"] if items else []
    return lines


def _feature_lines(f: FeatureDiff) -> list[str]:
    lines = [f"feature {printable(f.name)}" + (": the same" if f.same else "")]
    lines += [f"  {printable(difference, 300)}" for difference in f.kind]
    lines += [f"  fingerprint {printable(difference, 300)}" for difference in f.fingerprint]
    lines += [f"  fitted on: {printable(difference, 300)}" for difference in f.fitted_on]
    for what, items in (
        ("utterances only in A", f.only_a),
        ("utterances only in B", f.only_b),
        ("different numbers of frames", f.lengths),
        ("from different audio or text", f.sources),
        ("values differ", f.values),
    ):
        lines += [f"  {what}: {items.text()}"] if items else []
    if f.largest:
        worst = f.largest.difference
        how = "some are not finite" if worst is None else f"largest relative difference {worst:.3g}"
        lines.append(
            f"  values of {plural(f.largest.compared, 'utterance')} read: {how}, in {printable(f.largest.utterance)}"
        )
    return [*lines, *(f"  remark: {printable(remark, 300)}" for remark in f.remarks)]


@click.command(short_help="Make or compare a card: digests, no audio or text.")
@click.argument("file", type=LocationType())
@click.option("--out", type=click.Path(path_type=Path), help="Write the card to this file [print it].")
@click.option("--against", type=LocationType(), help="Compare with this card, or with the card of this store.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the card, or the comparison, as a page.")
@verbosity_options
@command
def card(file: Location, out: Path | None, against: Location | None, html: Path | None) -> None:
    """Make a card of FILE for another lab: ids, durations, counts and digests, but no audio, text or speakers.

    With --against, show whether another card is of the same data and features: exit code 0 if so, 1 if they differ.
    """
    from emofuse.store.compare.card import compare, make_card, write_card
    from emofuse.store.compare.card_file import card_at
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.inspect.output import write_file

    with FeatureStore(file) as store:
        ours = make_card(store)
    theirs = card_at(against) if against else None
    result = compare(ours, theirs) if theirs else None
    page = _card_page(ours, theirs, result) if html else b""
    if out:
        write_file(out, write_card(ours))
        names = ", ".join(map(printable, ours["features"])) or "no features"
        count = plural(len(ours["utterances"]), "utterance")
        say(f"{printable(str(out), 400)}: {count}; {names}; digest {ours['digest']}")
    elif not against and not html:
        say(write_card(ours).decode().rstrip())
    if html:
        write_file(html, page)
        say(f"page: {printable(str(html), 400)}")
    if result:
        say("\n".join(_card_lines(result, f"{file} (here) and {against} (there)")))
        sys.exit(DONE if result.same else DIFFERENT)


def _card_page(ours: dict[str, Any], theirs: dict[str, Any] | None, result: CardDiff | None) -> bytes:
    from emofuse.common.page.render import render
    from emofuse.store.compare.card_page import card_page, cards_page

    page = cards_page(ours, theirs, result) if theirs and result else card_page(ours)
    return render(page).encode()


def _card_lines(c: CardDiff, stores: str) -> list[str]:
    lines = [f"{stores} {'are the same' if c.same else 'differ'}", f"data: {'the same' if c.same_data else 'differ'}"]
    lines += [f"  {printable(difference, 300)}" for difference in c.counts]
    for what, items in (
        ("ids only here", c.only_here),
        ("ids only there", c.only_there),
        ("durations differ", c.seconds),
        ("audio differs", c.audio),
        ("audio scanned in only one of them", c.unscanned),
    ):
        lines += [f"  {what}: {items.text()}"] if items else []
    lines.append(f"features: {'differ' if c.features else 'the same'}")
    for name, differences in c.features.items():
        lines += [f"  {printable(name)}: {printable(difference, 300)}" for difference in differences[:10]]
        lines += [f"  {printable(name)}: ... and {len(differences) - 10} more"] if len(differences) > 10 else []
    return [*lines, *(f"remark: {printable(remark, 300)}" for remark in c.remarks)]
