"""Looks at every clip of a corpus once, before any encoder runs: its length, its digest, whether it is of use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from emofuse.common.progress import Progress
from emofuse.extract.corpus.audio import AudioError, Clip, probe
from emofuse.manifests.schema import Excluded, Manifest, Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioScan:
    """What a look at a corpus found."""

    manifest: Manifest
    """With lengths and digests; unusable clips are in its excluded list."""
    clips: dict[str, Clip]
    """Utterance id -> its clip, for every usable one."""
    unusable: tuple[Excluded, ...]
    """What this look excluded, with reasons."""


def scan_audio(manifest: Manifest, root: Path, quiet: bool = False) -> AudioScan:
    """Look at every clip: headers where they tell the truth, else decoded once to count samples."""
    spoken = [u for u in manifest.utterances if u.audio is not None]
    clips: dict[str, Clip] = {}
    unusable: list[Excluded] = []
    cut_off: set[str | None] = set()
    with Progress(len(spoken), "looking at clips", "utterances", quiet=quiet) as progress:
        for utterance, found in _probe_all(spoken, root):
            if isinstance(found, Clip):
                clips[utterance.id] = found
                if found.lost and utterance.audio not in cut_off:
                    cut_off.add(utterance.audio)
                    progress.say(
                        f"note: {utterance.audio} is cut off: its header promises {found.lost:.2f} s more than "
                        "there are; what is there is used"
                    )
            else:
                unusable.append(Excluded(id=utterance.id, reason=f"audio: {found}", modality="audio"))
            progress.advance()
    looked_at = tuple(
        replace(u, seconds=clips[u.id].samples / clips[u.id].sample_rate, audio_digest=clips[u.id].digest)
        if u.id in clips
        else u
        for u in manifest.utterances
    )
    surveyed = replace(manifest, utterances=looked_at).excluding(unusable)
    return AudioScan(manifest=surveyed, clips=clips, unusable=tuple(unusable))


def _probe_all(utterances: list[Utterance], root: Path) -> Iterator[tuple[Utterance, Clip | AudioError]]:
    def look(utterance: Utterance) -> Clip | AudioError:
        assert utterance.audio is not None
        try:
            return probe(root / utterance.audio, utterance.start, utterance.end)
        except AudioError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield from zip(utterances, pool.map(look, utterances), strict=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def scan_text(manifest: Manifest) -> tuple[Manifest, tuple[Excluded, ...]]:
    """The manifest without empty texts, and what was left out for that."""
    empty = tuple(
        Excluded(id=u.id, reason="text: empty", modality="text")
        for u in manifest.utterances
        if u.text is not None and not u.text.strip()
    )
    return manifest.excluding(empty), empty
