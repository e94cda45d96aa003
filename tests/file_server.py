"""A file server on loopback whose faults a test chooses."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server:
    """What the server serves, how it fails, and what it was asked for.

    content: the file's bytes, under every path that `files` does not have.
    files: other files by path.
    missing: paths that are answered by 404.
    ranges: the server answers Range requests.
    cut: answers end after that many bytes of the body; one value per answer, then whole answers.
    codes: status codes of the next answers, before it serves.
    pauses: seconds between the first half of an answer's body and the second; one value per answer, then none.
    asked: the Range header of each request, None if it had none.
    paths: the path of each request.
    """

    def __init__(self) -> None:
        self.content = bytes(range(256)) * 4000
        self.files: dict[str, bytes] = {}
        self.missing: set[str] = set()
        self.pauses: list[float] = []
        self.paths: list[str] = []
        self.ranges = True
        self.cut: list[int] = []
        self.codes: list[int] = []
        self.asked: list[str | None] = []
        self.url = ""

    def at(self, path: str) -> str:
        """The address of a path."""
        return self.url.removesuffix("/file.bin") + path

    @property
    def checksum(self) -> str:
        """Of the content, as `fetch` takes it."""
        return "sha256:" + hashlib.sha256(self.content).hexdigest()


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    """A request handler that serves what `server` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
            wanted = self.headers["Range"]
            server.asked.append(wanted)
            server.paths.append(self.path)
            if server.codes or self.path in server.missing:
                self.send_error(404 if self.path in server.missing else server.codes.pop(0))
                return
            content = server.files.get(self.path, server.content)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
            if start and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            body = body[: server.cut.pop(0)] if server.cut else body
            pause = server.pauses.pop(0) if server.pauses else 0
            with suppress(ConnectionError):  # who waits for the second half may have gone
                self.wfile.write(body[: len(body) // 2])
                time.sleep(pause)
                self.wfile.write(body[len(body) // 2 :])

        def log_message(self, *_: object) -> None:
            """Silence."""

    return Handler


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is asked directly, whatever the machine's proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server."""
    state = Server()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(state))
    state.url = f"http://127.0.0.1:{httpd.server_port}/file.bin"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()
