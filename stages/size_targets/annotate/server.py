"""The annotation page on this machine alone: http.server on 127.0.0.1, under an address that nobody can guess.

Three things keep other pages and other people out. Everything lies under a random token; the Host header must name
this server, so that no foreign name that resolves to 127.0.0.1 reaches it; and an answer is taken only as JSON with an
Origin, if there is one, of this server. Images are asked for by the number of a question, never by a path.
"""

from __future__ import annotations

import errno
import hmac
import json
import math
import secrets
import socketserver
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stages.core.faults import Fault
from stages.core.label_files import BadMap
from stages.size_targets.annotate.session import Refused, Session

ADDRESS = "127.0.0.1"
LARGEST = 1024  # bytes of an answer
PATIENCE = 60  # seconds that a connection may be silent
HERE = Path(__file__).parent
PAGES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingHTTPServer):
    """Serves one session; `url` is the page's address with its token.

    port: 0 chooses a free one.

    Raises:
        Fault: the port is taken or not allowed.
    """

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(16)
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            reason = "is taken" if error.errno == errno.EADDRINUSE else "is not allowed"
            raise Fault(f"port {port} {reason}; name another --port, or none for a free one") from None
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}
        self.url = f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def server_bind(self) -> None:
        """Without http.server's search for the machine's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves in the middle of a reply is no error; anything else is a defect and is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request: GET of the page, the session, an image or a mask, and POST of an answer."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "sizewise"
    sys_version = ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        """`TOKEN/`, `TOKEN/page.js`, `TOKEN/page.css`, `TOKEN/session`, `TOKEN/image/N`, `TOKEN/truth/N`."""
        path = self.admitted()
        if path is None:
            return
        kind, _, number = path.partition("/")
        try:
            if path in PAGES:
                name, media_type = PAGES[path]
                self.reply(HTTPStatus.OK, media_type, (HERE / name).read_bytes())
            elif path == "session":
                self.reply_json(HTTPStatus.OK, self.server.session.describe())
            elif kind == "image" and is_index(number):
                self.reply(HTTPStatus.OK, *self.server.session.image(int(number)))
            elif kind == "truth" and is_index(number):
                self.reply(HTTPStatus.OK, "image/png", self.server.session.truth(int(number)))
            else:
                self.refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        except Refused as refused:
            self.refuse(HTTPStatus.NOT_FOUND, str(refused))
        except BadMap as error:
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def do_POST(self) -> None:
        """`TOKEN/answer` with {question, value, scale, seconds}, see `Session.answer`."""
        path = self.admitted()
        if path is None:
            return
        refusal = self.refusal(path)
        if refusal:
            self.refuse(*refusal)
            return
        try:
            arguments = answer_in(self.rfile.read(int(self.headers["Content-Length"])))
            self.reply_json(HTTPStatus.OK, self.server.session.answer(*arguments))
        except Refused as refused:
            self.refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(refused))
        except OSError as error:
            path = self.server.session.records.answers.path
            self.refuse(HTTPStatus.INSUFFICIENT_STORAGE, f"{error.strerror or error}: {path}")

    def refusal(self, path: str) -> tuple[HTTPStatus, str] | None:
        """Why a POST is not even read."""
        origin = self.headers.get("Origin")
        length = self.headers.get("Content-Length", "")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            return HTTPStatus.FORBIDDEN, "another page may not answer"
        if path != "answer":
            return HTTPStatus.NOT_FOUND, "there is no such page"
        if self.headers.get_content_type() != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "an answer is JSON"
        if not is_index(length) or "Transfer-Encoding" in self.headers:
            return HTTPStatus.LENGTH_REQUIRED, "an answer says how long it is"
        if int(length) > LARGEST:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an answer has at most {LARGEST} bytes"
        return None

    def admitted(self) -> str | None:
        """The path below the token; None after a refusal."""
        if self.headers.get("Host") not in self.server.hosts:
            self.refuse(HTTPStatus.FORBIDDEN, f"this server is {ADDRESS}")
            return None
        token, _, path = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self.refuse(HTTPStatus.NOT_FOUND, "open the address that the terminal shows, the whole of it")
            return None
        return path

    def reply(self, status: HTTPStatus, media_type: str, content: bytes) -> None:
        """Sends a whole reply."""
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def reply_json(self, status: HTTPStatus, value: Any) -> None:
        """Sends a value as JSON."""
        self.reply(status, "application/json", json.dumps(value, allow_nan=False).encode())

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """Sends {error: reason} and ends the connection, as what follows on it may be an unread body."""
        self.close_connection = True
        self.reply_json(status, {"error": reason})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: the address holds the token, and the terminal belongs to the person."""


def is_index(text: str) -> bool:
    """Whether a text is a number of at most nine plain digits."""
    return text.isascii() and text.isdigit() and len(text) <= 9


def answer_in(content: bytes) -> tuple[int, str | None, int, float]:
    """Question, value, scale and seconds of an answer.

    Raises:
        Refused: it is no JSON object of exactly these, each of its type.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        raise Refused("an answer is a JSON object") from None
    if not isinstance(fields, dict) or set(fields) != {"question", "value", "scale", "seconds"}:
        raise Refused("an answer has question, value, scale and seconds, and nothing else")
    number, value, scale, seconds = (fields[key] for key in ("question", "value", "scale", "seconds"))
    if type(number) is not int or type(scale) is not int:
        raise Refused("question and scale are whole numbers")
    if value is not None and not isinstance(value, str):
        raise Refused("value is the typed text, or null")
    if type(seconds) not in (int, float) or not abs(seconds) < math.inf:  # isfinite fails for a huge int
        raise Refused("seconds is a number")
    return number, value, scale, seconds
