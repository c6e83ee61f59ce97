"""The page of a run with all that is at hand: what its files hold, texts, recordings, and what its models show."""

from __future__ import annotations

from pathlib import Path

from emofuse.common.console import Say
from emofuse.report.built import BuiltPage
from emofuse.report.config import ReportConfig
from emofuse.report.material.embedding import Embedding
from emofuse.report.material.recordings import Recordings, audio_roots, refuse_embedding_without_decoders
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.page.run_page import PageExtras, run_page
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.run_stores import find_stores


def build_run_page(run: Run, config: ReportConfig, page_folder: Path, say: Say) -> BuiltPage:
    """The page of a run or an evaluation.

    Args:
        run: It is checked.
        config: The options of the call.
        page_folder: Where the page will be; links to recordings are relative to it.
        say: Reports progress in lines.

    Raises:
        UsageError: A store or folder that the user names is not what it should be.
    """
    if config.embed_audio:
        refuse_embedding_without_decoders()
    stores = find_stores(run, config.store)
    corpora = sorted({u.corpus for u in stores.utterances.values()})
    recordings = Recordings(
        stores.utterances,
        audio_roots(config.audio_root, corpora),
        page_folder,
        Embedding() if config.embed_audio else None,
    )
    remarks = list(stores.remarks)
    texts = {} if config.no_text else stores.texts
    if not texts and stores.withholds_text and not config.no_text:
        remarks.append("texts are not shown: the store has digests in place of them (--no-text)")
    page = run_page(
        RunRecord.read(run),
        PageExtras(texts=texts or None, sound=recordings.sound),
    )
    return BuiltPage(
        page=page,
        folder=run.folder,
        note="; ".join(caveats(run.metrics)),
        remarks=(*remarks, *recordings.remarks),
    )
