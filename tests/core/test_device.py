"""Which GPU a process takes; the machine of these tests need not have one."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from stages.core import device as devices

HOLD = """
import sys
from stages.core.device import claim
mine = claim(["a", "b"])
print(mine[0], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def main_repository(tmp_path, monkeypatch):
    """The folder of the claims."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(devices, "_claim", [])
    return tmp_path


def test_each_claims_the_one_with_the_fewest_claims(main_repository):
    claims = [devices.claim(["a", "b"]) for _ in range(5)]
    assert [place for place, _ in claims] == [0, 1, 0, 1, 0]
    claims[1][1].release()
    assert devices.claim(["a", "b"])[0] == 1


def test_a_claim_ends_with_its_process(main_repository):
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"0\n"
        place, lock = devices.claim(["a", "b"])
        assert place == 1
        other.kill()
        other.wait()
    assert devices.claim(["a", "b"])[0] == 0


@pytest.fixture
def two_gpus(main_repository, monkeypatch):
    """As PyTorch shows them; the number of the present one, in a list."""
    present = [0]
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "current_device": lambda: present[0],
        "set_device": lambda number: present.__setitem__(0, number),
        "get_device_properties": lambda number: SimpleNamespace(uuid=f"GPU-{number}"),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return present


def test_a_process_keeps_the_one_that_it_claimed(two_gpus):
    other = devices.claim(["GPU-0", "GPU-1"])
    assert devices.device() == devices.device() == torch.device("cuda", 1)
    assert devices.claim(["GPU-0", "GPU-1"])[0] == 0
    assert other[0] == 0


def test_a_member_of_a_training_has_its_own(two_gpus):
    devices.use_gpu(1)
    assert devices.device() == torch.device("cuda", 1)


def test_what_the_user_names_is_not_claimed(two_gpus, main_repository, monkeypatch):
    monkeypatch.setenv("SIZEWISE_DEVICE", "cuda:1")
    assert devices.device() == torch.device("cuda", 1)
    assert not (main_repository / devices.CLAIMS).exists()
