"""Score maps in each form that other projects write, and files that would execute something or eat the memory."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.core.faults import Fault
from stages.core.label_files import BadMap
from stages.core.npy_objects import read_npy
from stages.refine.score_files import find_scores, is_score_source, read_scores, scores_of
from tests.structure.closure import ROOT

CLASSES = 20
VOC = range(1, 21)
RANDOM = np.random.default_rng(0)
MAPS = RANDOM.random((2, 6, 8), np.float32)


def npy(value: Any) -> bytes:
    """A file of `np.save`."""
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """A file of `np.savez_compressed`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


HEADER = npy(np.array(None))[:128]


def hostile(payload: bytes) -> bytes:
    """An .npy file of one object with this pickle."""
    assert HEADER.endswith(b"\n")
    return HEADER + payload


KEYS = np.array([2, 14])
IRN = {"keys": torch.from_numpy(KEYS), "cam": torch.rand(2, 2, 2), "high_res": MAPS}
SPREAD = torch.from_numpy(RANDOM.random((8, 6, 5), np.float32))
FORMS = {
    "irn.npy": npy(IRN),
    "arrays.npy": npy({"keys": KEYS, "high_res": MAPS}),
    "coarse.npy": npy({"keys": KEYS.tolist(), "cam": torch.from_numpy(MAPS)}),
    "background_map.npy": npy({"keys": KEYS, "high_res": np.concatenate([MAPS[:1] * 0, MAPS])}),
    "background_key.npy": npy({"keys": np.array([0, 3, 15]), "high_res": MAPS}),
    "psa.npy": npy({2: MAPS[0], 14: MAPS[1]}),
    "numpy_keys.npy": npy({np.int64(2): MAPS[0], np.uint8(14): np.asfortranarray(MAPS[1])}),
    "big_endian.NPY": npy({2: MAPS[0].astype(">f8"), 14: MAPS[1]}),
    "ordered.npz": npz(keys=KEYS, cam=MAPS[:, ::2], high_res=MAPS),
    "classes.npz": npz(**{"2": MAPS[0], "14": MAPS[1]}),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_maps(name: str) -> None:
    found = read_scores(FORMS[name], name, CLASSES)
    assert list(found) == [2, 14]
    for scores, expected in zip(found.values(), MAPS, strict=True):
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_pickle_or_a_clear_no(protocol: int) -> None:
    """`np.save` uses 4 and before 3; of protocol 5 NumPy's arrays are another call."""
    value = np.array({"keys": torch.from_numpy(KEYS), "high_res": torch.from_numpy(MAPS)}, object)
    plain = np.array({2: MAPS[0], np.int64(14): MAPS[1]}, object)
    for array in (value, plain):
        content = hostile(pickle.dumps(array, protocol))
        if protocol == 5 and array is plain:
            with pytest.raises(BadMap, match="_frombuffer"):
                read_scores(content, "a.npy", CLASSES)
        else:
            np.testing.assert_array_equal(list(read_scores(content, "a.npy", CLASSES).values()), MAPS)


@pytest.mark.parametrize("old", ["numpy.core.multiarray"])
def test_names_of_older_numpy(old: str) -> None:
    content = hostile(pickle.dumps(np.array({2: MAPS[0]}, object), 2).replace(b"numpy._core.multiarray", old.encode()))
    np.testing.assert_array_equal(read_scores(content, "a.npy", CLASSES)[2], MAPS[0])


def test_tensors_of_every_type_and_stride() -> None:
    """100 random views, transposed, sliced and offset, of 8 types, against torch's own."""
    kinds = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8")
    for number in range(100):
        base = torch.from_numpy(RANDOM.random((4, 5, 6)) * 100).to(getattr(torch, kinds[number % 8]))
        start, step = RANDOM.integers(0, 2), RANDOM.integers(1, 3)
        tensor = base.permute(*RANDOM.permutation(3).tolist())[start::step, :, start::step]
        (found,) = [array for _, array in read_npy(npy({"cam": tensor}))]
        assert found.dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found, tensor.numpy())


def test_a_map_for_each_class_without_keys() -> None:
    maps = RANDOM.random((CLASSES, 3, 4), np.float32)
    found = read_scores(npy(maps), "a.npy", CLASSES)
    np.testing.assert_array_equal([found[label] for label in range(CLASSES)], maps)


def test_half_precision_and_negative_scores() -> None:
    found = read_scores(npy({0: np.array([[-1.5, 0, 0.5, 7]], np.float16)}), "a.npy", CLASSES)[0]
    np.testing.assert_array_equal(found, [[0, 0, 0.5, 7]])
    assert found.dtype == np.float32


