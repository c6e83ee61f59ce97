"""Stores behind URLs: read by a few range requests, never downloaded as a whole."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from store_samples import arrays, manifest
from train_samples import config, protocol_file, quietly, utterances
from train_samples import store as task_store

from emofuse.common.errors import DataError, UsageError
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.edit.rewrite import copy
from emofuse.store.inspect.verify import verify

M = manifest(200)
HUBERT, BERT = arrays(M, dimension=256), arrays(M, dimension=8, seed=1)


@dataclass
class Server:
    """A folder over HTTP with ranges, and what was asked of it."""

    folder: Path
    url: str = ""
    asked: list[tuple[int, int]] = field(default_factory=list)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    serving = Server(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = tmp_path / self.path.strip("/")
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            total, asked = len(data), re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if asked:
                first, last = int(asked[1]), min(int(asked[2]), total - 1)
                data = data[first : last + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
            else:
                self.send_response(200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                serving.asked.append((first, last) if asked else (0, total - 1))
                self.wfile.write(data)

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.url = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield serving
    listening.shutdown()
    listening.server_close()


def written(path: Path) -> Path:
    audio = FeatureData(modality="audio", arrays=HUBERT, fingerprint={"w": 1})
    write_store(path, M, {"hubert": audio, "bert": FeatureData(modality="text", arrays=BERT, dtype="bfloat16")})
    return path


def test_a_store_over_http_is_read_by_ranges(server: Server) -> None:
    path = written(server.folder / "s.h5")
    with FeatureStore(f"{server.url}/s.h5") as store, FeatureStore(path) as local:
        assert store.manifest == local.manifest
        some = ["u007", "u150", "u003", "u004"]
        for name in ("hubert", "bert"):
            got, want = store.feature(name).read(some), local.feature(name).read(some)
            np.testing.assert_array_equal(got.values, want.values)
        assert store.digest == local.digest
    total = path.stat().st_size
    assert total > 1_500_000
    assert sum(b - a + 1 for a, b in server.asked) < total / 2, "only what was needed"
    assert len(server.asked) <= 12


def test_every_verb_that_reads_takes_a_url(server: Server, tmp_path: Path) -> None:
    from emofuse.store.commands.store import store as command

    path = written(server.folder / "s.h5")
    url = f"{server.url}/s.h5"
    assert all(v.intact for v in verify(url))
    with FeatureStore(url) as store:
        copy(store, tmp_path / "slim.h5", ["bert"])
    with FeatureStore(tmp_path / "slim.h5") as slim, FeatureStore(path) as local:
        np.testing.assert_array_equal(slim.feature("bert").read(M.ids).values, local.feature("bert").read(M.ids).values)
    result = CliRunner().invoke(command, ["info", url])
    assert result.exit_code == 0, result.output
    assert "200 utterances" in result.output


def test_fit_from_a_url_gives_what_the_file_gives(tmp_path: Path) -> None:
    path = task_store(tmp_path / "tiny.h5", utterances(8))
    with fsspec.open("memory://lab/tiny.h5", "wb") as file:
        file.write(path.read_bytes())
    protocol_file(tmp_path)
    predictions = []
    for name, where in (("file", path), ("url", "memory://lab/tiny.h5")):
        out = quietly(config(tmp_path, name, store=where, steps=5))
        predictions.append((out / "predictions.csv").read_bytes())
    assert predictions[0] == predictions[1]


def test_a_missing_file_or_unknown_protocol_is_named(server: Server) -> None:
    with pytest.raises(UsageError, match=r"no store at http://.*/none\.h5"):
        FeatureStore(f"{server.url}/none.h5")
    with pytest.raises(UsageError, match=r"magic://x.h5 cannot be opened: Protocol not known: magic"):
        FeatureStore("magic://x.h5")
    with pytest.raises(UsageError, match="or the server does not answer"):
        FeatureStore("http://127.0.0.1:9/s.h5")
    (server.folder / "text.h5").write_text("no HDF5")
    with pytest.raises(UsageError, match="is not a store but a text file"):
        FeatureStore(f"{server.url}/text.h5")


def test_an_object_that_is_replaced_while_it_is_read_is_noticed(server: Server) -> None:
    path = written(server.folder / "s.h5")
    with FeatureStore(f"{server.url}/s.h5") as store:
        feature = store.feature("hubert")
        feature.read(["u007"])
        path.unlink()
        write_store(path, M, {"hubert": FeatureData(modality="audio", arrays=arrays(M, dimension=256, seed=5))})
        with pytest.raises(DataError, match="damaged or not yet written"):
            feature.read(M.ids)


def test_an_object_of_the_same_layout_in_its_place_is_noticed(server: Server) -> None:
    path = written(server.folder / "s.h5")
    with FeatureStore(f"{server.url}/s.h5") as store:
        path.unlink()
        other = FeatureData(modality="audio", arrays={i: a + 1 for i, a in HUBERT.items()}, fingerprint={"w": 1})
        write_store(path, M, {"hubert": other, "bert": FeatureData(modality="text", arrays=BERT, dtype="bfloat16")})
        with pytest.raises(DataError, match="damaged or not yet written"):
            store.feature("hubert").read(M.ids)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_behind_a_url(server: Server, context: str) -> None:
    from torch.utils.data import DataLoader

    from emofuse.train.dataset import UtteranceDataset, padded

    written(server.folder / "s.h5")
    dataset = UtteranceDataset(f"{server.url}/s.h5", ["bert"])
    assert len(dataset[0]["bert"]), "the file system has run in this process"
    loader = DataLoader(dataset, batch_size=50, num_workers=2, collate_fn=padded, multiprocessing_context=context)
    assert [id for batch in loader for id in batch["id"]] == M.ids


def test_a_server_without_range_requests_is_named(tmp_path: Path) -> None:
    written(tmp_path / "s.h5")
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    plain = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    with pytest.raises(DataError, match="does not support range requests"):
        FeatureStore(f"http://127.0.0.1:{plain.server_port}/s.h5")
    plain.shutdown()
    plain.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    """Python's own server, which only sends whole files."""

    def log_message(self, format: str, *words: object) -> None:
        pass
