"""The corpora of `--dataset`, and how to read one."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.registry import Registry
from emofuse.datasets.aesdd import AESDD
from emofuse.datasets.base import GENERAL_OPTIONS, Corpus, ReaderOptions, corpus_root, folder_listing
from emofuse.datasets.cmu_mosei import CMU_MOSEI
from emofuse.datasets.cremad import CREMAD
from emofuse.datasets.custom import CUSTOM
from emofuse.datasets.emobox import EMOBOX
from emofuse.datasets.emodb import EMODB
from emofuse.datasets.emovdb import EMOVDB
from emofuse.datasets.emovo import EMOVO
from emofuse.datasets.esd import ESD
from emofuse.datasets.goemotions import GOEMOTIONS
from emofuse.datasets.iemocap import IEMOCAP
from emofuse.datasets.jlcorpus import JLCORPUS
from emofuse.datasets.meld import MELD
from emofuse.datasets.msp_improv import MSP_IMPROV
from emofuse.datasets.msp_podcast import MSP_PODCAST
from emofuse.datasets.ravdess import RAVDESS
from emofuse.datasets.savee import SAVEE
from emofuse.datasets.synthetic import SYNTHETIC
from emofuse.datasets.tess import TESS
from emofuse.manifests.schema import Manifest

CORPORA: Registry[Corpus] = Registry("dataset", "emofuse.corpora", Corpus)
for _corpus in (
    IEMOCAP,
    MELD,
    SAVEE,
    RAVDESS,
    EMODB,
    CREMAD,
    TESS,
    ESD,
    EMOVDB,
    JLCORPUS,
    EMOVO,
    AESDD,
    MSP_IMPROV,
    MSP_PODCAST,
    CMU_MOSEI,
    GOEMOTIONS,
    EMOBOX,
    CUSTOM,
    SYNTHETIC,
):
    CORPORA.add(_corpus.name, _corpus.description, _corpus)


def read_corpus(name: str, root: Path | None = None, options: ReaderOptions | None = None) -> tuple[Manifest, Path]:
    """Read a corpus from disk; returns its manifest and the folder that audio paths are relative to.

    Args:
        name: One of `CORPORA`.
        root: Its folder; None means the default of `corpus_root`, or for `custom` the folder of the manifest.
        options: What the corpus accepts beyond the folder.

    Raises:
        UnknownNameError: No such corpus; lists the valid ones.
        UsageError: An option has no effect, or the folder is missing or has another layout.
    """
    corpus, options = CORPORA[name], options or ReaderOptions()
    accepting = {option: [e.name for e in CORPORA if option in e.value.options] for option in options.given()}
    raise_problems(
        [
            f"{flag} has no effect; it belongs to {', '.join(accepting[option])}"
            for option, flag in options.given().items()
            if option not in GENERAL_OPTIONS and name not in accepting[option]
        ],
        f"dataset {name}",
    )
    root = _root(corpus, root, options)
    return corpus.read(root, options), root


def corpus_name(name: str, root: Path | None = None, options: ReaderOptions | None = None) -> str:
    """The name that the manifest of `read_corpus` will have; nothing is read.

    Raises:
        UnknownNameError: No such corpus.
        UsageError: One reader reads several corpora, and it is not clear which is meant.
    """
    corpus, options = CORPORA[name], options or ReaderOptions()
    return corpus.name_of(_root(corpus, root, options), options) if corpus.name_of else name


def _root(corpus: Corpus, given: Path | None, options: ReaderOptions) -> Path:
    if given is None and options.manifest is not None:
        given = corpus.manifest_root(options.manifest)
    root = corpus_root(corpus, given)
    if options.manifest is None and not corpus.looks_like(root):
        raise UsageError(_wrong_layout(corpus, root))
    return root


def _wrong_layout(corpus: Corpus, root: Path) -> str:
    others = [e.name for e in CORPORA if e.name != corpus.name and e.value.looks_like(root)]
    guess = f" This looks like {others[0]}: --dataset {others[0]}." if others else ""
    return f"{root} is not laid out as {corpus.name}: looked for {corpus.layout}; found {folder_listing(root)}.{guess}"
