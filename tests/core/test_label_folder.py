"""A folder of label maps leaves nothing behind when it fails, and never writes outside."""

import pytest

from stages.core.faults import Fault
from stages.core.label_folder import write_folder


@pytest.mark.parametrize("image_id", ["../x", "a/../../x", "/tmp/x"])  # noqa: S108 - it must not be written
def test_an_id_that_leads_out_of_the_folder(tmp_path, image_id):
    with pytest.raises(Fault, match="leads out of the folder"):
        write_folder(tmp_path / "a" / "out", [("fine", b"1"), (image_id, b"2")])
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_nothing_appears_when_a_map_fails(tmp_path):
    def maps():
        yield "a", b"1"
        raise Fault("broken")

    with pytest.raises(Fault, match="broken"):
        write_folder(tmp_path / "out", maps())
    assert list(tmp_path.iterdir()) == []


def test_no_map_is_an_empty_folder(tmp_path):
    assert write_folder(tmp_path / "out", []) == 0
    assert list((tmp_path / "out").iterdir()) == []
