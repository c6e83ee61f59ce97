"""`emofuse manifest --list`: what it prints of every corpus, also of one that states little, and wrong use."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from emofuse.datasets.registry import CORPORA
from emofuse.extract.commands import corpus_list
from emofuse.extract.commands.manifest import manifest

WITHOUT_TERMS = {"aesdd", "emovo"}
"""Corpora whose page states no licence."""


def run(*words: str) -> Result:
    return CliRunner().invoke(manifest, list(words))


def test_every_corpus_has_a_row_and_a_page_within_80_columns() -> None:
    output = run("--list").output
    lines = output.splitlines()  # the table, an empty line, then notes and addresses
    assert max(len(line) for line in lines[: lines.index("")]) <= 80
    for name in CORPORA.names():
        row, page = (line for line in lines if line.split()[:1] == [name])
        assert len(row.split()) >= 7
        assert page.endswith(f"  {CORPORA[name].page}")


def test_json_has_the_facts_of_the_readers() -> None:
    facts = {corpus["corpus"]: corpus for corpus in json.loads(run("--list", "--json").output)}
    assert list(facts) == CORPORA.names()
    for name, corpus in facts.items():
        own = CORPORA[name]
        assert corpus["utterances"] == (own.size.utterances if own.size else None)
        assert corpus["licence"] == (own.licence.name if own.licence else None)
        assert corpus["language"] == own.language
    assert facts["emodb"] | {"utterances": 535, "speakers": 10, "language": "de"} == facts["emodb"]


@pytest.mark.parametrize("name", [name for name in CORPORA.names() if name not in ("custom", "emobox")])
def test_every_own_corpus_states_its_size_and_licence(name: str) -> None:
    corpus = CORPORA[name]
    assert corpus.size is not None
    assert corpus.licence is not None or name in WITHOUT_TERMS
    assert corpus.size.emotions
    assert not corpus.groups or corpus.size.speakers is None or len(corpus.groups) <= corpus.size.speakers


def test_a_corpus_that_states_neither_size_nor_licence_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = CORPORA.entry("savee")
    bare = replace(entry, name="bare", value=replace(entry.value, size=None, licence=None, language=None))
    monkeypatch.setattr(corpus_list, "CORPORA", [bare])
    assert corpus_list.corpus_table().splitlines()[1].split() == ["bare", *["-"] * 6]
    assert json.loads(corpus_list.corpus_json())[0]["terms"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "which corpus? emofuse manifest DATASET; --list lists all corpora"),
        (("--json",), "which corpus? emofuse manifest DATASET; --list lists all corpora"),
        (("savee", "--list", "--quick", "--limit", "3"), "savee, --quick, --limit would have no effect"),
    ],
)
def test_wrong_use_is_refused(words: tuple[str, ...], message: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.stderr