def test_an_image_without_tags_has_no_maps() -> None:
    assert read_scores(npy({"keys": torch.zeros(0, dtype=torch.int64)}), "a.npy", CLASSES) == {}
    assert read_scores(npy({}), "a.npy", CLASSES) == {}


NAN = np.full((2, 2), np.nan, np.float32)
BAD = [
    ("keys", npy({20: MAPS[0]}), "a.npy", "class 20, beyond 0..19"),
    ("keys", npy({-1: MAPS[0]}), "a.npy", "class -1, beyond"),
    ("keys", npy({10**300: MAPS[0]}), "a.npy", "a very large number, beyond"),
    ("keys", npy({"cat": MAPS[0]}), "a.npy", "the key 'cat'"),
    ("keys", npy({"keys": KEYS, "cam": MAPS[:1]}), "a.npy", "1 maps for 2 keys"),
    ("keys", npy({"keys": np.array([3, 3]), "cam": MAPS}), "a.npy", "one of them twice"),
    ("keys", npy({"keys": KEYS / 2, "cam": MAPS}), "a.npy", "type float64, and not a list of classes"),
    ("keys", npz(**{"2": MAPS[0], "02": MAPS[0]}), "a.npz", "one of them twice"),
    ("no_map", npy({"keys": KEYS}), "a.npy", "neither `cam` nor `high_res`"),
    ("no_map", npy({"keys": KEYS, "cam": MAPS[0]}), "a.npy", "maps of shape (6, 8)"),
    ("no_map", npy({0: MAPS[0], 1: MAPS[0, 1:]}), "a.npy", "(5, 8), (6, 8)"),
    ("no_map", npy({0: MAPS[0, :0]}), "a.npy", "(0, 8)"),
    ("no_map", npy({0: NAN}), "a.npy", "no finite number"),
    ("no_map", npy({0: np.full((2, 2), 1e300)}), "a.npy", "no finite number"),
    ("no_map", npy(MAPS), "a.npy", "(20, height, width)"),
    ("no_map", npy(np.zeros((20, 2, 2), np.uint8)), "a.npy", "type uint8"),
    ("unreadable", npy({0: MAPS.astype(complex)}), "a.npy", "type c16, and not of numbers"),
    ("unreadable", npy({0: np.array([[None]])}), "a.npy", "type O8, and not of numbers"),
    ("unreadable", npy({0: 0.5}), "a.npy", "0.5, and not an array"),
    ("unreadable", npy({0: torch.zeros(2, 2, dtype=torch.bfloat16)}), "a.npy", "BFloat16Storage"),
    ("unreadable", npy(np.array([{0: MAPS[0]}, {0: MAPS[0]}])), "a.npy", "shape (2,)"),
    ("unreadable", npy(np.array([1], object)), "a.npy", "and not a dictionary"),
    ("unreadable", npz(x=np.array({0: MAPS[0]}, object)), "a.npz", "a dictionary in an .npz"),
    ("unreadable", npy(np.zeros((2, 2), "S3")), "a.npy", "|S3"),
    ("unreadable", b"", "a.npy", "ValueError"),
    ("unreadable", b"PK", "a.npz", "BadZipFile"),
    ("unreadable", npy(dict.fromkeys(range(20), MAPS[0])), "a.npy", "more maps than"),  # one array, by reference
]


@pytest.mark.parametrize(("kind", "content", "name", "text"), BAD)
def test_what_is_no_score_file_is_named(kind: str, content: bytes, name: str, text: str) -> None:
    with pytest.raises(BadMap) as error:
        read_scores(content, name, CLASSES)
    assert text in str(error.value)
    assert error.value.kind == kind or "BFloat16" in text


