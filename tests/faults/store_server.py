"""MLflow's own server behind a door that can be shut in several ways, for tests of a server that is away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 600  # 10 on an idle machine
WAYS = ("refuses", "hangs", "answers 500", "breaks off")
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"


class Door:
    """Hands connections on 127.0.0.1 to a server behind it, or does what `way` says in its place.

    way: `open`; or `refuses` (closes at once), `hangs` (never answers), `answers 500`, `breaks off` (hands the request
        on and closes in the middle of the answer).
    """

    def __init__(self, behind: int) -> None:
        self.way, self.behind = "open", behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._held: list[socket.socket] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client, self.way), daemon=True).start()

    def _serve(self, client: socket.socket, way: str) -> None:
        with suppress(OSError):
            if way == "hangs":
                self._held.append(client)  # kept, so that it is not closed
                return
            with client:
                if way == "answers 500":
                    client.recv(1 << 16)
                    client.sendall(ERROR)
                elif way in ("open", "breaks off"):
                    self._hand_on(client)

    def _hand_on(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self.behind)) as server:
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
            while part := server.recv(1 << 16):
                if self.way == "breaks off":
                    client.sendall(part[: len(part) // 2])
                    return
                if self.way != "open":  # shut meanwhile, with the connection kept alive
                    return
                client.sendall(part)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(1 << 16):
                sink.sendall(part)

    def close(self) -> None:
        """Ends it."""
        self._listener.close()
        for client in self._held:
            client.close()


@contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """The port of an `mlflow server` over SQLite."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", str(folder / "artifacts")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(address: str) -> bool:
    """Whether a server answers with 200."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - our own server
            return answer.status == 200
    except OSError:
        return False
