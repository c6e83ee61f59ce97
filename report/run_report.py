"""The page of a run with all that is at hand: what its files hold, texts, recordings, and what its models show."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from emofuse.common.output.console import Say, as_sentence
from emofuse.common.page.blocks import Section
from emofuse.report.built import BuiltPage
from emofuse.report.config import ReportConfig
from emofuse.report.material.embedding import Embedding, refuse_embedding_without_decoders
from emofuse.report.material.energy import open_energy
from emofuse.report.material.token_spans import span_finder
from emofuse.train.fitting.file_names import PAGE
from emofuse.train.inspection.projection import UMAP_STARTS, chosen_methods
from emofuse.train.inspection.request import InspectionRequest
from emofuse.train.inspection.sections import model_sections
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.page.extras import PageExtras
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.page.run_page import run_page
from emofuse.train.runs.recordings import Recordings, audio_roots
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.run_stores import RunStores, find_stores, run_at_stores


def build_run_page(config: ReportConfig, page_folder: Path, say: Say) -> BuiltPage:
    """The page of a run or an evaluation.

    Args:
        config: The options of the call.
        page_folder: Where the page will be; links to recordings are relative to it.
        say: Says what takes long.

    Raises:
        UsageError: A store or folder that the user names is not what it should be.
        DataError: The run is damaged, but for its page.
    """
    run = Run.open(config.path, rewritten=PAGE)
    if config.embed_audio:
        refuse_embedding_without_decoders()
    stores = find_stores(run, config.store)
    embedding = Embedding() if config.embed_audio else None
    roots = audio_roots(config.audio_root, stores.corpora)
    recordings = Recordings(stores.utterances, roots, page_folder, embedding)
    missing = list(stores.remarks)
    texts = {} if config.no_text else stores.texts
    if not texts and stores.withholds_text and not config.no_text:
        missing.append("texts are not shown: the store has digests in place of them (--no-text)")
    sections: Sequence[Section] = ()
    reason = ""
    if not config.no_models and "evaluation" not in run.metrics:
        if "umap" in chosen_methods(config.maps):
            say(UMAP_STARTS)
        sections, reason = _model_sections(run, config, stores, texts, recordings)
    extras = PageExtras(
        texts=texts,
        about={id: found.utterance for id, found in stores.utterances.items()},
        sound=recordings.sound,
        remarks=lambda: (*missing, *recordings.remarks),
        model_sections=sections,
        more_command=f"emofuse report {shlex.quote(str(run.folder))}" if config.no_models else None,
    )
    page = run_page(RunRecord.read(run), extras)
    return BuiltPage(
        page=page,
        folder=run.folder,
        note=as_sentence("; ".join(found)) if (found := caveats(run.metrics)) else "",
        remarks=(*missing, *([reason] if reason else []), *recordings.remarks),
    )


def _model_sections(
    run: Run, config: ReportConfig, stores: RunStores, texts: dict[str, str], recordings: Recordings
) -> tuple[list[Section], str]:
    """What the trained models show, and why words are not among it."""
    pieces, reason = (
        span_finder(run, config.weights) if texts and "text" in run.config["run"]["features"] else (None, "")
    )
    with open_energy(stores, recordings) as energy:
        request = InspectionRequest(
            texts=texts or None, pieces=pieces, energy=energy, sound=recordings.sound, methods=config.maps or None
        )
        return model_sections(run_at_stores(run, stores), request), reason