class Reduce:
    """Pickles as any call."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple:
        return self.parts


MARKER = "sizewise_executed"  # a file that every hostile one would make
TOUCH = f"touch {MARKER}"
MAKE = f"open({MARKER!r}, 'w')"
TENSOR = pickle.dumps({0: torch.zeros(2, 2)})
WRAPPED = pickle.dumps(np.array({"keys": KEYS}, object), 2)  # {"keys"...} in the array of one object
CALLS = {
    "system": Reduce(os.system, (TOUCH,)),
    "eval": Reduce(eval, (MAKE,)),
    "exec": Reduce(exec, (MAKE,)),
    "popen": Reduce(subprocess.getoutput, (TOUCH,)),
    "open": Reduce(open, (MARKER, "w")),
    "torch.load": Reduce(torch.load, (MARKER,)),
    "np.load": Reduce(np.load, (MARKER,)),
    "getattr": Reduce(getattr, ("x", "upper")),
    "argument": Reduce(OrderedDict, (Reduce(os.system, (TOUCH,)),)),
    "state": Reduce(OrderedDict, (), {"__class__": Reduce(os.system, (TOUCH,))}),
    "items": Reduce(OrderedDict, (), None, None, iter([("x", Reduce(os.system, (TOUCH,)))])),
}
PROGRAMS = {
    "system by GLOBAL": b"cos\nsystem\n(S'" + TOUCH.encode() + b"'\ntR.",
    "INST": b"(S'" + TOUCH.encode() + b"'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'" + TOUCH.encode() + b"'\no.",
    "NEWOBJ": b"\x80\x02cnumpy\nndarray\n(K\x00t\x81.",
    "NEWOBJ_EX": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)}\x92.",
    "EXT1": b"\x80\x02\x82\x01.",
    "PERSID": b"Psomething\n.",
    "BINPERSID": b"S'something'\nQ.",
    "BUILD on a name": b"cnumpy\nndarray\n}S'__array_finalize__'\nK\x01sb.",
    "BUILD on a dictionary": b"}}S'x'\nK\x01sb.",
    "BUILD with slots": b"cnumpy\nndarray\n(N}S'__doc__'\nK\x01stb.",
    "BUILD on an OrderedDict": b"ccollections\nOrderedDict\n)R}S'__class__'\nK\x01sb.",
    "REDUCE of a result": b"ccollections\nOrderedDict\n)R)R.",
    "REDUCE of a call": b"cos\nsystem\n(S'" + TOUCH.encode() + b"'\ntR)R.",
    "REDUCE of text": b"S'os.system'\n)R.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__class__\x93.",
    "dotted module": b"cnumpy.ndarray\n__class__\n.",
    "memo that is a name": b"cos\nsystem\np0\n0g0\n(S'" + TOUCH.encode() + b"'\ntR.",
    "memo of another": b"cnumpy\nndarray\np0\n(lp0\ng0\n)R.",
    "memo out of range": b"\x80\x02j\xff\xff\xff\x7f.",
    "large memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "empty stack": b".",
    "mark alone": b"(t(tR.",
    "TUPLE without a mark": b"t.",
    "bytes of 2^62": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
    "text of 4 GiB": b"\x80\x02X\xff\xff\xff\xff.",
    "bytearray of 2^62": b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b".",
    "frame of 2^62": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
    "long of 2 GiB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "deep": b"(" * 20_000 + b"t" * 20_000 + b".",
    "deeper": b")" + b"\x85" * 40_000 + b".",
    "long program": b"N" * 200_000 + b".",
    "self reference": b"]p0\ng0\na.",
}


def twins(depth: int) -> bytes:
    """A key of nested pairs of itself, whose hash would take 2^depth steps."""
    return b"}" + b"K\x01" + b"p0\ng0\n\x86" * depth + b"K\x01s."


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, which must be empty at the end, and modules that must stay as they are."""
    monkeypatch.chdir(tmp_path)
    before = dict(vars(np.ndarray)), dict(vars(OrderedDict))
    yield tmp_path
    assert before == (dict(vars(np.ndarray)), dict(vars(OrderedDict)))
    assert list(tmp_path.iterdir()) == []


def wrapped(value: Any, protocol: int) -> list[bytes]:
    """A value in the place of the dictionary, of a map, of `keys`, and of a key."""
    places = [value, {0: value}, {"keys": value, "cam": MAPS}, {0: MAPS[0], "x": [({"y": value},)]}]
    return [hostile(pickle.dumps(np.array(place, object), protocol)) for place in places]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", CALLS)
def test_no_call_is_executed(name: str, protocol: int, nowhere: Path) -> None:
    for content in wrapped(CALLS[name], protocol):
        with pytest.raises(BadMap) as error:
            read_scores(content, "a.npy", CLASSES)
        assert error.value.kind in ("code", "unreadable")
        if "system" in str(CALLS[name].parts):
            assert "system" in str(error.value) or (protocol == 5 and "_frombuffer" in str(error.value))


