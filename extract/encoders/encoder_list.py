"""What `emofuse encoders` lists: sizes, weights and licences, without PyTorch, whose import takes longer than the list.

Sizes are in `encoder_list.json`, which `python -m emofuse.extract.encoders.count_encoders` writes; a test compares.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from emofuse.extract.encoders.registry import ENCODERS
from emofuse.extract.encoders.weights.locate import on_this_machine

FILE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSize:
    """What the default weights determine; None where it depends on the weights that the user names."""

    dimension: int | None = None
    """D of a frame."""
    frame_rate: float | None = None
    """Frames per second; None for text, and where a clip has one frame."""
    layers: int | None = None
    """The highest number of `--layers`."""
    parameters: int | None = None
    """Of the part that encodes; 0 without weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRow:
    """One encoder of the list."""

    name: str
    description: str
    modality: str
    size: EncoderSize
    repository: str | None
    """Its default weights on the hub."""
    page: str | None
    """Where other weights are published."""
    licence: str | None
    """Of the weights; None without weights."""
    megabytes: int | None
    """Their download, about."""
    weights: str
    """`none needed`, `missing`, `yours` (the user names them), or where they are."""


def listed_rows(folder: Path) -> list[EncoderRow]:
    """Every registered encoder by name, those of other packages too.

    Args:
        folder: Where downloaded weights are looked for, beside the hub's cache.
    """
    sizes = {name: EncoderSize(**size) for name, size in json.loads(FILE.read_text(encoding="utf-8")).items()}
    return [_row(name, sizes.get(name, EncoderSize()), folder) for name in ENCODERS.names()]


def _row(name: str, size: EncoderSize, folder: Path) -> EncoderRow:
    entry = ENCODERS.entry(name)
    source = entry.value.source
    if not entry.value.pretrained:
        weights = "none needed"
    elif source is None or (source.repository is None and source.page is None):
        weights = "yours"
    else:
        found = on_this_machine(source, folder)
        weights = str(found) if found else "missing"
    return EncoderRow(
        name=name,
        description=entry.description,
        modality=entry.value.modality,
        size=size,
        repository=source.repository if source else None,
        page=source.page if source else None,
        licence=source.licence if source and weights != "yours" else None,
        megabytes=source.megabytes if source else None,
        weights=weights,
    )
