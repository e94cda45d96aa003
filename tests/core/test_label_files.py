"""Maps of every form are read, and what is none is named."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core import label_files
from stages.core.faults import Fault
from stages.core.label_files import BadMap, as_ids, as_labels, decode_map, find_maps
from tests.evaluate.score_files import archive, folder, npy, png

LABELS = np.array([[0, 1, 2], [3, 3, 255]], np.uint8)
PNG, NPY = png(LABELS), npy(LABELS)


def saved(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (PNG, "a.png"),
        (PNG, "a.PNG"),
        (png(LABELS, palette=True), "a.png"),
        (png(LABELS.astype(np.uint16)), "a.png"),
        (NPY, "a.npy"),
        (npy(LABELS.astype(np.int64)), "a.npy"),
        (npy(np.asfortranarray(LABELS.astype(">u2"))), "a.npy"),
    ],
)
def test_every_form_gives_the_same_map(content: bytes, name: str) -> None:
    np.testing.assert_array_equal(as_labels(decode_map(content, name)), LABELS)


def test_16_bits_are_kept() -> None:
    ids = np.array([[0, 256, 65535]], np.uint16)
    np.testing.assert_array_equal(decode_map(png(ids), "a.png"), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_indices_of_a_small_palette_are_the_labels(bits: int) -> None:
    image = Image.fromarray(np.array([[0, 1, 1]], np.uint8))
    image.putpalette(bytes(range(6)))
    np.testing.assert_array_equal(decode_map(saved(image, bits=bits), "a.png"), [[0, 1, 1]])


def header(width: int, height: int) -> bytes:
    """A PNG with another size in its header."""
    return PNG[:16] + width.to_bytes(4) + height.to_bytes(4) + PNG[24:]


BAD = [
    ("unreadable", b"", "a.png", "0 bytes"),
    ("unreadable", b"JFIF" * 30, "a.png", "no PNG"),
    ("unreadable", PNG, "a.npy", "ValueError"),
    ("unreadable", NPY[:-1], "a.npy", "ValueError"),
    ("unreadable", npy(np.array([[None]])), "a.npy", "allow_pickle=False"),
    ("no_map", png(np.zeros((2, 2, 3), np.uint8)), "a.png", "an RGB picture"),
    ("no_map", saved(Image.new("RGBA", (2, 2))), "a.png", "an RGBA picture"),
    ("no_map", saved(Image.new("LA", (2, 2))), "a.png", "a grey and alpha picture"),
    ("no_map", saved(Image.new("1", (2, 2))), "a.png", "a grey picture of 1 bit a pixel"),
    ("no_map", npy(np.zeros((2, 2))), "a.npy", "type float64"),
    ("no_map", npy(np.zeros((2, 2), bool)), "a.npy", "type bool"),
    ("no_map", npy(np.zeros((1, 2, 2), int)), "a.npy", "shape (1, 2, 2)"),
    ("no_map", npy(np.array(3)), "a.npy", "shape ()"),
    ("empty", npy(np.zeros((0, 5), np.uint8)), "a.npy", "0 x 5 pixels"),
    ("empty", header(3, 0), "a.png", "0 x 3 pixels"),
]


@pytest.mark.parametrize(("kind", "content", "name", "text"), BAD)
def test_what_is_no_map_is_told_from_what_cannot_be_read(kind: str, content: bytes, name: str, text: str) -> None:
    with pytest.raises(BadMap) as error:
        decode_map(content, name)
    assert error.value.kind == kind
    assert text in str(error.value)


def test_a_png_is_refused_wherever_it_is_cut_off() -> None:
    whole = png(np.random.default_rng(0).integers(0, 9, (40, 40), np.uint8))
    for length in range(len(whole) - 8):
        with pytest.raises(BadMap):
            decode_map(whole[:length], "a.png")


def test_labels_of_any_width_fit_into_8_bits() -> None:
    for kind in (np.uint8, np.int16, np.uint16, np.int64):
        found = as_labels(np.array([[0, 7, 100]], kind), void=7)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, [[0, 255, 100]])
    np.testing.assert_array_equal(as_labels(np.array([[0, -1, 254]]), void=-1), [[0, 255, 254]])
    np.testing.assert_array_equal(as_labels(np.array([[0, 65535]], np.uint16), void=65535), [[0, 255]])
    np.testing.assert_array_equal(as_labels(np.array([[0, 9]], np.uint8), void=65535), [[0, 9]])


@pytest.mark.parametrize(
    ("array", "void", "text"),
    [
        (np.array([[0, 255]], np.uint8), 254, "label 255, which is kept for void"),
        (np.array([[0, 255]], np.uint8), -1, "label 255, which is kept for void"),
        (np.array([[0, -1]]), 255, "-1; labels are 0..254, and 255 for void"),
        (np.array([[300, 256]], np.uint16), 255, "256, 300; labels"),
        (np.arange(300, 320).reshape(4, 5), 255, "307 and 12 more; labels"),
    ],
)
def test_labels_that_no_class_may_have(array: np.ndarray, void: int, text: str) -> None:
    with pytest.raises(BadMap) as error:
        as_labels(array, void)
    assert error.value.kind == "labels"
    assert text in str(error.value)


def test_void_of_instances_depends_on_the_width() -> None:
    for kind, void in ((np.uint8, 255), (np.uint16, 65535), (np.int64, 65535)):
        found = as_ids(np.array([[0, 3, void]], kind))
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, [[0, 3, 65535]])
    np.testing.assert_array_equal(as_ids(np.array([[0, 255, 300]], np.uint16)), [[0, 255, 300]])
    np.testing.assert_array_equal(as_ids(np.array([[0, 255]], np.uint16), 255), [[0, 65535]])
    np.testing.assert_array_equal(as_ids(np.array([[0, 255]], np.uint8), 65535), [[0, 255]])
    np.testing.assert_array_equal(as_ids(np.array([[0, -1]]), -1), [[0, 65535]])


@pytest.mark.parametrize(("values", "void"), [([0, 65535], 255), ([0, -1], None), ([0, 65536], None)])
def test_ids_that_no_instance_may_have(values: list[int], void: int | None) -> None:
    with pytest.raises(BadMap, match="ids are 0..65534"):
        as_ids(np.array([values]), void)


FILES = {"masks/val/1.png": PNG, "masks/2.npy": NPY, "masks/notes.txt": b"", "about.json": b"", "masks/.3.png": b""}


@pytest.mark.parametrize("pack", [folder, archive])
def test_files_of_a_folder_or_a_zip_by_stem(tmp_path: Path, pack) -> None:
    source = find_maps(pack(tmp_path / "x", FILES | {"__MACOSX/masks/2.png": b""}))
    assert source.members == {"val/1": "masks/val/1.png", "2": "masks/2.npy"}
    assert source.twice == ()
    np.testing.assert_array_equal(source.read("val/1"), LABELS)
    np.testing.assert_array_equal(source.read("2"), LABELS)


def test_the_one_folder_of_all_files_stays_where_the_masks_have_it_too(tmp_path: Path) -> None:
    source = folder(tmp_path / "x", {"val/1.png": PNG, "val/2.png": PNG})
    assert set(find_maps(source).members) == {"1", "2"}
    assert set(find_maps(source, {"1", "3"}).members) == {"1", "2"}
    assert set(find_maps(source, {"val/1", "test/3"}).members) == {"val/1", "val/2"}


def test_a_stem_ends_at_the_last_dot(tmp_path: Path) -> None:
    assert set(find_maps(folder(tmp_path / "x", {"a.b.png": PNG, "a.c.png": PNG})).members) == {"a.b", "a.c"}


def test_two_files_of_one_stem_are_named(tmp_path: Path) -> None:
    assert find_maps(folder(tmp_path / "x", {"a.png": PNG, "a.npy": NPY, "b.png": PNG})).twice == ("a",)


def test_a_damaged_member_of_a_zip_is_unreadable(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", {"a.png": PNG})
    content = bytearray(path.read_bytes())
    content[len("a.png") + 30 + 20] ^= 255  # in the middle of the packed bytes
    path.write_bytes(content)
    with pytest.raises(BadMap) as error:
        find_maps(path).read("a")
    assert error.value.kind == "unreadable"


def test_what_is_no_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no zip")
    for path, text in (
        (tmp_path / "none", "there is no such folder or zip"),
        (tmp_path / "text", "neither a folder nor a zip"),
        (folder(tmp_path / "empty", {"a.txt": b""}), "no PNG and no .npy"),
    ):
        with pytest.raises(Fault, match=text):
            find_maps(path)


def test_a_bad_map_survives_the_way_out_of_a_worker_process():
    error = pickle.loads(pickle.dumps(BadMap("size", "too small")))  # noqa: S301 - our own bytes
    assert (error.kind, str(error)) == ("size", "too small")


def test_a_member_that_unpacks_to_more_than_a_map_can_be_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "maps.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(10_000))
    monkeypatch.setattr(label_files, "MOST_BYTES", 9_999)
    with pytest.raises(BadMap, match="10000 bytes, more than 9999"):
        find_maps(tmp_path / "maps.zip").content("a")
