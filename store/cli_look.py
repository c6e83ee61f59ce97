"""`emofuse store info`, `ls`, `show`, `diff`, `card`: look into stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from emofuse.common.console import printable, size, table
from emofuse.common.errors import command


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@command
def info(file: Path, as_json: bool) -> None:
    """What FILE holds: corpus, utterances, features with their fingerprints, what is excluded."""
    facts = describe(file)
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    print(
        f"{file}: corpus {printable(facts['corpus'])}, {facts['utterances']} utterances, "
        f"{facts['hours']:.2f} h, {size(facts['bytes'])}"
    )
    for attribute in ("label", "session", "split"):
        if facts[attribute]:
            print(f"  {attribute}: " + ", ".join(f"{printable(k, 40)} {n}" for k, n in facts[attribute].items()))
    print(f"  excluded: {len(facts['excluded'])}")
    for item in facts["excluded"][:10]:
        print(f"    {printable(item['id'])}: {printable(item['reason'])}")
    rows = [
        (
            *(printable(f["name"]), f["modality"], printable(f["encoder"]), f["utterances"], f["frames"]),
            *("x".join(map(str, f["shape"])), f["dtype"], f"{f['frame_rate']:g} Hz" if f["frame_rate"] else "tokens"),
            *(size(f["bytes"]), f["state"]),
        )
        for f in facts["features"]
    ]  # fmt: skip
    print(
        table(
            ("feature", "modality", "encoder", "utterances", "frames", "frame", "dtype", "rate", "size", "state"), rows
        )
    )
    for feature in facts["features"]:
        said = ", ".join(f"{k}={json.dumps(v)}" for k, v in sorted(feature["fingerprint"].items()))
        print(f"  {printable(feature['name'])}: {printable(said, 2000)}")


def describe(path: Path) -> dict[str, Any]:
    """Everything `store info` prints, JSON-ready."""
    from emofuse.store import FeatureStore

    with FeatureStore(path) as opened:
        manifest = opened.manifest
        return {
            "path": str(path),
            "corpus": opened.corpus,
            "reader": manifest.reader,
            "digest": opened.digest,
            "utterances": len(manifest),
            "hours": manifest.hours,
            "bytes": path.stat().st_size,
            **{attribute: manifest.counts(attribute) for attribute in ("label", "session", "speaker", "split")},
            "excluded": [{"id": e.id, "reason": e.reason} for e in manifest.excluded],
            "features": [
                {
                    "name": f.name,
                    "modality": f.modality,
                    "encoder": f.encoder,
                    "utterances": len(f.lengths),
                    "frames": int(f.lengths.sum()),
                    "shape": list(f.spec.frame_shape),
                    "layers": list(f.layers),
                    "view": f.view,
                    "dtype": f.spec.dtype,
                    "frame_rate": f.frame_rate,
                    "bytes": f.nbytes,
                    "state": "complete" if f.complete else f"{int((f.marks() > 0).sum())} of {len(f.lengths)} written",
                    "stale": len(f.stale),
                    "fingerprint": f.fingerprint,
                    "provenance": f.provenance,
                }
                for f in opened.features.values()
            ],
        }
