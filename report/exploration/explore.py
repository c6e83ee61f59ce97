"""`explore` from Python: one config in, a page out. The command `emofuse store explore` calls it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack, overload

from emofuse.common.charts.drawing import require_report_extra
from emofuse.common.disk.outputs import write_output
from emofuse.common.errors import UsageError
from emofuse.common.option_values import checked_config
from emofuse.common.output.console import Say, as_sentence, format_size, printable, say
from emofuse.common.page.blocks import Page, Section, Warnings
from emofuse.common.page.export import write_parts
from emofuse.common.page.links import open_page
from emofuse.common.page.render import render
from emofuse.common.problems import Problems
from emofuse.report.exploration.explore_config import ExploreConfig, ExploreOptions
from emofuse.report.exploration.measure.collection import Collection, collect, sample
from emofuse.report.exploration.measure.copies import Copies, find_copies
from emofuse.report.exploration.measure.pooled_features import pooled
from emofuse.report.exploration.measure.probes import LinearProbe, all_probes, answer
from emofuse.report.exploration.measure.run_errors import read_run
from emofuse.report.exploration.measure.waveforms import ClipMeasures, measure_all
from emofuse.report.exploration.sections.contents import contents_section
from emofuse.report.exploration.sections.copies import copy_section
from emofuse.report.exploration.sections.features import answer_section, map_section
from emofuse.report.exploration.sections.material import Material, ProbedFeature
from emofuse.report.exploration.sections.run import run_section
from emofuse.report.exploration.sections.sounds import audio_warnings, sound_section
from emofuse.report.exploration.sections.utterances import utterance_section
from emofuse.store import FeatureStore
from emofuse.store.core.augmented import copy_refusal, plain_features
from emofuse.train.inspection.projection import UMAP_STARTS, Method, chosen_methods
from emofuse.train.runs.recordings import audio_roots
from emofuse.train.runs.reporting.caveats import caveats


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What `explore` found and wrote."""

    files: tuple[Path, ...]
    """The page, or the files of its charts or tables."""
    probes: Mapping[str, tuple[LinearProbe, ...]]
    """Feature -> its probes."""
    clips: Mapping[str, ClipMeasures]
    """Id -> the measures of its audio; empty without an audio root."""
    copies: Copies


@overload
def explore(config: ExploreConfig, /, *, say: Say = say) -> Exploration: ...
@overload
def explore(*, say: Say = say, **options: Unpack[ExploreOptions]) -> Exploration: ...
def explore(config: ExploreConfig | None = None, /, *, say: Say = say, **options: Any) -> Exploration:
    """What a store holds, and what its features carry: a page of charts, probes, maps and tables.

    Args:
        config: All options in one record.
        say: Prints the answers and where the page is; `lambda line: None` prints nothing.
        **options: Or the same options by name, as `ExploreConfig` documents them.

    Raises:
        UsageError: Wrong options, no such store, feature, protocol or run, or a run of another corpus.
        DataError: A store, a feature that is read, or the run is damaged.
    """
    config = checked_config(ExploreConfig, config, options, say)
    require_report_extra()
    maps = chosen_methods(config.maps)
    with ExitStack() as stack:
        stores = _opened(config, stack)
        material = _material(config, collect(stores, config.protocol), maps, say)
        for feature in material.features:
            say(printable(answer(feature.pooled.name, feature.probes), 400))
        for line in [*_warnings(material), *(audio_warnings(material.audio) if material.audio else [])]:
            say(f"note: {printable(line, 400)}")
        page = _page(material, all_rows=config.format != "html")
    files = _written(page, material, config)
    if config.format == "html":
        say(f"page: {printable(str(files[0]), 400)}, {format_size(files[0].stat().st_size)}")
    else:
        say(f"{len(files)} files in {printable(str(files[0].parent), 400)}")
    if config.open:
        open_page(files[0], say)
    return Exploration(
        files=tuple(files),
        probes={f.pooled.name: f.probes for f in material.features},
        clips=material.audio.by_id if material.audio else {},
        copies=material.copies,
    )


def _opened(config: ExploreConfig, stack: ExitStack) -> list[FeatureStore]:
    problems, stores = Problems(), []
    for path in config.stores:
        with problems.collecting():
            stores.append(stack.enter_context(FeatureStore(path)))
    problems.raise_all()
    return stores


