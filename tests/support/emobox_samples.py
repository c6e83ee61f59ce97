"""A set in the layout of EmoBox: `data/NAME/NAME.jsonl`, `label_map.json` and `fold_N/NAME_SIDE_fold_N.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def row(name: str, id: str, wav: str, label: str, **more: Any) -> dict[str, Any]:
    """One line of a set."""
    fixed = {"dataset": name, "type": "raw", "sample_rate": 16000, "task": "category", "channel": 1}
    return {"key": f"{name}-{id}", "wav": f"downloads/{name}/{wav}", "emo": label, **fixed, **more}


def write_set(
    clone: Path,
    name: str,
    rows: Sequence[Row],
    folds: Mapping[str, Mapping[str, Sequence[Row]]],
    label_map: Mapping[str, str] | None = None,
) -> Path:
    """Write a set below `clone/data`; gives its folder.

    Args:
        clone: The folder of the clone.
        name: The name of the set.
        rows: Every line of the set.
        folds: Fold -> side (train, valid, test) -> its lines.
        label_map: Label -> class; None means no file.
    """
    folder = clone / "data" / name
    folder.mkdir(parents=True)
    _write_lines(folder / f"{name}.jsonl", rows)
    if label_map is not None:
        (folder / "label_map.json").write_text(json.dumps(label_map))
    for fold, sides in folds.items():
        (folder / f"fold_{fold}").mkdir()
        for side, members in sides.items():
            _write_lines(folder / f"fold_{fold}" / f"{name}_{side}_fold_{fold}.jsonl", members)
    return folder


def _write_lines(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
