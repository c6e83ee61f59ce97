"""`emofuse manifest`: read a corpus and say what is in it, what is not, and why."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.console import printable, say, table
from emofuse.common.errors import DONE, EXCLUDED, command
from emofuse.extract.commands.options import corpus_options, read

if TYPE_CHECKING:
    from emofuse.manifests.schema import Manifest


@click.command()
@click.argument("dataset")
@corpus_options
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it [cache/DATASET.manifest.jsonl].")
@click.option("--quick", is_flag=True, help="Do not look at the audio: no hours, and unreadable clips stay unseen.")
@click.option("--quiet", is_flag=True, help="No progress.")
@command
def manifest(dataset: str, out: Path | None, quick: bool, quiet: bool, **options: Any) -> None:
    """Read the corpus DATASET: counts per class, session and speaker, hours, what is excluded and why."""
    from emofuse.extract.corpus.scan import scan_audio, scan_text
    from emofuse.manifests.jsonl import write_manifest

    found, root = read(dataset, options.pop("root"), options.pop("limit"), **options)
    missing = [item for item in found.excluded if item.modality is not None]
    found, unusable = scan_text(found)
    if not quick and found.has("audio"):
        survey = scan_audio(found, root, quiet)
        found, unusable = survey.manifest, (*unusable, *survey.unusable)
    describe(found, root)
    out = out or Path("cache") / f"{dataset}.manifest.jsonl"
    write_manifest(found, out)
    say(f"written to {out}")
    sys.exit(EXCLUDED if unusable or missing else DONE)


def describe(found: Manifest, root: Path) -> None:
    """Print what a manifest holds."""
    from emofuse.manifests import protocol

    modalities = " and ".join(m for m in ("audio", "text") if found.has(m)) or "nothing"
    hours = f", {found.hours:.2f} h" if found.hours else ""
    say(f"{found.corpus} in {root}: {len(found)} utterances with {modalities}{hours}, read by {found.reader}")
    for attribute in ("label", "session", "speaker", "split"):
        counts = found.counts(attribute)
        if counts and len(counts) <= 40:
            say(f"\n{table((attribute, 'utterances'), [(printable(k, 40), n) for k, n in counts.items()])}")
        elif counts:
            say(f"\n{attribute}: {len(counts)} values")
    reasons = Counter(e.reason for e in found.excluded)
    say(f"\nexcluded: {len(found.excluded)}")
    for reason, count in reasons.most_common(20):
        first = next(e.id for e in found.excluded if e.reason == reason)
        say(f"  {count} x {printable(reason)} ({printable(first)}{', ...' if count > 1 else ''})")
    for name in protocol.names(found.corpus):
        task = protocol.load(name)
        differences = task.differences([u for u in found.utterances if task.class_of(u) is not None])
        say(f"\nprotocol {name}: " + ("counts as expected" if not differences else "; ".join(differences[:6])))
