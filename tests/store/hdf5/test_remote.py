"""Stores behind URLs: read by a few range requests, never downloaded as a whole."""

from __future__ import annotations

import functools
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from store_samples import arrays, manifest
from train_samples import config, protocol_file, utterances
from train_samples import store as task_store

from emofuse.common.errors import DataError, UsageError
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.commands.store import store as command
from emofuse.store.edit.rewrite import copy
from emofuse.store.inspect.verify import verify
from emofuse.train import fit

M = manifest(200)
HUBERT, BERT = arrays(M, dimension=256), arrays(M, dimension=8, seed=1)


@dataclass
class Server:
    """A folder over HTTP with ranges, and what was asked of it."""

    folder: Path
    url: str = ""
    asked: list[tuple[int, int]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """The codes of the next answers."""
    pause: float = 0.0
    """Seconds before each answer."""


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
            time.sleep(serving.pause)
            if serving.failures:
                self.send_error(serving.failures.pop(0))
                return
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


def test_fit_from_a_url_gives_what_the_file_gives_and_records_no_credentials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = task_store(tmp_path / "tiny.h5", utterances(8))
    secret = "5ecretSignature"
    signed = f"memory://lab/tiny.h5?X-Amz-Signature={secret}"
    with fsspec.open(signed, "wb") as file:
        file.write(path.read_bytes())
    protocol_file(tmp_path)
    predictions, runs = [], []
    for name, where in (("file", path), ("url", signed)):
        runs.append(fit(config(tmp_path, name, store=where, steps=5)).folder)
        predictions.append((runs[-1] / "predictions.csv").read_bytes())
    assert predictions[0] == predictions[1]
    written = {file: file.read_bytes() for file in runs[1].rglob("*") if file.is_file()}
    assert len(written) > 5
    assert [file for file, content in written.items() if secret.encode() in content] == []
    assert b'"memory://lab/tiny.h5"' in written[runs[1] / "config.json"]
    assert secret not in "".join(capsys.readouterr())


@pytest.fixture
def silent_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that accepts and never answers."""
    monkeypatch.setenv("EMOFUSE_REMOTE_TIMEOUT", "0.1")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    "words", [["verify"], ["info"], ["export", "--to", "npy", "--feature", "bert", "--out", "none"]], ids=" ".join
)
def test_a_server_that_never_answers_is_named_in_one_line(silent_server: str, words: list[str]) -> None:
    started = time.monotonic()
    url = f"http://me:hunter2hunter2@{silent_server}/s.h5"
    result = CliRunner().invoke(command, [words[0], url, *words[1:]])
    assert time.monotonic() - started < 5
    assert result.exit_code == 3
    assert result.output == (
        f"error: http://{silent_server}/s.h5: the server sent nothing for 0.1 s, 3 times, when asked for its size; "
        "for a slow link set EMOFUSE_REMOTE_TIMEOUT to more seconds\n"
    )


def test_a_server_that_falls_silent_between_two_reads(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    written(server.folder / "s.h5")
    monkeypatch.setenv("EMOFUSE_REMOTE_TIMEOUT", "0.3")
    with FeatureStore(f"{server.url}/s.h5") as store:
        server.pause = 2.0
        with pytest.raises(DataError, match=r"sent nothing for 0\.3 s, 3 times, when asked for bytes \d+ to \d+"):
            store.feature("hubert").read(["u007"])


def test_a_passing_failure_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOFUSE_REMOTE_TIMEOUT", "0.5")
    path = written(server.folder / "s.h5")
    server.failures = [503, 503]
    with FeatureStore(f"{server.url}/s.h5") as store, FeatureStore(path) as local:
        assert store.digest == local.digest
    assert server.failures == []


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (403, UsageError, r"access to http://127.*/s\.h5 is refused \(HTTP 403 Forbidden\): check your credentials"),
        (401, UsageError, r"is refused \(HTTP 401 Unauthorized\)"),
        (500, DataError, r"s\.h5: reading its size failed: HTTP 500 Internal Server Error, 3 times$"),
        (418, DataError, r"reading its size failed: HTTP 418 I'm a Teapot$"),
    ],
)
def test_an_http_error_shows_its_code_and_no_credentials(
    server: Server, status: int, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOFUSE_REMOTE_TIMEOUT", "0.1")
    server.failures = [status] * 6
    with pytest.raises(kind, match=message) as raised:
        FeatureStore(f"{server.url.replace('//', '//me:hunter2@')}/s.h5?sig=abcdef")
    assert not re.search(r"hunter2|abcdef|Authorization|me:", str(raised.value))


def test_a_wrong_time_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOFUSE_REMOTE_TIMEOUT", "soon")
    with pytest.raises(UsageError, match="EMOFUSE_REMOTE_TIMEOUT is 'soon', expected seconds"):
        FeatureStore("http://127.0.0.1:9/s.h5")


def test_a_missing_file_or_unknown_protocol_is_named(server: Server) -> None:
    with pytest.raises(UsageError, match=r"no store at http://.*/none\.h5 \(HTTP 404 Not Found\)"):
        FeatureStore(f"{server.url}/none.h5")
    with pytest.raises(UsageError, match=r"magic://x.h5 cannot be opened: Protocol not known: magic"):
        FeatureStore("magic://x.h5")
    with pytest.raises(UsageError, match="the server cannot be reached: Cannot connect to host"):
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