def _material(config: ExploreConfig, collection: Collection, maps: tuple[Method, ...], say: Say) -> Material:
    """Measure everything; what the user may have got wrong first."""
    roots = audio_roots(config.audio_root, [store.corpus for store in collection.stores])
    run = None if config.run is None else read_run(collection, config.run)
    names = _feature_names(config, collection)
    if names and "umap" in maps:
        say(UMAP_STARTS)
    chosen = sample(collection.entries, config.limit)
    features = []
    for name in names:
        found = pooled(collection, chosen, name, config.layer if _has_layers(collection, name, config) else None)
        features.append(ProbedFeature(pooled=found, probes=tuple(all_probes(found.values, found.entries))))
    return Material(
        collection=collection,
        features=tuple(features),
        maps=maps,
        copies=find_copies(collection, _audio_features(collection)),
        audio=measure_all(collection.entries, roots, quiet=config.quiet) if roots else None,
        audio_roots=roots,
        run=run,
        with_text=not config.no_text,
        page_folder=_target(config, collection).parent,
    )


def _feature_names(config: ExploreConfig, collection: Collection) -> Sequence[str]:
    """The features to pool: those that were named, checked, or all that every store has."""
    problems = Problems()
    for name in config.feature:
        for store in collection.stores:
            with problems.collecting():
                if (feature := store.feature(name)).is_copy:
                    raise UsageError(copy_refusal(feature))
    problems.raise_all()
    return config.feature or sorted(
        set.intersection(*(set(plain_features(store.features)) for store in collection.stores))
    )


def _has_layers(collection: Collection, name: str, config: ExploreConfig) -> bool:
    """Whether the chosen layer applies: always to a feature that was named, else to those with layers."""
    return bool(config.feature) or all(store.feature(name).layers for store in collection.stores)


def _audio_features(collection: Collection) -> list[Any]:
    """Complete features of audio, log-Mel first: the search for near duplicates was measured on it."""
    found = [f for f in plain_features(collection.stores[0].features).values() if f.modality == "audio" and f.complete]
    return sorted(found, key=lambda f: (not f.encoder.startswith("logmel"), f.nbytes))


def _page(material: Material, *, all_rows: bool) -> Page:
    warnings = _warnings(material)
    answers = answer_section(material)
    first = Section(
        name=answers.name, title=answers.title, lead=answers.lead,
        blocks=[*([Warnings(lines=[*map(as_sentence, warnings)])] if warnings else []), *answers.blocks],
    )  # fmt: skip
    sections = [
        first,
        contents_section(material),
        map_section(material),
        sound_section(material),
        run_section(material),
        copy_section(material),
        utterance_section(material, all_rows=all_rows),
    ]
    stores = material.collection.stores
    return Page(
        title=f"Exploration of {', '.join(store.corpus for store in stores)}",
        subtitle=", ".join(Path(str(store.path)).name for store in stores),
        sections=[section for section in sections if section is not None],
        classes=material.collection.classes,
    )


def _warnings(material: Material) -> list[str]:
    collection = material.collection
    lines = [str(error) for store in collection.stores for error in store.damaged_features.values()]
    lines += [remark for f in material.features for remark in f.pooled.remarks]
    if not collection.classes:
        lines.append("no utterance has a label: emotions cannot be explored")
    if not collection.speakers:
        lines.append("no speaker is known: probes cannot be tested on new speakers")
    for f in material.features[:1]:
        if len(f.pooled.entries) + f.pooled.missing + len(f.pooled.broken) < len(collection.entries):
            lines.append(
                f"features are of a stratified sample, {len(f.pooled.entries)} of {len(collection.entries)} "
                "utterances (--limit)"
            )
    return lines


def _target(config: ExploreConfig, collection: Collection) -> Path:
    """The page, or the folder of the files."""
    if config.out is not None:
        return config.out
    paths = [Path(str(path).split("?")[0]) for path in config.stores]
    folder = paths[0].parent if isinstance(config.stores[0], Path) else Path()
    stem = "+".join(path.stem for path in paths)
    return folder / (f"{stem}-exploration.html" if config.format == "html" else f"{stem}-exploration")


def _written(page: Page, material: Material, config: ExploreConfig) -> list[Path]:
    target = _target(config, material.collection)
    if config.format != "html":
        found = caveats(material.run.predicted.run.metrics) if material.run else []
        return write_parts(page, target, config.format, as_sentence("; ".join(found)) if found else "")
    write_output(target, render(page).encode())
    return [target]
