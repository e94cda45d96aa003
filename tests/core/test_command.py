"""A program that is no stage ends with one message and an exit code."""

import errno
import subprocess
import sys

import pytest

from stages.core.command import exit_on_fault
from stages.core.faults import Fault

GONE = OSError(errno.ENOSPC, "No space left on device", "/a")


@pytest.mark.parametrize(
    ("error", "options", "code", "text"),
    [
        (Fault("a is wrong; mend it"), {}, 1, "sizewise score: a is wrong; mend it\n"),
        (Fault("x"), {"after": "nothing was written"}, 1, "sizewise score: x\nnothing was written\n"),
        (Fault("x"), {"code": 2, "after": "nothing was written"}, 2, "sizewise score: x\nnothing was written\n"),
        (GONE, {}, 1, "sizewise score: [Errno 28] No space left on device: '/a'\n"),
        (KeyboardInterrupt(), {"code": 2, "after": "nothing was written"}, 130, "sizewise score: stopped\n"),
    ],
)
def test_what_a_person_can_mend_is_one_message(error, options, code, text, capsys):
    with pytest.raises(SystemExit) as end, exit_on_fault("score", **options):
        raise error
    assert end.value.code == (text.rstrip() if code == 1 else code)
    assert capsys.readouterr() == ("", "" if code == 1 else text)


def test_the_exit_code_of_a_process():
    code = "from stages.core.command import exit_on_fault as e; from stages.core.faults import Fault\n"
    for number in (1, 2):
        command = [sys.executable, "-c", f"{code}with e('a', {number}, 'z'): raise Fault('b')"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (number, "", "sizewise a: b\nz\n")


def test_a_defect_of_ours_keeps_its_traceback_and_what_works_goes_on():
    with pytest.raises(ValueError, match="ours"), exit_on_fault("score"):
        raise ValueError("ours")
    with exit_on_fault("score"):
        done = True
    assert done
