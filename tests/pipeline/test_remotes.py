"""Everything that DVC keeps goes to a remote and comes back: over S3 and over SSH, from servers on this machine."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.pipeline.machines import BASELINE, author, clone

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
Subsystem sftp internal-sftp
"""


@pytest.fixture
def s3():
    """The address of a bucket and the settings of the remote, on an S3 server in this process."""
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed; make test installs it")
    server = pytest.importorskip("moto.server", reason="moto is not installed; make test installs it")
    import requests

    thread = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    assert requests.put(f"http://{host}:{port}/sizewise", timeout=60).status_code == 200
    yield "s3://sizewise/store", {"endpointurl": f"http://{host}:{port}"}
    thread.stop()


@pytest.fixture
def ssh(tmp_path):
    """The address of a folder and the settings of the remote, on an SSH server of our own with a key of its own."""
    sshd = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
    if sshd is None or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no SSH server (sshd, ssh-keygen) on this machine")
    pytest.importorskip("dvc_ssh", reason="there is an SSH server, but dvc-ssh is not installed")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # root's sshd wants it, and only a service makes it
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "sshd").write_text(SSHD.format(port=port, folder=tmp_path))
    server = subprocess.Popen([sshd, "-D", "-e", "-f", str(tmp_path / "sshd")], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert server.poll() is None, server.stderr.read()
            assert time.monotonic() < deadline, "the SSH server does not answer"
            time.sleep(0.1)
        settings = {"port": str(port), "user": getpass.getuser(), "keyfile": str(tmp_path / "user")}
        yield f"ssh://127.0.0.1{tmp_path}/store", settings
    finally:
        server.terminate()
        server.wait()


@pytest.mark.parametrize("kind", ["s3", "ssh"])
def test_everything_comes_back_from_a_remote(kind, request, tmp_path):
    url, settings = request.getfixturevalue(kind)
    home = author(tmp_path / "home", url, **settings)
    home.variables |= KEYS
    home.run("dvc", "repro")
    home.commit("results")
    home.run("git", "push", "-q", "origin", "main")
    home.run("dvc", "push", "--run-cache")
    other = clone(home, tmp_path / "other")
    assert not Path(other.folder / "models").exists()
    other.run("dvc", "pull", "--run-cache")
    assert {name: other.read(name) for name in BASELINE} == BASELINE
    assert other.read("metrics/samples/b.png") == BASELINE["data/dataset.zip"]
    assert "up to date" in other.run("dvc", "status")
    assert other.run("git", "status", "--porcelain") == ""
    ours, theirs = (sorted((one.folder / ".dvc/cache/runs").rglob("*")) for one in (home, other))
    assert [path.name for path in theirs] == [path.name for path in ours]  # what was run, for the next experiment
