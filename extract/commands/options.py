"""What `extract`, `finetune` and `manifest` ask alike: which corpus is read, and how."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.errors import DONE, EXCLUDED, UsageError

if TYPE_CHECKING:
    from emofuse.manifests.schema import Excluded, Manifest


def corpus_options(function: Any) -> Any:
    """The options that say which corpus is read, and how; shared by `extract` and `emofuse manifest`."""
    for option in (
        click.option(
            "--transcripts", type=click.Path(path_type=Path), help="CSV with columns id,text (SAVEE has none)."
        ),
        click.option("--meld-clips", type=click.Choice(["plain", "recut"]), help="Which test clips of MELD [plain]."),
        click.option(
            "--manifest", "manifest_file", type=click.Path(path_type=Path), help="Your CSV or JSONL (custom)."
        ),
        click.option("--limit", type=click.IntRange(min=1), help="At most this many utterances, spread evenly."),
        click.option(
            "--root", type=click.Path(path_type=Path), help="The corpus folder [$EMOFUSE_CORPORA/NAME or corpora/NAME]."
        ),
    ):
        function = option(function)
    return function


def read(dataset: str, root: Path | None, limit: int | None, **reader: Any) -> tuple[Manifest, Path]:
    """Read a corpus with the options of `corpus_options`."""
    from emofuse.datasets.base import ReaderOptions
    from emofuse.datasets.registry import CORPORA, read_corpus

    options = ReaderOptions(
        transcripts=reader["transcripts"], meld_clips=reader["meld_clips"], manifest=reader["manifest_file"]
    )
    manifest, where = read_corpus(dataset, root, options)
    corpus = CORPORA[dataset]
    if absent := corpus.absent_groups(manifest):
        there = f"{len(corpus.groups) - len(absent)} of the release's {len(corpus.groups)} sessions or speakers"
        print(f"note: {where} holds {there}; nothing of {', '.join(absent)}", file=sys.stderr)
    return (manifest.sample(limit) if limit else manifest), where


def survey(
    manifest: Manifest, root: Path, modalities: set[str], quiet: bool
) -> tuple[Manifest, dict[str, Any], tuple[Excluded, ...]]:
    """What a look at a corpus finds: the manifest with lengths and digests, its clips, and what cannot be used.

    Raises:
        UsageError: No clip can be used.
    """
    from emofuse.extract.corpus.scan import scan_audio, scan_text

    manifest, unusable = scan_text(manifest)
    if "audio" not in modalities:
        return manifest, {}, unusable
    survey = scan_audio(manifest, root, quiet)
    if not survey.clips:
        raise UsageError(f"no clip under {root} can be used; {survey.unusable[0].id}: {survey.unusable[0].reason}")
    return survey.manifest, survey.clips, (*unusable, *survey.unusable)


def remembered(root: Path, reader: dict[str, Any]) -> list[str]:
    """How the corpus was read, as options: recorded, so that `fit` can say which command adds a feature."""
    flags = {
        "transcripts": "--transcripts",
        "meld_clips": "--meld-clips",
        "manifest_file": "--manifest",
        "transcribe": "--transcribe",
    }
    given = [(flag, str(reader[key])) for key, flag in flags.items() if reader.get(key) is not None]
    return ["--root", str(root), *(word for pair in given for word in pair)]


def report(unusable: Sequence[Excluded], things: str = "items", where: str = "`emofuse store info` lists them") -> int:
    """Name what was excluded, on stderr; the exit code that follows from it."""
    if not unusable:
        return DONE
    print(f"{len(unusable)} {things} excluded:", file=sys.stderr)
    for item in unusable[:50]:
        print(f"  {item.id}: {item.reason}", file=sys.stderr)
    if len(unusable) > 50:
        print(f"  ... and {len(unusable) - 50} more; {where}", file=sys.stderr)
    return EXCLUDED
