"""`emofuse manifest`: reads a corpus and prints what is in it, what is not, and why."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, EXCLUDED, UsageError, command
from emofuse.common.output.console import HELP_OPTIONS, format_table, plural, printable, say, say_json
from emofuse.common.output.verbosity import stage
from emofuse.extract.commands.options import complete_datasets, corpus_options, max_seconds

if TYPE_CHECKING:
    from emofuse.manifests.protocol import Protocol
    from emofuse.manifests.schema import Manifest

ATTRIBUTES = ("label", "session", "speaker", "split")
_MOST_VALUES, _MOST_REASONS, _MOST_DIFFERENCES = 40, 20, 6


@click.command(context_settings=HELP_OPTIONS)
@click.argument("dataset", required=False, shell_complete=complete_datasets)
@corpus_options
@max_seconds
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to write it.  [default: cache/CORPUS.manifest.jsonl]"
)
@click.option("--quick", is_flag=True, help="Do not scan the audio: no hours, and unreadable clips are not noticed.")
@click.option("--list", "listed", is_flag=True, help="List all corpora: size, licence and where to get them.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, also of --list.")
@verbosity_options
@command
def manifest(dataset: str | None, listed: bool, as_json: bool, **options: Any) -> None:
    """Read the corpus DATASET: counts per class, session and speaker, hours, what is excluded and why.

    Example: emofuse manifest iemocap --root /data/IEMOCAP_full_release
    """
    if listed:
        _print_list(dataset, as_json, {name: value for name, value in options.items() if value})
    elif dataset is None:
        raise UsageError("which corpus? emofuse manifest DATASET; --list lists all corpora")
    else:
        _read(dataset, as_json, **options)


def _print_list(dataset: str | None, as_json: bool, others: Mapping[str, Any]) -> None:
    from emofuse.extract.commands.corpus_list import corpus_json, corpus_table

    without_effect = [*([dataset] if dataset else []), *("--" + name.replace("_", "-") for name in others)]
    if without_effect:
        raise UsageError(f"--list reads no corpus, so {', '.join(without_effect)} would have no effect: leave it out")
    say(corpus_json() if as_json else corpus_table())


def _read(
    dataset: str,
    as_json: bool,
    root: Path | None,
    limit: int | None,
    out: Path | None,
    quick: bool,
    **options: Any,
) -> None:
    from emofuse.datasets.base import ReaderOptions
    from emofuse.extract.audio.scan import read_dataset, scan_audio, scan_text
    from emofuse.extract.audio.scan_report import report_scan
    from emofuse.manifests.jsonl import write_manifest

    reader = ReaderOptions(**options)
    with stage(f"reading corpus {dataset}"):
        corpus, root = read_dataset(dataset, root, limit, reader)
    missing = [item for item in corpus.excluded if item.modality is not None]
    corpus, unusable = scan_text(corpus)
    if not quick and corpus.has("audio"):
        scan = scan_audio(corpus, root, max_seconds=reader.max_seconds)
        report_scan(scan.manifest, scan.clips)
        corpus, unusable = scan.manifest, (*unusable, *scan.unusable)
    out = out or Path("cache") / f"{corpus.corpus}.manifest.jsonl"
    if not as_json:
        _print_summary(corpus, root)
    write_manifest(corpus, out)
    say_json(_facts(corpus, root, out)) if as_json else say(f"written to {out}")
    sys.exit(EXCLUDED if unusable or missing else DONE)


def _facts(corpus: Manifest, root: Path, out: Path) -> dict[str, Any]:
    """What `--json` prints of a corpus."""
    return {
        "corpus": corpus.corpus,
        "root": str(root),
        "reader": corpus.reader,
        "written_to": str(out),
        "utterances": len(corpus),
        "modalities": [m for m in ("audio", "text") if corpus.has(m)],
        "hours": corpus.hours,
        **{attribute: corpus.counts(attribute) for attribute in ATTRIBUTES},
        "excluded": [{"id": e.id, "reason": e.reason, "modality": e.modality} for e in corpus.excluded],
        "protocols": dict(_protocol_counts(corpus)),
    }


def _print_summary(corpus: Manifest, root: Path) -> None:
    modalities = " and ".join(m for m in ("audio", "text") if corpus.has(m)) or "nothing"
    size = plural(len(corpus), "utterance")
    hours = f", {corpus.hours:.2f} h" if corpus.hours else ""
    say(f"{corpus.corpus} in {root}: {size} with {modalities}{hours}, read by {corpus.reader}")
    for attribute in ATTRIBUTES:
        counts = corpus.counts(attribute)
        if counts and len(counts) <= _MOST_VALUES:
            say(f"\n{format_table((attribute, 'utterances'), [(printable(k, 40), n) for k, n in counts.items()])}")
        elif counts:
            say(f"\n{attribute}: {len(counts)} values")
    _print_excluded(corpus)
    _print_protocols(corpus)


def _print_excluded(corpus: Manifest) -> None:
    reasons = Counter(e.reason for e in corpus.excluded)
    say(f"\nexcluded: {len(corpus.excluded)}")
    for reason, count in reasons.most_common(_MOST_REASONS):
        first = next(e.id for e in corpus.excluded if e.reason == reason)
        say(f"  {count} x {printable(reason)} ({printable(first)}{', ...' if count > 1 else ''})")


def _print_protocols(corpus: Manifest) -> None:
    for name, counts in _protocol_counts(corpus):
        say(f"\nprotocol {name}: {counts}")


def _protocol_counts(corpus: Manifest) -> Iterator[tuple[str, str]]:
    """Each protocol of the corpus, and whether the counts of its task match its publication."""
    from emofuse.manifests import protocol_files

    for name in protocol_files.names(corpus.corpus):
        try:
            counts = _counts(protocol_files.load(name), corpus)
        except UsageError as error:  # the file with its folds is not here
            counts = f"not checked: {error}"
        yield name, counts


def _counts(protocol: Protocol, corpus: Manifest) -> str:
    """Whether the counts of a protocol's task are the expected ones, or what the corpus misses for it."""
    task = [u for u in corpus.utterances if protocol.has(u)]
    without = sum(protocol.fold_value(u) is None for u in task if not protocol.is_test_only(u))
    if without:
        needed = "texts" if protocol.fold_by == "sentence" else f"a {protocol.fold_by} of each utterance"
        return f"needs {needed}: {without} of {len(task)} utterances have none"
    try:
        differences = protocol.differences(task)
    except UsageError as error:
        return str(error)
    if protocol.expected is None:
        return f"{plural(len(task), 'utterance')}; the protocol expects no counts"
    return "; ".join(differences[:_MOST_DIFFERENCES]) or "counts as expected"
