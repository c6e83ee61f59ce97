"""Reads a corpus and scans it once, before any encoder runs: lengths and digests of clips, and what is excluded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.common.output.console import warn
from emofuse.common.output.progress import Progress
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.registry import CORPORA, read_corpus
from emofuse.extract.audio.channels import Channel
from emofuse.extract.audio.clips import AudioError, Clip, probe
from emofuse.extract.audio.exclusions import report_notes
from emofuse.extract.audio.scan_report import report_scan
from emofuse.manifests.schema import SILENT, Excluded, Manifest, Utterance


def read_dataset(
    dataset: str, root: Path | None, limit: int | None = None, options: ReaderOptions | None = None
) -> tuple[Manifest, Path]:
    """The corpus's manifest, and the folder that audio paths are relative to.

    What its reader remarks, and which sessions or speakers of the release are missing, is noted on stderr.

    Args:
        dataset: A name of `CORPORA`.
        root: Its folder; None finds it as `corpus_root` does.
        limit: At most this many utterances, spread evenly.
        options: What the corpus's reader accepts beyond the folder.

    Raises:
        UsageError: As `read_corpus`.
    """
    manifest, root = read_corpus(dataset, root, options)
    report_notes(manifest)
    corpus = CORPORA[dataset]
    if missing := corpus.missing_groups(manifest):
        present = f"{len(corpus.groups) - len(missing)} of the release's {len(corpus.groups)} sessions or speakers"
        warn(f"note: {root} holds {present}; nothing of {', '.join(missing)}")
    return (manifest.sample(limit) if limit else manifest), root


def corpus_arguments(
    root: Path, options: ReaderOptions, transcribe: str | None = None, language: str | None = None
) -> list[str]:
    """How the corpus was read, as command-line arguments; recorded, so that `fit` can print a command."""
    arguments = ["--root", str(root)]
    for name, flag in options.given().items():
        arguments += [flag, str(getattr(options, name))]
    arguments += [] if transcribe is None else ["--transcribe", transcribe]
    return arguments if language is None else [*arguments, "--language", language]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioScan:
    """The result of scanning a corpus's audio."""

    manifest: Manifest
    """With lengths and digests; unusable clips are in its excluded list."""
    clips: dict[str, Clip]
    """Utterance id -> its clip, for every usable one."""
    unusable: tuple[Excluded, ...]
    """The clips that this scan excluded, with reasons."""


def scan_corpus(
    manifest: Manifest,
    root: Path,
    modalities: set[str],
    quiet: bool = False,
    channel: Channel = "mean",
    max_seconds: float | None = None,
) -> tuple[Manifest, dict[str, Clip], tuple[Excluded, ...]]:
    """Scan texts, and the audio where `modalities` has it.

    Args:
        manifest: The corpus as it was read.
        root: The folder that audio paths are relative to.
        modalities: What is encoded.
        quiet: Show no progress.
        channel: What is encoded of several channels.
        max_seconds: Longer clips are excluded.

    Returns:
        The manifest with lengths and digests, the usable clips by utterance id, and what was excluded.

    Raises:
        UsageError: No clip can be used.
    """
    manifest, unusable = scan_text(manifest)
    if "audio" not in modalities:
        return manifest, {}, unusable
    scan = scan_audio(manifest, root, quiet, max_seconds)
    if not scan.clips:
        raise UsageError(f"no clip under {root} can be used; {scan.unusable[0].id}: {scan.unusable[0].reason}")
    report_scan(scan.manifest, scan.clips, channel)
    return scan.manifest, scan.clips, (*unusable, *scan.unusable)


def scan_audio(manifest: Manifest, root: Path, quiet: bool = False, max_seconds: float | None = None) -> AudioScan:
    """Count every clip's samples, and find where it has sound; clips longer than `max_seconds` are excluded."""
    with_audio = [u for u in manifest.utterances if u.audio is not None]
    clips: dict[str, Clip] = {}
    unusable: list[Excluded] = []
    noted: set[str | None] = set()
    with Progress(len(with_audio), "scanning audio", "utterances", quiet=quiet) as progress:
        for utterance, result in _probe_all(with_audio, root):
            if isinstance(result, Clip) and max_seconds is not None and result.seconds > max_seconds:
                reason = f"audio: lasts {result.seconds:.2f} s, longer than --max-seconds {max_seconds:g}"
                unusable.append(Excluded(id=utterance.id, reason=reason, modality="audio"))
            elif isinstance(result, Clip):
                clips[utterance.id] = result
                if (wrong := _header_note(result)) and utterance.audio not in noted:
                    noted.add(utterance.audio)
                    progress.say(f"note: {root / str(utterance.audio)} {wrong}")
            else:
                unusable.append(Excluded(id=utterance.id, reason=f"audio: {result}", modality="audio"))
            progress.advance()
    scanned = tuple(_scanned(u, clips[u.id]) if u.id in clips else u for u in manifest.utterances)
    return AudioScan(
        manifest=replace(manifest, utterances=scanned).excluding(unusable), clips=clips, unusable=tuple(unusable)
    )


def _header_note(clip: Clip) -> str | None:
    """What the header of a clip's file does not say right."""
    if clip.lost:
        return (
            f"is cut off: its header promises {clip.lost:.2f} s more than the file holds; the samples that exist are "
            "used"
        )
    if clip.unread:
        return f"holds {clip.unread:.2f} s behind the samples that its header declares; they are not used"
    return None


def _scanned(utterance: Utterance, clip: Clip) -> Utterance:
    extra = utterance.extra
    if silence := _silence(clip):
        extra = {SILENT: silence, **extra}
    return replace(utterance, seconds=clip.seconds, audio_digest=clip.digest, extra=extra)


def _silence(clip: Clip) -> str | None:
    """Why a clip is silent, as the manifest records it."""
    if "mean" not in clip.silent:
        return None
    return "no sound" if clip.is_silent else "channels cancel"


def _probe_all(utterances: list[Utterance], root: Path) -> Iterator[tuple[Utterance, Clip | AudioError]]:
    def probe_one(utterance: Utterance) -> Clip | AudioError:
        assert utterance.audio is not None
        try:
            return probe(root / utterance.audio, utterance.start, utterance.end)
        except AudioError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield from zip(utterances, pool.map(probe_one, utterances), strict=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def scan_text(manifest: Manifest) -> tuple[Manifest, tuple[Excluded, ...]]:
    """The manifest without empty texts, and those that were excluded for it."""
    empty = tuple(
        Excluded(id=u.id, reason="text: empty", modality="text")
        for u in manifest.utterances
        if u.text is not None and not u.text.strip()
    )
    return manifest.excluding(empty), empty
