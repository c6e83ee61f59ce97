"""The stores that a run was trained or evaluated on, as far as they are at hand, and its utterances in them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emofuse.common.errors import EmofuseError, UsageError
from emofuse.common.location import Location, is_remote, parse_location
from emofuse.common.problems import Problems
from emofuse.manifests.names.joint import join_manifests, joined_name
from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store import FeatureStore
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.recorded_paths import found_path


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusUtterance:
    """An utterance of a run, in its corpus."""

    corpus: str
    utterance: Utterance
    """As the store has it: of a run on several corpora without the corpus before its names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStores:
    """The stores of a run that are at hand."""

    paths: Mapping[str, Location] = field(default_factory=dict)
    """Corpus -> its store."""
    utterances: Mapping[str, CorpusUtterance] = field(default_factory=dict)
    """The run's id -> the utterance; those of the stores that are at hand."""
    remarks: Sequence[str] = ()
    """What is not at hand, and what has changed; one sentence each."""

    corpora: tuple[str, ...] = ()
    """Those of the run, also where their stores are not at hand."""

    @property
    def texts(self) -> dict[str, str]:
        """The run's id -> what is said in the utterance; only where the store has the text itself."""
        return {id: u.utterance.text for id, u in self.utterances.items() if u.utterance.text is not None}

    @property
    def withholds_text(self) -> bool:
        """Whether the stores have digests in place of their texts."""
        return any(u.utterance.text_digest is not None for u in self.utterances.values())


def find_stores(run: Run, given: Sequence[Location]) -> RunStores:
    """Look for the stores of a run where the user says, or where `found_path` finds what its config.json says.

    A recorded URL is not opened: nobody who looks at a run has asked for the network.

    Args:
        run: A run or an evaluation.
        given: Stores of the run that have moved.

    Raises:
        UsageError: One of `given` is not a store, or not of a corpus of the run; lists each of them.
    """
    named = _given_paths(run, given)
    wanted = _recorded_paths(run) | named
    manifests, remarks = dict[str, Manifest](), list[str]()
    for corpus, path in wanted.items():
        if is_remote(path) and corpus not in named:
            remarks.append(
                f"the store of {corpus} is remote and was not opened: name it, --store {shlex.quote(str(path))}"
            )
            continue
        try:
            with FeatureStore(path) as store:
                if store.corpus != corpus:
                    raise UsageError(f"{path} is a store of {store.corpus}")
                manifests[corpus] = store.manifest
        except (EmofuseError, OSError) as error:
            reason = str(error).splitlines()[0].partition(";")[0]
            remarks.append(f"the store of {corpus} cannot be read ({reason}); name it with --store")
    if not wanted:
        remarks.append("the run has not recorded its store; name it with --store")
    elif len(manifests) == len(wanted) and _differ(run, manifests):
        changed = " and ".join(str(path) for path in wanted.values())
        remarks.append(f"{changed} changed after the run: texts and recordings may differ")
    paths = {corpus: wanted[corpus] for corpus in manifests}
    return RunStores(
        paths=paths,
        utterances=_utterances(run, manifests),
        remarks=tuple(remarks),
        corpora=tuple(wanted or _corpora(run)),
    )


def run_at_stores(run: Run, stores: RunStores) -> Run:
    """The run with a config that names its stores where they are now, without remote ones that nobody asked for."""
    moved = Run(folder=run.folder, metrics=run.metrics, excluded=run.excluded)
    local = {corpus: str(path) for corpus, path in _recorded_paths(run).items() if not is_remote(path)}
    # A URL stays one, since its text is without the credentials that open it.
    known = {corpus: path if is_remote(path) else str(path) for corpus, path in stores.paths.items()}
    vars(moved)["config"] = run.config | {"stores": local | known}
    return moved


def _corpora(run: Run) -> list[str]:
    """The names of the corpora of a run, also of one that has not recorded its stores."""
    return str(run.config["run"].get("corpus", "")).split("+")


def _is_joint(run: Run) -> bool:
    return bool(run.config["run"].get("protocol", {}).get("joint"))


def _recorded_paths(run: Run) -> dict[str, Location]:
    """Corpus -> its store; runs of version 0.1.0 may have recorded one path alone."""
    stores, path = run.config.get("stores"), run.config.get("store")
    if not isinstance(stores, dict):
        stores = {run.config["run"]["corpus"]: path} if isinstance(path, str) and not _is_joint(run) else {}
    recorded = {str(corpus): parse_location(path) for corpus, path in stores.items()}
    return {c: found_path(run, path) if isinstance(path, Path) else path for c, path in recorded.items()}


def _given_paths(run: Run, given: Sequence[Location]) -> dict[str, Location]:
    known = list(_recorded_paths(run)) or _corpora(run)
    problems, found = Problems(), dict[str, Location]()
    for path in given:
        with problems.collecting(), FeatureStore(path) as store:
            if store.corpus not in known:
                raise UsageError(f"{path} is a store of {store.corpus}, expected one of {', '.join(known)}")
            if store.corpus in found:
                raise UsageError(f"{found[store.corpus]} and {path} are both stores of {store.corpus}: name one")
            found[store.corpus] = path
    problems.raise_all()
    return found


def _differ(run: Run, manifests: Mapping[str, Manifest]) -> bool:
    """Whether the stores have other utterances, or other texts, than when the run was made."""
    recorded = run.config["run"].get("manifest")
    whole = join_manifests(manifests.values()) if _is_joint(run) else next(iter(manifests.values()))
    return recorded is not None and recorded != whole.digest()


def _utterances(run: Run, manifests: Mapping[str, Manifest]) -> dict[str, CorpusUtterance]:
    joint = _is_joint(run)
    return {
        joined_name(corpus, u.id) if joint else u.id: CorpusUtterance(corpus=corpus, utterance=u)
        for corpus, manifest in manifests.items()
        for u in manifest.utterances
    }
