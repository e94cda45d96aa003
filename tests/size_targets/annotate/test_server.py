"""The page is for one person on this machine: who else asks gets nothing, and what is no answer changes nothing."""

import http.client
import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

from stages.core.faults import Fault
from stages.size_targets.annotate import server as module
from stages.size_targets.annotate.server import Server, is_index
from tests.size_targets.annotate.test_session import rows, start

ANSWER = {"question": 0, "value": "12.5", "scale": 0, "seconds": 3.25}


@pytest.fixture
def server(folder):
    with Server(start(folder, "--classes", "cat", "--truth", folder / "masks", "--train", "1")) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server, path, body=None, headers=None, method=None, base=None):
    """Status, headers and content of a request to the page."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    sent = ({"Content-Type": "application/json"} if data is not None else {}) | (headers or {})
    address = (server.url if base is None else base) + path
    request = urllib.request.Request(address, data, sent, method=method)  # noqa: S310 - the page's
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def saved(server):
    return [rows(file.path) for file in vars(server.session.records).values()]


NOTHING = [[], [], []]


def test_the_page_its_images_and_an_answer(server, folder):
    for path, kind in (("", "text/html"), ("page.js", "text/javascript"), ("page.css", "text/css")):
        status, headers, content = ask(server, path)
        assert (status, headers.get_content_type()) == (200, kind)
        assert content
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
    entries = json.loads(ask(server, "session")[2])["questions"]
    for number, entry in enumerate(entries):
        status, headers, content = ask(server, f"image/{number}")
        assert (status, headers.get_content_type()) == (200, "image/png")
        assert content == (folder / f"images/{entry['image']}.png").read_bytes()
    assert ask(server, "truth/0")[0] == 404  # before the answer
    status, _, content = ask(server, "answer", ANSWER)
    assert (status, json.loads(content)["percent"]) == (200, 12.5)
    assert ask(server, "truth/0")[2].startswith(b"\x89PNG")
    own = {"Origin": f"http://localhost:{server.server_port}"}
    assert ask(server, "answer", ANSWER | {"question": 2}, own)[0] == 200
    assert saved(server) == [
        [f"{entries[2]['image']},cat,12.5,3.25"],
        [f"{entries[0]['image']},cat,12.5,3.25"],
        [],
    ]


def test_the_page_asks_nobody_else(server):
    for path in ("", "page.js", "page.css"):
        text = ask(server, path)[2].decode()
        assert "//" not in text.replace("// ", "").replace('"http://www.w3.org/2000/svg"', "")


def test_it_listens_on_this_machine_only(server):
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "[::1]", ""])
@pytest.mark.parametrize(("path", "body"), [("", None), ("session", None), ("image/0", None), ("answer", ANSWER)])
def test_another_host_name_gets_nothing(server, host, path, body):
    status, _, content = ask(server, path, body, {"Host": host})
    assert status in (400, 403)
    assert b"cat" not in content
    assert saved(server) == NOTHING


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "null", "", "file://"]
)
def test_another_page_cannot_answer(server, origin):
    assert ask(server, "answer", ANSWER, {"Origin": origin})[0] == 403
    assert saved(server) == NOTHING


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_of_another_page_could_send_is_no_answer(server, kind):
    """These types need no preflight request, so a browser would send them."""
    assert ask(server, "answer", ANSWER, {"Content-Type": kind})[0] == 415
    assert ask(server, "answer", method="OPTIONS")[0] == 501
    assert saved(server) == NOTHING


def test_without_the_token_there_is_nothing(server):
    base = f"http://127.0.0.1:{server.server_port}"
    token = server.token
    for path in ("/", "", "/session", "/x/session", f"/{token[:-1]}/session", f"//{token}x/", f"/%2e/{token}/", "/é"):
        status, _, content = ask(server, path.replace("é", "%C3%A9"), base=base)
        assert status == 404, path
        assert b"cat" not in content
        assert token.encode() not in content
    assert ask(server, "/wrong/answer", ANSWER, base=base)[0] == 404
    assert saved(server) == NOTHING
    assert len(token) >= 20


@pytest.mark.parametrize(
    "path",
    ["image/4", "image/-1", "image/", "image/0/", "image/1e0", "image/%D9%A3", "image/99999999999", "image/../session"]
    + ["image/..%2fsizes.csv", "../sizes.csv", "..%2f..%2fetc%2fpasswd", "//etc/passwd", "page.py", "server.py"]
    + ["__main__.py", "truth/3", "truth/9", "session/", "answer", "session?x=1"],
)
def test_there_are_no_paths_but_the_indices(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.putrequest("GET", f"/{server.token}/{path}")
        connection.endheaders()
        reply = connection.getresponse()
        assert reply.status == 404
        assert "error" in json.loads(reply.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 1000, {}, ANSWER | {"more": 1}, {"question": 0, "value": "1"}]
    + [ANSWER | {"question": wrong} for wrong in (-1, 4, 0.0, True, "0", None, 10**30)]
    + [ANSWER | {"value": wrong} for wrong in (12.5, "", "-1", "101", "1e1", "NaN", "0x10", "1;2", [], True)]
    + [ANSWER | {"scale": wrong} for wrong in (-1, 2, "0", None, True)]
    + [ANSWER | {"seconds": wrong} for wrong in (-1, 1e9, "1", None, True)]
    + [json.dumps(ANSWER).replace("3.25", wrong).encode() for wrong in ("NaN", "Infinity", "1e999", "9" * 500)],
)
def test_what_is_no_answer_is_refused_with_a_reason(server, body):
    status, _, content = ask(server, "answer", body)
    assert status == 422
    assert json.loads(content)["error"]
    assert saved(server) == NOTHING


def test_a_huge_or_endless_body_is_not_read(server):
    assert ask(server, "answer", b" " * 1025)[0] == 413
    for header, status in (
        ("Content-Length: 999999999", 413),
        ("Content-Length: 99999999999999999999", 411),
        ("Content-Length: -1", 411),
        ("Transfer-Encoding: chunked", 411),
        ("X: y", 411),
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            head = f"POST /{server.token}/answer HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
            connection.sendall(f"{head}Content-Type: application/json\r\n{header}\r\n\r\n".encode())
            reply = b"".join(iter(lambda: connection.recv(65536), b""))  # noqa: B023 - until the server hangs up
        assert reply.startswith(f"HTTP/1.1 {status} ".encode()), header
    assert saved(server) == NOTHING
    assert ask(server, "session")[0] == 200


def test_a_silent_connection_keeps_nobody_waiting(server):
    with socket.create_connection(("127.0.0.1", server.server_port)) as silent:
        silent.sendall(b"POST /")
        assert ask(server, "session")[0] == 200


def test_an_answer_that_cannot_be_saved_says_so_and_can_be_sent_again(server, monkeypatch):
    file = server.session.records.answers
    with monkeypatch.context() as patch:
        patch.setattr(file, "put", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        status, _, content = ask(server, "answer", ANSWER | {"question": 1})
        assert status == 507
        assert "No space left on device" in json.loads(content)["error"]
    assert ask(server, "answer", ANSWER | {"question": 1})[0] == 200
    assert len(rows(file.path)) == 1


def test_an_image_that_disappeared_is_an_error_of_that_image(server, folder):
    (folder / "images/d.png").unlink()
    numbers = [number for number, question in enumerate(server.session.questions) if question.image == "d"]
    assert ask(server, f"image/{numbers[0]}")[0] == 500
    assert ask(server, "session")[0] == 200


@pytest.mark.parametrize(("error", "shown"), [(BrokenPipeError, False), (ZeroDivisionError, True)])
def test_a_defect_is_shown_in_the_terminal_and_a_browser_that_leaves_is_not(server, monkeypatch, capsys, error, shown):
    def broken():
        raise error

    monkeypatch.setattr(server.session, "describe", broken)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server, "session")
    assert (error.__name__ in capsys.readouterr().err) == shown


def test_many_answers_at_once_all_arrive(server):
    threads = [
        threading.Thread(
            target=ask, args=(server, "answer", ANSWER | {"question": 1 + number % 3, "value": str(number)})
        )
        for number in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = rows(server.session.records.answers.path)
    assert sorted(line.split(",")[0] for line in lines) == sorted(q.image for q in server.session.questions[1:])
    assert sum(float(line.split(",")[3]) for line in lines) == pytest.approx(24 * 3.25)


def test_an_index_is_written_in_plain_digits():
    assert is_index("0")
    assert is_index("123456789")
    assert not any(map(is_index, ("", "1234567890", "-1", "+1", "1_0", " 1", "1\n", "٣", "²")))


def test_a_port_that_is_taken_is_a_fault(server, monkeypatch):
    with pytest.raises(Fault, match=f"port {server.server_port} is taken; name another --port"):
        Server(server.session, server.server_port)
    monkeypatch.setattr(
        module.socketserver.TCPServer, "server_bind", lambda _: (_ for _ in ()).throw(PermissionError(13, "no"))
    )
    with pytest.raises(Fault, match="port 80 is not allowed"):
        Server(server.session, 80)
