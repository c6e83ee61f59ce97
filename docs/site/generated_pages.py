"""The pages that are made from the code: commands, Python, models and protocols."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace

from emofuse.common.umbrella import COMMANDS
from emofuse.manifests import protocol_files
from emofuse.manifests.protocol import Protocol
from emofuse.train.models.config import effective, is_optional
from emofuse.train.models.listing.cost import cost
from emofuse.train.models.listing.model_list import SECONDS, WORDS
from emofuse.train.models.registry import MODELS, variant
from emofuse.train.papers import published_table
from emofuse.train.papers.published_table import UNITS, Table, TableRow

API = ("extract", "train", "predict", "store", "store.exchange", "report")
"""The packages with public names."""


def generated_pages() -> dict[str, str]:
    """Address -> text of every page that is made from the code."""
    return {
        "reference/models.md": models_page(),
        "reference/protocol-list.md": protocols_page(),
        "reference/commands.md": _contents_of("Commands", command_pages()),
        "reference/python.md": _contents_of("Python", api_pages()),
        **command_pages(),
        **api_pages(),
    }


def command_pages() -> dict[str, str]:
    """Address -> page of each command, made from click by sphinx-click."""
    return {
        f"reference/commands/{name}.md": _rst(f".. click:: {place}\n   :prog: emofuse {name}\n   :nested: full")
        for name, (place, _) in COMMANDS.items()
    }


def api_pages() -> dict[str, str]:
    """Address -> page of each package with public names, made from the docstrings by autodoc."""
    pages = {}
    for name in API:
        module = importlib.import_module(f"emofuse.{name}")
        lines = [f".. automodule:: emofuse.{name}\n   :no-members:\n"]
        for public in module.__all__:
            kind = "class" if inspect.isclass(getattr(module, public)) else "function"
            kind = kind if callable(getattr(module, public)) else "data"
            lines.append(f".. auto{kind}:: emofuse.{name}.{public}\n" + "   :members:\n" * (kind == "class"))
        pages[f"reference/python/{name}.md"] = f"# `emofuse.{name}`\n\n" + _rst("\n".join(lines))
    return pages


def _rst(text: str) -> str:
    return f"```{{eval-rst}}\n{text}\n```\n"


def _contents_of(title: str, pages: Iterable[str]) -> str:
    names = "\n".join(page.removeprefix("reference/").removesuffix(".md") for page in pages)
    return f"# {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"


def models_page() -> str:
    """Every model: size, settings, ablations, and what its paper prints."""
    lines = [
        "# Models",
        "What `fit --model` trains. Parameters with four classes and the dimensions of the default features;",
        "operations are matrix products, attention and convolutions of one forward pass over",
        f"{SECONDS} s of speech and {WORDS} word pieces, the means of IEMOCAP. `emofuse models` prints the same.\n",
    ]
    rows, sections = [], []
    for entry in MODELS:
        spec, preset = entry.value, entry.value.preset("iemocap")
        size = cost(spec, preset)
        features = {"all": " + ", "any": " and/or ", "one": " or "}[spec.needs].join(spec.features.values())
        rows.append(
            [
                f"[`{entry.name}`](#{entry.name})",
                features,
                f"{size.parameters:,}",
                f"{size.flops / 1e6:,.1f}",
                entry.description,
            ]
        )
        settings = [
            [f"`{key}`", f"`{getattr(preset, key)}`", " ".join(f"`{c}`" for c in f.metadata["choices"])]
            for key, f in effective(preset, spec.modalities).items()
            if not is_optional(f)
        ]
        sections += [
            f"\n## {entry.name}",
            f"{entry.description}.\n",
            *_table(["setting", "preset", "choices"], settings),
        ]
        sections += _ablations(entry.name)
        sections += _printed(entry.name)
    return "\n".join([*lines, *_table(["model", "features", "parameters", "MFLOP", ""], rows), *sections, ""])


def _ablations(name: str) -> list[str]:
    rows = []
    for ablation, changes in MODELS[name].ablations.items():
        _, _, changed = variant(name, ablation)
        size = cost(changed, replace(changed.preset("iemocap"), **changes.settings))
        sets = (
            f"model `{changes.model}`"
            if changes.model
            else ", ".join(f"`{k}={v}`" for k, v in changes.settings.items())
        )
        rows.append([f"`{ablation}`", " + ".join(changed.modalities), f"{size.parameters:,}", sets])
    return (
        ["\nAblations (`--ablation NAME`):\n", *_table(["", "modalities", "parameters", "sets"], rows)] if rows else []
    )


def _printed(name: str) -> list[str]:
    """The scores that papers print for a model itself, without an ablation and without other settings."""
    rows = [
        [f"`{table.name}`", f"{table.paper}, {table.where}", protocol, _scores(table, row, protocol)]
        for table in map(published_table.load, published_table.names())
        for row in table.rows
        if row.model == name and not (row.cited or row.ablation or row.settings or row.without)
        for protocol in row.published
    ]
    return (
        ["\nPrinted (`emofuse reproduce TABLE`):\n", *_table(["table", "paper", "protocol", "scores"], rows)]
        if rows
        else []
    )


def _scores(table: Table, row: TableRow, protocol: str) -> str:
    decimals = UNITS[table.unit][1]
    return ", ".join(f"{column} {value:.{decimals}f}" for column, value in row.published[protocol].items())


def protocols_page() -> str:
    """Every protocol: source, classes with their labels, folds and expected counts."""
    lines = [
        "# Every protocol",
        "The tasks that emofuse includes, from their files. [Protocols](protocols.md) says what the keys mean.\n",
    ]
    rows, sections = [], []
    for name in protocol_files.names():
        protocol = protocol_files.declared(name)
        total = f"{protocol.expected.total:,}" if protocol.expected else "by release"
        corpus = protocol.corpus + (f", tested on {protocol.test_corpus}" if protocol.test_corpus else "")
        rows.append([f"[`{name}`](#{name})", corpus, str(len(protocol.classes)), _folds(protocol), total])
        sections += _protocol(name, protocol)
    return "\n".join([*lines, *_table(["protocol", "corpus", "classes", "folds", "utterances"], rows), *sections, ""])


def _folds(protocol: Protocol) -> str:
    return (
        f"a file ({protocol.fold_source})"
        if protocol.fold_source
        else protocol.grouping.replace("split", "official split")
    )


def _protocol(name: str, protocol: Protocol) -> list[str]:
    labels: dict[str, list[str]] = {}
    for label, own in protocol.labels.items():
        labels.setdefault(own, []).append(f"`{label}`")
    counts = protocol.expected.classes if protocol.expected else {}
    rows = [
        [own, ", ".join(labels.get(own, [f"`{own}`"])), f"{counts[own]:,}" if own in counts else ""]
        for own in protocol.classes
    ]
    facts = [
        f"- Source: {protocol.source}",
        f"- Metrics, the first one selects: {', '.join(f'`{m}`' for m in protocol.metrics)}",
        f"- Train, validation and test share no {', '.join(protocol.disjoint)}"
        if protocol.disjoint
        else "- Sides may share speakers",
    ]
    if protocol.where:
        facts.append(
            "- Only " + "; ".join(f"`{key}` = {', '.join(map(str, _values(v)))}" for key, v in protocol.where.items())
        )
    if protocol.expected:
        facts.append("- Expected: " + ", ".join(f"{fold} {count:,}" for fold, count in protocol.expected.folds.items()))
    return [f"\n## {name}", *facts, "", *_table(["class", "labels of the corpus", "utterances"], rows)]


def _values(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple | set | frozenset) else [value]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows)]
