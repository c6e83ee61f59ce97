"""Killed writers, cut files, flipped bits, full disks, changed corpora, two writers at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_samples import arrays, manifest
from writer_samples import SPEC, lengths

from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.schema import Excluded
from emofuse.store import FeatureData, FeatureStore, FeatureWriter, write_store

TESTS = Path(__file__).parents[2] / "support" / "store"


SLOW_WRITER = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from writer_samples import SPEC, lengths
from store_samples import arrays, manifest
from emofuse.store import FeatureWriter
m = manifest(200)
a = arrays(m)
with FeatureWriter(Path({path!r}), m, SPEC, lengths(a)) as writer:
    print("ready", flush=True)
    for id in writer.pending:
        writer.put(id, a[id])
        time.sleep(0.002)
    writer.commit()
"""


def slow_writer(path: Path) -> subprocess.Popen[str]:
    code = SLOW_WRITER.format(tests=str(TESTS), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_kill_9_loses_nothing_that_was_written(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest(200)
    a = arrays(m)
    before = len(m)
    for _ in range(3):
        process = slow_writer(path)
        time.sleep(0.08)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not path.exists()
        with FeatureWriter(path, m, SPEC, lengths(a)) as writer:
            assert len(writer.pending) < before, "a resumed writer continues where the killed one stopped"
            before = len(writer.pending)
    with FeatureWriter(path, m, SPEC, lengths(a)) as writer:
        for id in writer.pending:
            writer.put(id, a[id])
        writer.commit()
    with FeatureStore(path) as store:
        np.testing.assert_array_equal(
            store.feature("hubert").read(m.ids).values, np.concatenate([*a.values()]).astype("f2")
        )
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


def test_a_mark_without_its_values_is_not_trusted(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    a = arrays(m)
    with FeatureWriter(path, m, SPEC, lengths(a)) as writer:
        for id in writer.pending:
            writer.put(id, a[id])
        part, feature = writer.partial, writer._feature
        offset = feature.values_offset + int(feature.starts[4]) * SPEC.frame_bytes
    with part.open("r+b") as file:  # a power cut that kept the mark and lost the page with the values
        file.seek(offset)
        file.write(bytes(int(feature.lengths[4]) * SPEC.frame_bytes))
    with FeatureWriter(path, m, SPEC, lengths(a)) as writer:
        assert writer.pending == ["u004"]


def test_two_writers_of_one_feature(tmp_path: Path) -> None:
    process = slow_writer(tmp_path / "s.h5")
    try:
        m = manifest(200)
        holder = rf"host .*, process {process.pid}, since 2.*Z"
        with pytest.raises(UsageError, match=rf"another process is writing s.h5.hubert.part \({holder}\)"):
            FeatureWriter(tmp_path / "s.h5", m, SPEC, lengths(arrays(m)))
    finally:
        process.kill()
        process.wait()


def test_a_writer_that_waited_keeps_what_the_other_one_wrote(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    values = arrays(m)
    first, others = replace(m, utterances=m.utterances[:4]), replace(m, utterances=m.utterances[4:])

    def write_others() -> list[str]:
        with FeatureWriter(path, others, SPEC, {id: len(values[id]) for id in others.ids}, wait=60) as writer:
            pending = list(writer.pending)
            for id in pending:
                writer.put(id, values[id])
            writer.commit()
            return pending

    with ThreadPoolExecutor(1) as pool:
        with FeatureWriter(path, first, SPEC, {id: len(values[id]) for id in first.ids}) as writer:
            waiting = pool.submit(write_others)
            for id in writer.pending:
                writer.put(id, values[id])
            time.sleep(0.5)
            writer.commit()
        assert waiting.result(60) == others.ids
    with FeatureStore(path) as store:
        assert sorted(store["hubert"].ids) == m.ids


def test_two_features_written_at_the_same_time(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    a, other = arrays(m), replace(SPEC, name="wavlm")
    with FeatureWriter(path, m, SPEC, lengths(a)) as first, FeatureWriter(path, m, other, lengths(a)) as second:
        for id in m.ids:
            first.put(id, a[id])
            second.put(id, a[id])
        second.commit()
        first.commit()
    with FeatureStore(path) as store:
        assert sorted(store.features) == ["hubert", "wavlm"]


def test_another_fingerprint_is_refused_and_named(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    a = arrays(m)
    write_store(path, m, {"hubert": FeatureData(modality="audio", arrays=a, fingerprint={"weights": "1", "layer": 12})})
    with pytest.raises(
        UsageError, match=r'(?s)--name.*layer: stored 12, asked for 9.*weights: stored "1", asked for "2"'
    ):
        FeatureWriter(path, m, replace(SPEC, fingerprint={"weights": "2", "layer": 9}), lengths(a))
    with pytest.raises(UsageError, match="dtype: stored float16, asked for float32"):
        FeatureWriter(path, m, replace(SPEC, dtype="float32"), lengths(a))
    with pytest.raises(UsageError, match="made for corpus 'tiny', not 'meld': name another file with --store"):
        FeatureWriter(path, manifest(corpus="meld"), SPEC, lengths(a))


def test_a_corpus_that_has_grown(tmp_path: Path) -> None:
    path, small, large = tmp_path / "s.h5", manifest(6, first=3), manifest(12)
    a = arrays(large)
    fingerprint = dict(SPEC.fingerprint)
    some = {i: a[i] for i in small.ids}
    speech = FeatureData(modality="audio", arrays=some, encoder="hubert", fingerprint=fingerprint)
    write_store(path, small, {"hubert": speech, "bert": FeatureData(modality="text", arrays=some)})
    with FeatureWriter(path, large, SPEC, lengths(a)) as writer:
        assert writer.pending == ["u000", "u001", "u002", "u009", "u010", "u011"]
        for id in writer.pending:
            writer.put(id, a[id])
        writer.commit()
    with FeatureStore(path) as store:
        assert store.manifest == large
        assert store.feature("hubert").ids == large.ids
        assert store.feature("bert").ids == small.ids
        np.testing.assert_array_equal(store.feature("bert").read(["u005"]).values, a["u005"].astype("f2"))
        np.testing.assert_array_equal(
            store.feature("hubert").read(large.ids).values, np.concatenate([*a.values()]).astype("f2")
        )


def test_asking_for_some_utterances_keeps_the_others(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    a = arrays(m)
    write_store(
        path,
        m,
        {"hubert": FeatureData(modality="audio", arrays=a, encoder="hubert", fingerprint=dict(SPEC.fingerprint))},
    )
    part = m.sample(4)
    with FeatureWriter(path, part, SPEC, {i: len(a[i]) for i in part.ids}) as writer:
        assert writer.pending == []
        writer.commit()
    with FeatureStore(path) as store:
        assert store.manifest == m
        assert store.feature("hubert").ids == m.ids


def test_a_changed_clip_makes_that_utterance_stale(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    a = arrays(m)
    features = {
        n: FeatureData(modality="audio", arrays=a, fingerprint=dict(SPEC.fingerprint)) for n in ("hubert", "wavlm")
    }
    write_store(path, m, features)
    changed = replace(
        m, utterances=tuple(replace(u, audio_digest="f" * 32) if u.id == "u002" else u for u in m.utterances)
    )
    with FeatureWriter(path, changed, SPEC, lengths(a)) as writer:
        assert writer.pending == ["u002"]
        writer.put("u002", a["u002"] + 1)
        writer.commit()
    with FeatureStore(path) as store:
        assert store.feature("hubert").stale == []
        assert store.feature("wavlm").stale == ["u002"]


def test_failed_utterances_leave_the_feature_and_are_listed(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    a = arrays(m)
    failed = Excluded(id="u004", reason="audio: cut short", modality="audio")
    with FeatureWriter(path, m, SPEC, lengths(a)) as writer:
        for id in writer.pending[:-1]:
            if id != "u004":
                writer.put(id, a[id])
        with pytest.raises(DataError, match="2 utterances of 'hubert' are not written yet, 'u004' first"):
            writer.commit()
        writer.put(writer.pending[-1], a[writer.pending[-1]])
        writer.commit([failed])
    with FeatureStore(path) as store:
        assert failed in store.manifest.excluded
        assert "u004" in store.manifest.ids, "its text is still used"
        assert "u004" not in store.feature("hubert").ids
        assert store.feature("hubert").complete


def flip(path: Path, offset: int, bit: int = 3) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        value = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([value ^ (1 << bit)]))


def test_a_full_disk_is_found_before_any_work(tmp_path: Path) -> None:
    code = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
sys.path.insert(0, {str(TESTS)!r})
from pathlib import Path
from writer_samples import SPEC
from store_samples import manifest
from emofuse.common.errors import command
from emofuse.store import FeatureWriter
m = manifest()
@command
def go():
    FeatureWriter(Path({str(tmp_path / "s.h5")!r}), m, SPEC, {{i: 5000 for i in m.ids}})
go()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 3, result.stderr
    assert "error: no space in " in result.stderr
    assert "720.0 kB of values of hubert" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_verify_names_what_is_damaged(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    write_store(path, m, {"hubert": FeatureData(modality="audio", arrays=arrays(m))})
    with FeatureStore(path) as store:
        offset = store.feature("hubert").values_offset + int(store.feature("hubert").starts[7]) * SPEC.frame_bytes
    command = [sys.executable, "-m", "emofuse.common.umbrella", "store", "verify", str(path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, "no damage" in result.stdout) == (0, True)
    flip(path, offset)
    damaged = subprocess.run(command, capture_output=True, text=True)
    assert (damaged.returncode, "damaged: u007" in damaged.stdout) == (3, True)


def test_readers_are_never_blocked_and_see_whole_features(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    a = arrays(m)
    write_store(path, m, {"bert": FeatureData(modality="text", arrays=a)})
    with FeatureWriter(path, m, SPEC, lengths(a)) as writer:
        for id in writer.pending:
            writer.put(id, a[id])
            with FeatureStore(path) as store:
                assert list(store.features) == ["bert"]
                assert len(store.feature("bert").read(m.ids).lengths) == 12
        writer.commit()
    with FeatureStore(path) as store:
        assert list(store.features) == ["bert", "hubert"]


def test_fitted_on_may_change_while_a_feature_is_unfinished(tmp_path: Path) -> None:
    path, m = tmp_path / "s.h5", manifest()
    a, declared = arrays(m), replace(SPEC, provenance={"fitted_on": [{"corpus": "meld", "labels": True}]})
    with FeatureWriter(path, m, replace(SPEC, provenance={"fitted_on": []}), lengths(a)) as writer:
        for id in writer.pending[:4]:
            writer.put(id, a[id])
    with FeatureWriter(path, m, declared, lengths(a)) as writer:
        assert writer.pending == m.ids[4:]
        for id in writer.pending:
            writer.put(id, a[id])
        writer.commit()
    with FeatureStore(path) as store:
        assert store.feature("hubert").provenance == declared.provenance
