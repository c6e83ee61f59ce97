"""Counts every registered model for `emofuse models`; as a script it writes `model_list.json` again."""

from __future__ import annotations

from dataclasses import asdict

from emofuse.common.output.console import json_text
from emofuse.train.models.listing.cost import cost
from emofuse.train.models.listing.model_list import CORPUS, FILE, ModelRow
from emofuse.train.models.registry import MODELS


def counted_rows(corpus: str) -> list[ModelRow]:
    """The rows of every registered model, those of other packages too, with the presets of a corpus."""
    rows = []
    for entry in MODELS:
        spec, counted = entry.value, cost(entry.value, entry.value.preset(corpus))
        row = ModelRow(
            name=entry.name,
            features={"all": " + ", "any": " and/or ", "one": " or "}[spec.needs].join(spec.features.values()),
            parameters=counted.parameters,
            flops=counted.flops,
            ablations=len(spec.ablations),
            description=entry.description,
        )
        rows.append(row)
    return rows


if __name__ == "__main__":
    FILE.write_text(json_text([asdict(row) for row in counted_rows(CORPUS)], indent=2) + "\n", encoding="utf-8")
