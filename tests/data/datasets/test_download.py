"""Downloads from a local server that misbehaves in all the ways that servers do."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from vae4counts.data import DataError, load
from vae4counts.data.datasets import coco2017
from vae4counts.data.datasets import download as module
from vae4counts.data.datasets.download import RemoteFile, data_directory, fetch

BODY = np.random.default_rng(0).bytes(400_000)
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """A server of one body, as good or as bad as a test wants it."""

    daemon_threads = True
    body = BODY
    etag: str | None = '"one"'
    status = 200
    ranges = True
    careful = True  # looks at If-Range
    cut: int | None = None  # bytes of a response after which the connection breaks
    pause = 0.0  # seconds between pieces
    says_length = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    def handle_error(self, *_: object) -> None:
        """Keep quiet about clients that close the connection, as in some tests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        fresh = self.headers.get("If-Range") == server.etag or not server.careful
        if wanted and server.ranges and fresh:
            match = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert match
            start = int(match[1])
            if start >= len(server.body):
                self.send_error(416)
                return
            self.send_response(206)
            end = len(server.body)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.says_length:
            self.send_header("Content-Length", str(len(server.body) - start))
        self.end_headers()
        rest = server.body[start:][: server.cut]
        for at in range(0, len(rest), 50_000):
            self.wfile.write(rest[at : at + 50_000])
            self.wfile.flush()
            time.sleep(server.pause)
        if server.cut is not None:
            self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    thread = Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.OFFLINE_VARIABLE, raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("file.bin", server.url, sha256=DIGEST)
    path = fetch(file, tmp_path / "cache")
    assert path.read_bytes() == BODY
    assert fetch(file, tmp_path / "cache") == path
    assert server.asked == [None]
    assert sorted(path.name for path in path.parent.iterdir()) == ["file.bin"]


def test_an_unknown_digest_is_recorded_and_checked_later(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("file.bin", server.url)
    path = fetch(file, tmp_path)
    assert (tmp_path / "file.bin.sha256").read_text() == f"{DIGEST}  file.bin\n"
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=f"does not have the expected SHA-256 {DIGEST}"):
        fetch(file, tmp_path, offline=True)
    assert fetch(file, tmp_path).read_bytes() == BODY
    path.unlink()
    server.body = BODY[::-1]
    with pytest.raises(DataError, match=r"recorded in .*file\.bin\.sha256; .* was deleted"):
        fetch(file, tmp_path)
    assert visible(tmp_path) == ["file.bin.sha256"]


def test_an_interrupted_download_is_resumed(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("file.bin", server.url)
    server.cut = 150_000
    with pytest.raises(DataError, match=r"Cannot download file\.bin: .*Try again") as caught:
        fetch(file, tmp_path)
    assert str(tmp_path / "file.bin") in str(caught.value)
    assert visible(tmp_path) == []
    with pytest.raises(DataError, match="Cannot download"):
        fetch(file, tmp_path)
    server.cut = None
    assert fetch(file, tmp_path).read_bytes() == BODY
    starts = [int(wanted[6:-1]) if wanted else 0 for wanted in server.asked]
    assert starts[0] == 0
    assert 0 < starts[1] <= 150_000 < starts[2] <= 300_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.bin", "file.bin.sha256"]


@pytest.mark.parametrize("change", ["no ranges", "another file", "careless", "no version"])
def test_it_starts_again_where_it_cannot_be_resumed(
    server: Server, tmp_path: Path, change: str
) -> None:
    file = RemoteFile("file.bin", server.url)
    server.etag = None if change == "no version" else server.etag
    server.cut = 150_000
    with pytest.raises(DataError, match="Cannot download"):
        fetch(file, tmp_path)
    server.cut = None
    server.ranges = change != "no ranges"
    server.careful = change != "careless"
    if change in ("another file", "careless"):
        server.body, server.etag = BODY[::-1], '"two"'
    assert fetch(file, tmp_path).read_bytes() == server.body


def test_a_complete_part_is_not_requested_for_ever(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".file.bin.part").write_bytes(BODY)
    (tmp_path / ".file.bin.version").write_text('"one"')
    assert fetch(RemoteFile("file.bin", server.url), tmp_path).read_bytes() == BODY
    assert server.asked == [f"bytes={len(BODY)}-", None]


def test_a_wrong_digest_leaves_nothing(server: Server, tmp_path: Path) -> None:
    file = RemoteFile("file.bin", server.url, sha256=DIGEST)
    server.body = b"a page that says you must sign in"
    with pytest.raises(DataError, match=f"does not have the expected SHA-256 {DIGEST}"):
        fetch(file, tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.body = BODY
    assert fetch(file, tmp_path).read_bytes() == BODY


def test_a_data_set_is_downloaded_on_demand(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        content = {
            "images": [{"id": 7}, {"id": 8}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [{"id": 1, "image_id": 8, "category_id": 1}],
        }
        archive.writestr("annotations/instances_val2017.json", json.dumps(content))
    server.body = packed.getvalue()
    served = RemoteFile(coco2017.ANNOTATIONS.name, server.url)
    monkeypatch.setattr(coco2017, "ANNOTATIONS", served)
    monkeypatch.setenv(module.DIRECTORY_VARIABLE, str(tmp_path))
    server.cut = 100
    with pytest.raises(DataError, match=r"Cannot download annotations_trainval2017\.zip"):
        load("coco2017-val")
    server.cut = None
    for offline in (False, True):
        assert load("coco2017-val", offline=offline).X.toarray().tolist() == [[0], [1]]
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [404, 403, 500])
def test_an_error_of_the_server(server: Server, tmp_path: Path, status: int) -> None:
    file = RemoteFile("file.bin", server.url)
    server.status = status
    with pytest.raises(DataError, match=rf"{status} .* for url: {server.url}"):
        fetch(file, tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.status = 200
    assert fetch(file, tmp_path).read_bytes() == BODY


def test_no_server_at_all(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
    with pytest.raises(DataError, match=r"Cannot download file\.bin"):
        fetch(RemoteFile("file.bin", url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_slow_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RemoteFile("file.bin", server.url)
    server.pause = 0.3
    monkeypatch.setattr(module, "_TIMEOUT", 0.1)
    with pytest.raises(DataError, match="timed out"):
        fetch(file, tmp_path)
    assert visible(tmp_path) == []
    server.pause = 0.02
    assert fetch(file, tmp_path).read_bytes() == BODY


def test_a_server_that_sends_no_length(server: Server, tmp_path: Path) -> None:
    server.says_length = False
    assert fetch(RemoteFile("file.bin", server.url), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_offline(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    file = RemoteFile("file.bin", server.url)
    if how == "variable":
        monkeypatch.setenv(module.OFFLINE_VARIABLE, "1")
    offline = True if how == "argument" else None
    with pytest.raises(DataError) as caught:
        fetch(file, tmp_path / "cache", offline=offline)
    for word in ("file.bin is missing", server.url, str(tmp_path / "cache" / "file.bin")):
        assert word in str(caught.value)
    assert not (tmp_path / "cache").exists()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "file.bin").write_bytes(b"put there by hand")
    assert fetch(file, tmp_path / "cache", offline=offline).read_bytes() == b"put there by hand"
    assert visible(tmp_path / "cache") == ["file.bin"]
    assert server.asked == []


def test_where_data_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.DIRECTORY_VARIABLE, str(tmp_path))
    assert data_directory("pbmc68k") == tmp_path / "pbmc68k"
    monkeypatch.delenv(module.DIRECTORY_VARIABLE)
    assert data_directory("pbmc68k").parent == data_directory()
    assert "vae4counts" in str(data_directory())
