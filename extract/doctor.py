"""What `emofuse doctor` checks: installation, device, disk, weights, corpora and stores of this machine."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from emofuse.common.errors import DISK_FULL, EmofuseError, UsageError
from emofuse.common.output.console import format_size, plural
from emofuse.common.source_version import UNKNOWN, commit, package_version
from emofuse.common.system.machine import free_memory, usable_cores

LEAST_FREE = 1e9
"""Bytes on a disk below which the next run would probably fill it."""
State = Literal["ok", "note", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    section: str
    name: str
    found: str
    state: State = "ok"
    """`broken`: a command that needs it fails; `note`: something is missing or incomplete that not every use needs."""
    cure: str = ""
    """What to do; empty where the state is `ok`."""


def examine(stores: Path, weights: Path, progress: Callable[[str], None]) -> Iterator[Finding]:
    """Every finding, section by section.

    Args:
        stores: The folder of stores, `cache`.
        weights: The folder of downloaded weights.
        progress: Gets a line before each step that may take seconds.
    """
    yield from _installation()
    progress("importing torch ...")
    yield from _torch()
    yield from _machine(stores)
    yield from _hub(weights)
    yield from _corpora(progress)
    yield from _stores(stores, progress)


def _installation() -> Iterator[Finding]:
    known = f" (commit {commit()})" if commit() != UNKNOWN else ""
    yield Finding(section="installation", name="emofuse", found=f"{package_version()}{known}")
    system = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(section="installation", name="python", found=system)
    for extra, packages in _requirements().items():
        installed = {name: _version(name) for name in packages}
        missing = [name for name, found in installed.items() if found is None]
        listed = ", ".join(f"{name} {found}" for name, found in installed.items() if found)
        what = f"without {', '.join(missing)}" if missing else listed
        cure = f"pip install 'emofuse[{extra}]'" if extra else "pip install emofuse"
        state: State = "ok" if not missing else "note" if extra else "broken"
        name = f"extra {extra}" if extra else "required packages"
        yield Finding(section="installation", name=name, found=what, state=state, cure=cure if missing else "")


def _requirements() -> dict[str, list[str]]:
    """The packages that emofuse requires ("") and those of each extra for users, as its metadata names them."""
    found: dict[str, list[str]] = {"": []}
    try:
        requirements = metadata.requires("emofuse") or []
    except metadata.PackageNotFoundError:  # the sources alone
        requirements = []
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if name and name[0] != "emofuse" and not (extra and extra[1] == "dev"):
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _torch() -> Iterator[Finding]:
    try:
        torch: Any = importlib.import_module("torch")
    except Exception as error:  # a broken wheel may raise anything
        cure = "pip install --force-reinstall torch"
        yield Finding(section="device", name="torch", found=_first_line(error), state="broken", cure=cure)
        return
    build = f"{torch.__version__}, built for {'CUDA ' + torch.version.cuda if torch.version.cuda else 'the CPU'}"
    yield Finding(section="device", name="torch", found=build)
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.version.cuda and not names:
        cure = "where there is a GPU: check `nvidia-smi` and CUDA_VISIBLE_DEVICES"
        yield Finding(section="device", name="GPU", found="none visible to torch", state="note", cure=cure)
    else:
        yield Finding(section="device", name="GPU", found=", ".join(names) or "none; everything runs on the CPU")
    yield _torchaudio()


def _torchaudio() -> Finding:
    if _version("torchaudio") is None:
        found, cure = "not installed", "needed by `extract` alone: pip install 'emofuse[extract]'"
        return Finding(section="device", name="torchaudio", found=found, state="note", cure=cure)
    from emofuse.extract.audio.torchaudio_compat import import_torchaudio

    try:
        import_torchaudio()
    except Exception as error:
        cure = "pip install --force-reinstall torchaudio, in the version of torch"
        return Finding(section="device", name="torchaudio", found=_first_line(error), state="broken", cure=cure)
    replaced = getattr(sys.modules.get("torchaudio._extension"), "__file__", None) is None
    how = "; its native extension cannot load with this torch and is not needed" if replaced else ""
    return Finding(section="device", name="torchaudio", found=f"{_version('torchaudio')}{how}")


def _machine(stores: Path) -> Iterator[Finding]:
    flags = _cpu_flags()
    fast = [name for flag, name in (("avx512_bf16", "AVX-512 bf16"), ("amx_bf16", "AMX bf16")) if flag in flags]
    bf16 = ", ".join(fast) if fast else "no fast bf16" if flags else "bf16 unknown"
    yield Finding(section="machine", name="CPU", found=f"{plural(usable_cores(), 'core')}, {bf16}")
    memory = free_memory()
    low = memory < LEAST_FREE
    yield Finding(
        section="machine",
        name="free memory",
        found=format_size(memory) if memory != float("inf") else "unknown",
        state="note" if low else "ok",
        cure="end other programs, or use a machine with more memory" if low else "",
    )
    yield _disk("stores", stores)


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), ()))


def _disk(name: str, folder: Path) -> Finding:
    """Whether files can be written below a folder, which need not exist yet, and how much room there is."""
    nearest = next(above for above in (folder.absolute(), *folder.absolute().parents) if above.exists())
    label = f"disk of {name}"
    try:
        free = shutil.disk_usage(nearest).free
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        found = f"{folder} cannot be written: {error.strerror or error}"
        cure = "free some space" if error.errno in DISK_FULL else "make it writable (chmod u+w), or pass another --out"
        return Finding(section="machine", name=label, found=found, state="broken", cure=cure)
    room = f"{folder}: {format_size(free)} free"
    if free < LEAST_FREE:
        return Finding(section="machine", name=label, found=room, state="broken", cure="free some space")
    return Finding(section="machine", name=label, found=room)


def _hub(weights: Path) -> Iterator[Finding]:
    from emofuse.extract.encoders.encoder_list import listed_rows
    from emofuse.extract.encoders.weights import hub

    cache = hub.cache()
    if cache is None:
        found, cure = "huggingface_hub is not installed", "needed by `extract` alone: pip install 'emofuse[extract]'"
        yield Finding(section="weights", name="hub's cache", found=found, state="note", cure=cure)
    else:
        yield Finding(section="weights", name="hub's cache", found=f"{cache}{'' if cache.is_dir() else ' (empty)'}")
    flags = [f"{name}={os.environ[name]}" for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if name in os.environ]
    yield Finding(section="weights", name="offline", found=", ".join(flags) or "no flag is set")
    rows = [row for row in listed_rows(weights) if row.weights not in ("none needed", "yours")]
    here = [row.name for row in rows if row.weights != "missing"]
    yield Finding(
        section="weights",
        name="encoders with weights here",
        found=f"{len(here)} of {len(rows)}{': ' + ', '.join(here) if here else ''}",
        state="ok" if here else "note",
        cure="" if here else "emofuse get-weights NAME; `emofuse encoders` lists all",
    )


def _corpora(progress: Callable[[str], None]) -> Iterator[Finding]:
    from emofuse.datasets.base import CORPORA_VARIABLE
    from emofuse.datasets.registry import CORPORA

    folder = Path(os.environ.get(CORPORA_VARIABLE) or "corpora")
    named = f"{folder} (${CORPORA_VARIABLE})" if os.environ.get(CORPORA_VARIABLE) else str(folder)
    if not folder.is_dir():
        given = CORPORA_VARIABLE in os.environ
        found = f"{named} is no folder"
        cure = f"set {CORPORA_VARIABLE} to the folder of your corpora, or pass --root"
        yield Finding(section="corpora", name="folder", found=found, state="broken" if given else "note", cure=cure)
        return
    present = [name for name in CORPORA.names() if (folder / name).is_dir()]
    yield Finding(section="corpora", name="folder", found=f"{named}: {', '.join(present) or 'no corpus'}")
    for name in present:
        progress(f"reading {folder / name} ...")
        yield _corpus(name, folder / name)


def _corpus(name: str, root: Path) -> Finding:
    from emofuse.datasets.registry import CORPORA, read_corpus

    try:
        manifest, _ = read_corpus(name, root)
    except (EmofuseError, OSError) as error:
        cure = "unpack the whole release: `emofuse manifest --list --json` describes its layout"
        return Finding(section="corpora", name=name, found=_first_line(error), state="broken", cure=cure)
    size = CORPORA[name].size
    absent = [item for item in manifest.excluded if item.modality is not None]
    found = plural(len(manifest), "utterance")
    found += f" of the release's {size.utterances}" if size else ""
    found += f"; {plural(len(absent), 'clip')} missing, {absent[0].id} first" if absent else ""
    if absent or (size and len(manifest) < size.utterances):
        cure = f"unpack the rest; `emofuse manifest {name}` names what is missing; `fit --allow-missing N` accepts it"
        return Finding(section="corpora", name=name, found=found, state="note", cure=cure)
    return Finding(section="corpora", name=name, found=found)


def _stores(folder: Path, progress: Callable[[str], None]) -> Iterator[Finding]:
    paths = sorted(folder.glob("*.h5")) if folder.is_dir() else []
    if not paths:
        yield Finding(section="stores", name=str(folder), found="no stores")
    for path in paths:
        progress(f"reading {path} ...")
        yield _store(path)


def _store(path: Path) -> Finding:
    from emofuse.store.inspect.describe import describe

    try:
        facts = describe(path)
    except (EmofuseError, OSError) as error:
        repair = f"emofuse store verify {path} --repair"
        cure = "move it to another folder" if isinstance(error, UsageError) else repair
        return Finding(section="stores", name=path.name, found=_first_line(error), state="broken", cure=cure)
    features = facts["features"]
    incomplete = [f["name"] for f in features if f["state"] != "complete" or f["missing"]]
    stale = [f["name"] for f in features if f["stale"]]
    found = f"{plural(facts['utterances'], 'utterance')}, {plural(len(features), 'feature')}"
    found += f"; incomplete: {', '.join(incomplete)}" if incomplete else ""
    found += f"; stale: {', '.join(stale)}" if stale else ""
    if facts["damaged"]:
        found += f"; damaged: {', '.join(facts['damaged'])}"
        cure = f"emofuse store verify {path} --repair"
        return Finding(section="stores", name=path.name, found=found, state="broken", cure=cure)
    if incomplete or stale:
        cure = f"the same `extract` command again computes what is missing; emofuse store info {path}"
        return Finding(section="stores", name=path.name, found=found, state="note", cure=cure)
    return Finding(section="stores", name=path.name, found=found)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
