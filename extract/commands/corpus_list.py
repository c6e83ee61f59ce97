"""All corpora that can be read: how large they are, their licence, and where to get them."""

from __future__ import annotations

import json
from typing import Any

from emofuse.common.output.console import format_table
from emofuse.common.registry import Entry
from emofuse.datasets.base import Corpus
from emofuse.datasets.registry import CORPORA

_COLUMNS = ("corpus", "language", "utterances", "hours", "speakers", "emotions", "licence")
_HEADER = tuple("lang" if column == "language" else column for column in _COLUMNS)
_NOTE = (
    "Sizes are those of the complete release; emotions: different labels; -: unknown, or not applicable.\n"
    "The licence is in short: read the terms (--json) and the corpus's page before you use it."
)


def corpus_table() -> str:
    """One row per corpus, at most 80 columns wide, then their pages."""
    corpora = [_facts(entry) for entry in CORPORA]
    rows = [["-" if corpus[key] is None else corpus[key] for key in _COLUMNS] for corpus in corpora]
    pages = [[corpus["corpus"], corpus["page"]] for corpus in corpora]
    return f"{format_table(_HEADER, rows)}\n\n{_NOTE}\n\n{format_table(('corpus', 'get it from'), pages)}"


def corpus_json() -> str:
    """The same facts and more as JSON: one object per corpus; null means unknown or that it does not apply."""
    return json.dumps([_facts(entry) for entry in CORPORA], indent=2, ensure_ascii=False)


def _facts(entry: Entry[Corpus]) -> dict[str, Any]:
    corpus, size, licence = entry.value, entry.value.size, entry.value.licence
    return {
        "corpus": entry.name,
        "description": entry.description,
        "language": corpus.language,
        **{key: getattr(size, key, None) for key in ("utterances", "hours", "speakers", "emotions")},
        "licence": licence and licence.name,
        "terms": licence and licence.terms,
        "terms_source": (licence and licence.source) or None,
        "page": corpus.page,
        "layout": corpus.layout,
        "package": entry.package or "emofuse",
    }
