"""A file server on loopback whose faults a test chooses."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server:
    """What the server serves, how it fails, and what it was asked for.

    content: the file's bytes.
    ranges: the server answers Range requests.
    cut: answers end after that many bytes of the body; one value per answer, then whole answers.
    codes: status codes of the next answers, before it serves.
    asked: the Range header of each request, None if it had none.
    """

    def __init__(self) -> None:
        self.content = bytes(range(256)) * 4000
        self.ranges = True
        self.cut: list[int] = []
        self.codes: list[int] = []
        self.asked: list[str | None] = []
        self.url = ""

    @property
    def checksum(self) -> str:
        """Of the content, as `fetch` takes it."""
        return "sha256:" + hashlib.sha256(self.content).hexdigest()


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    """A request handler that serves `server.content` under every path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
            wanted = self.headers["Range"]
            server.asked.append(wanted)
            if server.codes:
                self.send_error(server.codes.pop(0))
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
            if start and start >= len(server.content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
            self.send_header("Content-Length", str(len(server.content) - start))
            self.end_headers()
            body = server.content[start:]
            self.wfile.write(body[: server.cut.pop(0)] if server.cut else body)

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
