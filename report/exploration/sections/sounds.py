"""The quality of the audio behind the store: noise, clipping, level, silence, and the worst clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from emofuse.common.charts.boxes import boxes
from emofuse.common.charts.palette import class_colours, group_colours
from emofuse.common.output.console import as_sentence, plural
from emofuse.common.page.blocks import (
    Cell,
    Chart,
    Choice,
    ClassName,
    Column,
    Facts,
    PagedTable,
    Section,
    Text,
    Warnings,
)
from emofuse.common.page.columns import telling_columns
from emofuse.report.exploration.measure.collection import Entry
from emofuse.report.exploration.measure.waveforms import CLIPPED, ClipMeasures, MeasuredAudio
from emofuse.report.exploration.sections.material import Material, frequent, grouped, more_than_shown

MOST_CLIPS = 100
"""Of the table of the worst clips."""
SHOWN = {
    "SNR": (lambda c: c.snr, "estimated SNR in dB"),
    "level": (lambda c: c.level, "RMS level in dBFS"),
    "peak": (lambda c: c.peak, "peak in dBFS"),
    "silence": (lambda c: 100 * c.silence, "silent frames in %"),
}
"""Name -> its value, and the label of its axis."""
METHOD = (
    "Measured on the mean of the channels at the file's own sampling rate. SNR is estimated by WADA-SNR (Kim and Stern "
    "2008) from the distribution of amplitudes alone: it assumes that noise is Gaussian and steady. Silence at "
    "both ends is cut off first. Estimates above about 40 dB are not reliable, long pauses raise them, and with music, "
    "babble or codecs they are wrong.",
    "Clipped: samples in runs of 3 or more at the clip's largest value; a clip with 0.1 % such samples is marked. "
    "Silence: frames of 25 ms that are 40 dB or more below the loudest one. Resampling hides earlier clipping.",
)


def sound_section(material: Material) -> Section | None:
    """The section of the audio; None without an audio root."""
    audio = material.audio
    if audio is None:
        return None
    blocks: list[Any] = [*_warnings(audio)]
    if audio.by_id:
        blocks += [
            Facts(facts=_facts(audio)),
            Text(lines=METHOD),
            *_distributions(material, audio),
            _worst(material, audio),
        ]
    return Section(name="audio", title="Audio quality", blocks=blocks)


def _warnings(audio: MeasuredAudio) -> Iterator[Warnings]:
    lines = audio_warnings(audio)
    if lines:
        yield Warnings(lines=[*map(as_sentence, lines)])


def audio_warnings(audio: MeasuredAudio) -> list[str]:
    """What could not be measured, one sentence each."""
    lines = []
    for reason, count in Counter(audio.unreadable.values()).most_common(5):
        first = next(id for id, why in audio.unreadable.items() if why == reason)
        lines.append(f"the audio of {plural(count, 'utterance')} {reason}; {first} first")
    if audio.changed:
        lines.append(
            f"the audio of {plural(len(audio.changed), 'utterance')} is not the audio that the store was made from; "
            f"{audio.changed[0]} first"
        )
    if audio.without_audio:
        lines.append(f"{plural(audio.without_audio, 'utterance')} without an audio file")
    return lines


def _facts(audio: MeasuredAudio) -> list[tuple[str, str]]:
    clips = list(audio.by_id.values())
    ratios = [c.snr for c in clips if c.snr is not None]
    rates = Counter(c.sampling_rate for c in clips)
    return [
        ("clips", str(len(clips))),
        ("median SNR", f"{np.median(ratios):.0f} dB" if ratios else "-"),
        ("clipped clips", str(sum(c.clipped >= CLIPPED for c in clips))),
        ("median level", f"{np.median([c.level for c in clips]):.0f} dBFS"),
        ("median silence", f"{100 * np.median([c.silence for c in clips]):.0f} %"),
        ("largest offset", f"{max((c.offset for c in clips), key=abs):.4f} of full scale"),
        ("sampling rate", ", ".join(f"{rate / 1000:g} kHz" for rate in sorted(rates))),
    ]


def _distributions(material: Material, audio: MeasuredAudio) -> Iterator[Choice]:
    groupings: dict[str, Callable[[Entry], str | None]] = {
        "class": lambda e: e.label,
        "speaker": lambda e: e.speaker,
        "corpus": lambda e: e.corpus,
    }
    for by, key in groupings.items():
        names = list(map(key, material.collection.entries))
        options = []
        for measure, (of, label) in SHOWN.items():

            def value(e: Entry, of: Callable[[ClipMeasures], float | None] = of) -> float | None:
                return of(audio.by_id[e.id]) if e.id in audio.by_id else None

            groups = grouped(material.collection.entries, key, value, frequent(names))
            if len(groups) < 2:
                continue
            medians = {name: float(np.median(values)) for name, values in groups.items()}
            low, high = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
            chart = Chart(
                name=f"{measure.lower()}-by-{by}", title=f"{measure} by {by}",
                alt=f"Medians from {medians[low]:.0f} ({low}) to {medians[high]:.0f} ({high}).",
                caption=more_than_shown(names, f"{by}s") + "Line: middle 90 %; bar: middle half; tick: median.",
                drawing=boxes(
                    groups,
                    label,
                    class_colours(material.collection.classes) if by == "class" else group_colours(groups),
                ),
            )  # fmt: skip
            options.append((measure, chart))
        if options:
            yield Choice(name=f"audio-by-{by}", title=f"By {by}", options=options)


def _worst(material: Material, audio: MeasuredAudio) -> PagedTable:
    """The clips with the most clipped samples and the lowest SNR."""
    measured = [(e, audio.by_id[e.id]) for e in material.collection.entries if e.id in audio.by_id]
    measured.sort(key=lambda pair: (-(pair[1].clipped if pair[1].clipped >= CLIPPED else 0), pair[1].snr or -99.0))
    rows: list[tuple[Cell, ...]] = [
        (
            e.id, ClassName(name=e.label) if e.label else None, e.speaker, material.player(e), c.snr, 100 * c.clipped,
            c.peak, c.level, c.offset, 100 * c.silence, material.percent_wrong(e),
        )
        for e, c in measured[:MOST_CLIPS]
    ]  # fmt: skip
    columns = [
        Column(name="id"), Column(name="label", filter=True), Column(name="speaker", filter=True), Column(name="audio"),
        Column(name="SNR", decimals=1, help="dB, estimated by WADA-SNR"), Column(name="clipped %", decimals=2),
        Column(name="peak", decimals=1, help="dBFS"), Column(name="level", decimals=1, help="RMS in dBFS"),
        Column(name="offset", decimals=4, help="Mean of the samples, where full scale is 1"),
        Column(name="silence %", decimals=0),
        Column(name="wrong %", decimals=0, help="Of the run's seeds"),
    ]  # fmt: skip
    columns, shown, common = telling_columns(columns, rows)
    return PagedTable(
        name="worst-clips", title="Clips by quality, the worst first", columns=columns, rows=shown,
        caption=f"{len(rows)} of {len(measured)}: the most clipped, then the lowest estimated SNR. {common}".strip(),
    )  # fmt: skip