def test_the_calls_would_have_been_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above can fail."""
    monkeypatch.chdir(tmp_path)
    np.load(io.BytesIO(wrapped(CALLS["eval"], 4)[1]), allow_pickle=True)
    assert (tmp_path / MARKER).exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_is_executed(name: str, nowhere: Path) -> None:
    begin, end = WRAPPED.split(b"}", 1)  # where the dictionary is
    for payload in (PROGRAMS[name], begin + PROGRAMS[name][:-1] + end):
        with pytest.raises(BadMap):
            read_scores(hostile(payload), "a.npy", CLASSES)


def test_nested_keys_take_no_time(nowhere: Path) -> None:
    for payload in (twins(2000), WRAPPED.split(b"}", 1)[0] + twins(2000)[:-1] + b"atb."):
        with pytest.raises(BadMap):
            read_scores(hostile(payload), "a.npy", CLASSES)


def claims() -> list[tuple[str, bytes]]:
    """Files that claim arrays of 10^12 numbers."""
    huge = 10**12
    array = pickle.dumps(np.array({0: np.zeros((1, 7), np.float32)}, object), 0)
    tensor = npy({0: torch.zeros(3, 7)})
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (20, huge, 1)})
    header = buffer.getvalue() + b"\0" * 64
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("0.npy", header)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for label in range(3):
            archive.writestr(f"{label}.npy", b"\0" * (40 << 20))
    assert array.count(b"I7\n") == 1
    assert tensor.count(b"K\x03K\x07\x86") == 1
    return [
        ("a.npy", header),
        ("a.npz", packed.getvalue()),
        ("a.npz", bomb.getvalue()),
        ("a.npy", hostile(array.replace(b"I7\n", b"I%d\n" % huge))),
        ("a.npy", hostile(array.replace(b"I7\n", b"I-1\n"))),
        ("a.npy", tensor.replace(b"K\x03K\x07\x86", b"K\x03\x8a\x06" + huge.to_bytes(6, "little") + b"\x86")),
        ("a.npy", tensor.replace(b"K\x15N", b"J\xff\xff\xff\x7fN")),  # of the storage
        ("a.npy", tensor.replace(b"\x15" + b"\0" * 7, b"\xff" * 7 + b"\x7f")),
    ]


def test_claimed_sizes_take_no_memory(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.refine.score_files.MOST_BYTES", 10 << 20)  # so that the bomb is packed quickly
    files = claims()
    tracemalloc.start()  # NumPy's arrays are counted too
    try:
        for name, content in files:
            with pytest.raises(BadMap):
                read_scores(content, name, CLASSES)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


SMALL = {"a.npy": npy({"keys": torch.tensor([1]), "cam": torch.rand(1, 2, 2)}), "b.npy": npy({3: MAPS[0, :2, :2]})}
SMALL["c.npz"] = npz(keys=np.array([1]), cam=MAPS[:1, :2, :2])


@pytest.mark.parametrize("name", SMALL)
def test_a_file_cut_off_anywhere_is_refused(name: str, nowhere: Path) -> None:
    for length in range(len(SMALL[name])):
        with pytest.raises(BadMap):
            read_scores(SMALL[name][:length], name, CLASSES)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.filterwarnings("ignore")
def test_flipped_bits_give_maps_or_a_clear_no(name: str, nowhere: Path) -> None:
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(700):
        content = bytearray(SMALL[name])
        for place in random.integers(0, len(content), random.integers(1, 4)):
            content[place] = random.integers(256)
        try:
            found = read_scores(bytes(content), name, CLASSES)
            assert all(np.isfinite(scores).all() and (scores >= 0).all() for scores in found.values())
        except BadMap:
            refused += 1
    assert refused > 100


def test_neither_pickle_nor_torch_is_imported_to_read() -> None:
    code = (
        "import sys, pathlib; from stages.core.npy_objects import read_npy; "
        "sys.modules['pickle'] = None; read_npy(sys.stdin.buffer.read()); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=npy(IRN), cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def files_of(path: Path, **contents: bytes) -> Path:
    """A folder with files of these stems."""
    path.mkdir()
    for stem, content in contents.items():
        (path / f"{stem}.npy").write_bytes(content)
    return path


def quantised(tmp_path: Path, value: Any, tags: list[int], size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """`scores_of` for one image of VOC."""
    files = find_scores(files_of(tmp_path / "x", a=npy(value)), ["a"])
    return scores_of(files, "a", VOC, np.array(tags), size)


def test_tagged_maps_in_the_order_of_the_tags(tmp_path: Path) -> None:
    found = quantised(tmp_path, {14: MAPS[1], 7: MAPS[0] * 0 + 1, 2: MAPS[0]}, [3, 15])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.round(MAPS * 255))


def test_normalised_maps_stay_and_others_are_divided_by_their_maximum(tmp_path: Path) -> None:
    low, high = np.array([[0, 0.2, 0.4]]), np.array([[0, 2.5, 10]])
    np.testing.assert_array_equal(quantised(tmp_path / "", {0: low, 1: low / 2}, [1, 2], (1, 3))[:, 0, 2], [102, 51])
    (tmp_path / "y").mkdir()
    np.testing.assert_array_equal(
        quantised(tmp_path / "y", {0: low, 1: high, 2: low * 0}, [1, 2, 3], (1, 3)),
        [[[0, 51, 102]], [[0, 64, 255]], [[0, 0, 0]]],
    )


def test_a_data_set_without_background_starts_at_label_0(tmp_path: Path) -> None:
    files = find_scores(files_of(tmp_path / "x", a=npy({0: MAPS[0]})), ["a"])
    assert scores_of(files, "a", range(5), np.array([0]), (6, 8)).shape == (1, 6, 8)


def test_an_image_without_tags(tmp_path: Path) -> None:
    assert len(quantised(tmp_path, {0: MAPS[0]}, [])) == 0


@pytest.mark.parametrize(
    ("value", "tags", "text"),
    [
        ({2: MAPS[0]}, [3, 15], "a: no map of class 14, which is tagged; only 2"),
        ({}, [3], "a: no map of class 2, which is tagged; only none"),
        ({"keys": np.array([0, 3]), "cam": MAPS}, [3], "as if class 0 were the background"),
        ({"keys": np.array([0, 1]), "cam": MAPS}, [1], "as if class 0 were the background"),
        ({2: MAPS[0].T}, [3], "a: maps of 8 x 6, the image has 24 x 32"),
    ],
)
def test_maps_that_do_not_fit_the_tags_or_the_image(tmp_path: Path, value: Any, tags: list[int], text: str) -> None:
    with pytest.raises(BadMap) as error:
        quantised(tmp_path, value, tags)
    assert text in str(error.value)


def test_keys_from_the_background_to_the_last_class(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        quantised(tmp_path, {"keys": np.array([0, 20]), "cam": MAPS}, [20]), np.round(MAPS[1:] * 255)
    )


@pytest.mark.parametrize("stride", [1, 4, 8, 16, 32])
def test_maps_of_any_stride_and_rounding_fit(tmp_path: Path, stride: int) -> None:
    for number, size in enumerate(RANDOM.integers(40, 600, (20, 2)).tolist()):
        for rounding in (np.floor, np.ceil):
            shape = rounding(np.array(size) / stride).astype(int)
            (tmp_path / f"{number}{rounding.__name__}").mkdir()
            value = {0: np.ones(shape, np.float32)}
            assert quantised(tmp_path / f"{number}{rounding.__name__}", value, [1], tuple(size)).all()


def test_images_without_a_file_are_named(tmp_path: Path) -> None:
    path = files_of(tmp_path / "x", a=npy({}), b=npy({}))
    (path / "b.npz").write_bytes(npz(x=KEYS))
    with pytest.raises(Fault) as fault:
        find_scores(path, ["a", "b", "c"])
    assert "c: no score maps" in str(fault.value)
    assert "b: two files of score maps" in str(fault.value)
    (tmp_path / "none").mkdir()
    with pytest.raises(Fault, match="no .npy and no .npz file"):
        find_scores(tmp_path / "none", ["a"])


def test_score_maps_are_told_from_label_maps(tmp_path: Path) -> None:
    labels = npy(np.zeros((2, 2), np.uint8))
    contents = {
        "dictionary": ("a.npy", FORMS["irn.npy"], True),
        "floats": ("a.npy", npy(MAPS), True),
        "npz": ("a.npz", FORMS["classes.npz"], True),
        "labels": ("a.npy", labels, False),
        "png": ("a.png", b"", False),
        "broken": ("a.npy", labels[:9], False),
        "text": ("a.txt", b"", False),
    }
    for folder, (name, content, expected) in contents.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
        with zipfile.ZipFile(tmp_path / f"{folder}.zip", "w") as archive:
            archive.writestr(f"{folder}/{name}", content)
        assert is_score_source(tmp_path / folder, ["a"]) is expected, folder
        assert is_score_source(tmp_path / f"{folder}.zip", ["a"]) is expected, folder
    assert not is_score_source(tmp_path / "nowhere", ["a"])


def test_a_broken_or_a_foreign_file_does_not_make_label_maps_of_scores(tmp_path: Path) -> None:
    for name, content in (
        ("a.npy", b""),
        ("b.npy", FORMS["irn.npy"]),
        ("0_labels.npy", npy(np.zeros((2, 2), np.uint8))),
    ):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "0_overview.png").write_bytes(b"")
    assert is_score_source(tmp_path, ["a", "b"])
