"""Archives, maps and models that mean harm: nothing is written outside, executed, or taken without bound."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import os
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.label_files import BadMap, find_maps
from stages.core.locations import read_location
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params
from stages.download.acdc import read_volume
from stages.download.source import write_index
from stages.download.weights import read_state
from stages.evaluate import score
from stages.predict import run
from stages.prepare.sbd import segmentation
from stages.prepare.tag_arrays import tags_from_arrays
from stages.prepare.verify import integer_map, picture
from stages.refine.score_files import read_scores
from stages.size_targets.imported import read_sizes
from stages.track import card
from tests.faults.campaign import Tally
from tests.faults.children import in_child
from tests.faults.spoiling import chunk, png

SECONDS, MEGABYTES = 10, 150  # of a trial; a reader that unpacks 64 MB piece by piece takes twice as many for a moment
STARVED = ("MemoryError", "allocate")  # words of a message that was saved by this machine's limit alone
LABELS = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16) // 7 % 3
BOMB = 1 << 28  # bytes; more than a trial may take
MAY = "inside/downloads"  # where a trial may write
pytestmark = pytest.mark.timeout(4 * 3600)  # seconds that a test may take on a busy machine


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """What readers load at their first use is loaded before a trial's memory is measured, whatever test ran before."""
    for name in ("multiprocessing.synchronize", "torch.utils.serialization", "encodings.utf_8_sig", "encodings.cp437"):
        import_module(name)
    Image.init()
    Segmenter("fcn_skip", "slim_resnet10", 8, 3)(torch.zeros(1, 3, 32, 32))


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path) -> None:
    """One process, no MLflow, and downloads that become zips in a folder of the test."""
    monkeypatch.setenv("SIZEWISE_JOBS", "1")
    monkeypatch.setenv("SIZEWISE_TRACK", "0")
    monkeypatch.setenv("SIZEWISE_DOWNLOADS", str(tmp_path / MAY))


def harmless(tally: Tally, what: str, root: Path, work: Callable[[], object], refused: bool = True) -> None:
    """One trial: `work` runs in a child, in a folder `inside` of `root`, and writes nothing but downloads."""
    (root / MAY).mkdir(parents=True, exist_ok=True)
    before = beside(root)
    with tally.trial(what):
        ended = in_child(functools.partial(there, root / "inside", work), SECONDS, gigabytes=4)
        assert ended.code in (0, 1), f"ended with {ended.code}: {ended.text[-1500:]}"
        assert not refused or ended.code == 1, f"it was accepted: {ended.text[:300]}"
        assert ended.peak < MEGABYTES, f"took {ended.peak:.0f} MB; {ended.text[:300]}"
        assert not any(word in ended.text for word in STARVED), ended.text[:300]
        assert beside(root) == before, f"written outside: {sorted(beside(root) ^ before)}"


def there(folder: Path, work: Callable[[], object]) -> None:
    """Does `work` in a folder; what commands and readers say to a person becomes a Fault."""
    os.chdir(folder)
    try:
        work()
    except SystemExit as end:
        if isinstance(end.code, str):
            raise Fault(end.code) from None
        raise
    except (BadMap, ValueError) as error:
        if isinstance(error, BadMap) or type(error) is ValueError:  # as `verify` and `refine` tell them
            raise Fault(str(error)) from None
        raise


def beside(root: Path) -> set[tuple[str, int]]:
    """All under `root` but downloads, all directly beside it, and when each file was written."""
    paths = [*root.parent.iterdir(), *(path for path in root.rglob("*") if not path.is_relative_to(root / MAY))]
    return {(str(path), 0 if path.is_dir() else path.lstat().st_mtime_ns) for path in paths}


# ---- archives -------------------------------------------------------------------------------------------------------

NAMES = {  # {root} is the folder in which nothing may appear
    "a path to the parent": "top/images/../../../outside.png",
    "an absolute path": "{root}/outside.png",
    "a parent first": "../outside.png",
    "a backslash": "top\\..\\..\\outside.png",
    "a drive": "C:\\outside.png",
    "a control character": "top/images/a\x1b[2J.png",
    "a line end": "top/images/a\nb.png",
    "a name read from the right": "top/images/\u202egnp.png",
    "no UTF-8": "top/images/\udcff.png",
}
KINDS = {
    "a symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "a link to a folder": {"type": tarfile.SYMTYPE, "linkname": "../../.."},
    "a hard link": {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"},
    "a device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
    "a disk": {"type": tarfile.BLKTYPE},
    "a pipe": {"type": tarfile.FIFOTYPE},
    "an unknown type": {"type": b"Z"},
    "a sparse file": {"pax_headers": {"GNU.sparse.major": "1"}},
    "a path in a pax header": {"pax_headers": {"path": "../outside.png"}},
    "a size in a pax header": {"pax_headers": {"size": str(10**15)}},
}
GOOD = {
    "top/classes.txt": b"a\nb\n",
    "top/splits/train.txt": b"x\n",
    "top/images/x.png": png(LABELS, 8),
    "top/masks/x.png": png(LABELS, 8),
}


def tars(root: Path) -> Iterator[tuple[str, bytes]]:
    """Tars with one hostile member each."""
    for what, name in NAMES.items():
        yield what, tar_of(tarfile.TarInfo(name.format(root=root)))
    for what, values in KINDS.items():
        yield what, tar_of(member("top/images/y.png", **values))
    yield (
        "a file behind a link",
        tar_of(
            member("top/masks", type=tarfile.SYMTYPE, linkname=str(root)),
            member("top/masks/x.png"),
        ),
    )
    good = tar_of()
    yield "cut off", good[:700]
    yield "a negative size", good.replace(b"00000000004\0", b"\xff" * 12)
    yield "a header spoilt", good[:5] + b"?" + good[6:]


def member(name: str, **values: Any) -> tarfile.TarInfo:
    """A header of a tar."""
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


def tar_of(*bad: tarfile.TarInfo) -> bytes:
    """A tar of good members, the bad ones between them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for name, content in list(GOOD.items())[:3]:
            archive.addfile(member(name, size=len(content)), io.BytesIO(content))
        for info in bad:
            archive.addfile(info)
        archive.addfile(member("top/masks/x.png", size=len(png(LABELS, 8))), io.BytesIO(png(LABELS, 8)))
    return buffer.getvalue()


def zips(root: Path) -> Iterator[tuple[str, bytes]]:
    """Zips with one hostile member each."""
    for what, name in NAMES.items():
        if what != "no UTF-8":
            yield what, zip_of(zipfile.ZipInfo(name.format(root=root)))
    for what, mode in (("a symbolic link", stat.S_IFLNK), ("a device", stat.S_IFCHR), ("a pipe", stat.S_IFIFO)):
        info = zipfile.ZipInfo("top/images/y.png")
        info.create_system, info.external_attr = 3, (mode | 0o777) << 16
        yield what, zip_of(info)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        info = zipfile.ZipInfo("top/images/y.png")
        info.compress_type = method
        yield f"a bomb packed by method {method}", lied(zip_of(info, bytes(30_000_000)), 30_000_000)
    info = zipfile.ZipInfo("top/images/y.png")
    info.compress_type = zipfile.ZIP_DEFLATED
    for claimed in (10, 2**31 + 1, 2**32 - 2):
        yield f"a bomb that claims {claimed} bytes", lied(zip_of(info, bytes(60_000_000)), 60_000_000, claimed)
    good = zip_of()
    yield "cut off", good[: len(good) // 2]
    yield "a spoilt directory", good.replace(b"PK\1\2", b"PK\1\3", 1)
    yield "a version of the future", good.replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\xff")
    yield "members that overlap", overlapping()


def zip_of(bad: zipfile.ZipInfo | None = None, content: bytes = b"harm") -> bytes:
    """A zip of good members and a bad one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in GOOD.items():
            archive.writestr(name, text)
        if bad:
            archive.writestr(bad, content)
    return buffer.getvalue()


def lied(content: bytes, size: int, claimed: int = 100) -> bytes:
    """A zip that claims another size for a member of `size` bytes."""
    return content.replace(struct.pack("<I", size), struct.pack("<I", claimed))


def overlapping() -> bytes:
    """A zip whose members are all the same bytes (Fifield, A better zip bomb)."""
    content = bytearray(zip_of())
    at = -1
    while (at := content.find(b"PK\1\2", at + 1)) >= 0:
        struct.pack_into("<I", content, at + 42, 0)
    return bytes(content)


def test_archives(tmp_path, count):
    tally = count("a hostile archive as source (tar, tgz, zip)")
    cases = [(f"{what}, in a tar", "a.tar", content) for what, content in tars(tmp_path)]
    cases += [(f"{what}, in a tgz", "a.tgz", gzip.compress(content)) for what, content in tars(tmp_path)]
    cases += [(f"{what}, in a zip", "a.zip", content) for what, content in zips(tmp_path)]
    cases.append(("a bomb of a tgz", "a.tgz", gzip.compress(tar_of() + bytes(50_000_000))))
    for number, (what, name, content) in enumerate(cases):
        source = tmp_path / f"source{number}"
        source.mkdir()
        (source / name).write_bytes(content)
        digest = "md5:" + hashlib.md5(content, usedforsecurity=False).hexdigest()
        archive = {"file": name, "url": "http://127.0.0.1:9/", "mirrors": [], "size": "none", "checksum": digest}
        archive |= {"confirmed": True, "strip": "top/", "under": "none"}
        data = Params({"format": "folder", "masks": "all", "tags": "masks", "archives": [archive]})

        def work(source=source, data=data) -> None:
            write_index(Path("downloads/raw.zip"), "mine", source, data)
            for row in ZipReader(Path("downloads/raw.zip")).rows("index.csv"):
                assert read_location(row["location"]) in GOOD.values()

        harmless(tally, what, tmp_path, work, refused="a bomb of a tgz" not in what)


def test_special_files_in_a_source_folder(tmp_path, count):
    """What an unpacked archive may hold: a pipe or a device where a picture should be."""
    tally = count("a link, pipe or device in a folder of files")
    for what in ("a pipe", "a link to a device", "a link to nothing", "a link to itself", "a folder"):
        root = tmp_path / what.replace(" ", "_")
        for name, content in GOOD.items():
            path = root / name.removeprefix("top/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        bad = root / "masks/x.png"
        bad.unlink()
        if what == "a pipe":
            os.mkfifo(bad)
        elif what == "a folder":
            bad.mkdir()
        else:
            bad.symlink_to({"a link to a device": "/dev/zero", "a link to nothing": "nowhere"}.get(what, bad))
        data = Params({"format": "folder", "masks": "all", "tags": "masks"})
        index = functools.partial(write_index, Path("downloads/raw.zip"), "mine", root, data)
        harmless(tally, f"{what}, in a source", tmp_path, index, refused=what != "a folder")
        harmless(tally, f"{what}, among pseudo masks", tmp_path, lambda root=root: find_maps(root / "masks").read("x"))
        arguments = ["--predictions", str(root / "masks"), "--masks", str(root / "images")]
        harmless(tally, f"{what}, among predictions", tmp_path, functools.partial(scored, arguments))


def scored(arguments: list[str]) -> None:
    """`stages.evaluate.score`, whose message becomes a Fault."""
    score.score(score.parser().parse_args([*arguments, "--bootstrap", "0"]))


# ---- bombs ----------------------------------------------------------------------------------------------------------


def npy_claim(shape: tuple[int, ...]) -> bytes:
    """An .npy file that claims a shape and has no data."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(64)


def png_bomb(height: int, width: int, text: bool = False) -> bytes:
    """A PNG of so many zeros, or of a compressed comment of as many."""
    packer = zlib.compressobj(9)
    zeros = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(height * (width + 1) >> 20)), packer.flush()])
    head = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">2I5B", *((9, 9) if text else (height, width)), 8, 0, 0, 0, 0)
    )
    return head + (chunk(b"zTXt", b"a\0\0" + zeros) if text else chunk(b"IDAT", zeros)) + chunk(b"IEND", b"")


def zip_bomb(name: str, method: int, size: int) -> bytes:
    """A zip with one member of zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, archive.open(name, "w") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return buffer.getvalue()


def nifti(shape: tuple[int, ...], data: int) -> bytes:
    """A NIfTI header that claims a shape, and so many bytes of data."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *(1,) * (7 - len(shape)))
    struct.pack_into("<2h8f", header, 70, 2, 8, *(1,) * 8)
    struct.pack_into("<3f", header, 108, 352, 2, 1)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + bytes(data), 9)


def mat_bomb(folder: Path) -> Iterator[tuple[str, bytes]]:
    """A .mat whose element unpacks to 256 MB, and one that claims a huge array."""
    savemat(folder / "a.mat", {"GTcls": {"Segmentation": LABELS}}, do_compression=False)
    content = (folder / "a.mat").read_bytes()
    packed = zlib.compress(bytes(BOMB), 9)
    yield "an element of 256 MB", content[:128] + struct.pack("<2I", 15, len(packed)) + packed
    at = content.index(struct.pack("<4I", 5, 8, 12, 16)[:8] + struct.pack("<2i", 12, 16))
    for shape in ((2**31 - 1, 16), (2**31 - 1, 2**31 - 1), (-1, 16)):
        yield f"claims {shape}", content[: at + 8] + struct.pack("<2i", *shape) + content[at + 16 :]


def test_bombs(tmp_path, count):
    tally = count("a bomb: a small file that unpacks to, or claims, a huge one")
    pictures = {"20 000 x 20 000": png_bomb(20_000, 20_000), "claims 20 000 x 20 000": png(LABELS, 8, 0, (20_000,) * 2)}
    pictures["a comment of 400 MB"] = png_bomb(20_000, 20_000, text=True)
    pictures["claims 2^31 x 2^31"] = png(LABELS, 8, 0, (2**31 - 1, 2**31 - 1))
    for what, content in pictures.items():
        path = tmp_path / "inside/bomb/x.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        refused = "comment" not in what  # which may be passed over
        harmless(tally, f"PNG: {what}, as a mask", tmp_path, lambda c=content: integer_map(c), refused)
        harmless(tally, f"PNG: {what}, as an image", tmp_path, lambda c=content: picture(c), refused)
        harmless(tally, f"PNG: {what}, as a pseudo mask", tmp_path, lambda: find_maps(Path("bomb")).read("x"), refused)
    for shape in ((2**40,), (2**20, 2**20), (2**33, 1), (2**62, 2**62), (3, 10**6, 10**6)):
        content = npy_claim(shape)
        (tmp_path / "inside/bomb/x.png").unlink(missing_ok=True)
        (tmp_path / "inside/bomb/x.npy").write_bytes(content)
        harmless(tally, f".npy: claims {shape}, as a map", tmp_path, lambda: find_maps(Path("bomb")).read("x"))
        harmless(tally, f".npy: claims {shape}, as scores", tmp_path, lambda c=content: read_scores(c, "x.npy", 3))
    methods = {"deflate": 8, "bzip2": 12, "lzma": 14}
    for what, method in methods.items():
        size = BOMB if method == zipfile.ZIP_DEFLATED else BOMB >> 4  # the others take long to pack
        whole = zip_bomb("0.npy", method, size)
        for claimed in (100, (1 << 30) + 1, 2**32 - 2):
            packed = lied(whole, size, claimed)
            harmless(tally, f".npz: {what}, claims {claimed}", tmp_path, lambda p=packed: read_scores(p, "x.npz", 3))
            (tmp_path / "inside/maps.zip").write_bytes(packed)
            read = lambda: find_maps(Path("maps.zip")).read("0")  # noqa: E731
            harmless(tally, f"zip of maps: {what}, claims {claimed}", tmp_path, read)
    volumes = {
        "claims 2 TB": nifti((32767, 32767, 2000), 64),
        "claims 20 GB": nifti((3000, 3000, 1111), 64),
        "has 256 MB": nifti((1024, 1024, 256), BOMB),
        "a negative side": nifti((-5, 5, 5), 125),
    }
    for what, content in volumes.items():
        (tmp_path / "inside/a.nii.gz").write_bytes(content)
        harmless(tally, f"NIfTI: {what}", tmp_path, lambda: read_volume(Path("a.nii.gz")))
    for what, content in mat_bomb(tmp_path / "inside"):
        harmless(tally, f".mat: {what}", tmp_path, lambda c=content: segmentation(c, "SBD/cls/a.mat"))


# ---- programs -------------------------------------------------------------------------------------------------------


class Harm:
    """What would make a file if it were unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


def saved(value: Any, **options: Any) -> bytes:
    """A file of `torch.save`."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def npy(value: Any) -> bytes:
    """A file of `np.save`."""
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def programs(marker: Path) -> Iterator[tuple[str, str, bytes]]:
    """Files that would execute something where they are unpickled: what, suffix, content."""
    harm = Harm(marker)
    header = npy(np.array(None))[:128]
    for protocol in range(6):
        yield f"a pickle of protocol {protocol}", ".npy", header + pickle.dumps(harm, protocol)
        yield f"a bare pickle of protocol {protocol}", ".npy", pickle.dumps(harm, protocol)
    yield "a value of a dictionary", ".npy", npy({"keys": np.array([0]), "cam": harm})
    yield "a key of a dictionary", ".npy", header + pickle.dumps({1: harm, "cam": 2})
    yield "an array of objects", ".npy", npy(np.array([[harm, harm], [harm, harm]], object))
    buffer = io.BytesIO()
    np.savez(buffer, keys=np.array([0]), cam=np.array(harm, object), allow_pickle=True)
    yield "an array of objects in an .npz", ".npz", buffer.getvalue()
    for old in (False, True):
        form = {"_use_new_zipfile_serialization": not old}
        kind = "of the old form" if old else "of the new form"
        yield f"a model {kind}", ".pt", saved(harm, **form)
        yield f"in a state dict {kind}", ".pt", saved({"conv1.weight": torch.zeros(2), "x": harm}, **form)
    yield "a whole network", ".pt", saved(torch.nn.Linear(2, 2))
    yield "a script of torch", ".pt", scripted()
    for protocol in (0, 2, 4):
        yield f"a bare pickle of protocol {protocol}", ".pt", pickle.dumps(harm, protocol)


def scripted() -> bytes:
    """A network of torch.jit."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


def test_programs(tmp_path, tiny_dataset, count):
    tally, marker = count("a file that would execute something (.npy, .npz, .pt, .mat, .csv)"), tmp_path / "executed"
    os.system(f"true {marker}")  # noqa: S605 - the call that the payloads would make works here
    dataset = Dataset(tiny_dataset)
    for number, (what, suffix, content) in enumerate(programs(marker)):
        path = tmp_path / f"inside/{number}/x{suffix}"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        for name, reader in readers(path, content, dataset, dataset.ids("train")).items():
            harmless(tally, f"{what}, {suffix} as {name}", tmp_path, reader)
            assert not marker.exists()


def readers(path: Path, content: bytes, dataset: Dataset, ids: list[str]) -> dict[str, Callable[[], object]]:
    """Every way in which a file of a person is read."""

    def tags() -> None:
        faults: list[str] = []
        tags_from_arrays(content, path.name, ["a"], {"cat": 1}, faults)
        raise Fault("\n".join(faults))

    masks = ["--predictions", str(path.parent), "--masks", str(path.parent)]
    predict = ["--model", str(path), "--images", ".", "--out", "downloads/out", "--plain"]
    return {
        "weights": lambda: read_state(path),
        "a model to predict with": lambda: run.main(predict),
        "a model with a card": lambda: card.main([str(path)]),
        "score maps": lambda: read_scores(content, path.name, 2),
        "tags": tags,
        "a map of SBD": lambda: segmentation(content, "SBD/cls/a.mat"),
        "a mask": lambda: integer_map(content),
        "a NIfTI volume": lambda: read_volume(path),
        "a file of sizes": lambda: read_sizes(path, dataset, ids),
        "predictions": lambda: scored(masks),
        "pseudo masks": lambda: find_maps(path.parent).read("x"),
    }


# ---- models ---------------------------------------------------------------------------------------------------------


def renamed(old: bytes, new: bytes, value: Any) -> bytes:
    """A file of `torch.save` in whose pickle one piece is another."""
    source, target = io.BytesIO(saved(value)), io.BytesIO()
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)
    return target.getvalue()


def packed_model() -> bytes:
    """A model whose numbers are packed."""
    source, target = io.BytesIO(saved({"x": torch.zeros(4)})), io.BytesIO()
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, bytes(BOMB) if name.endswith("data/0") else content)
    return target.getvalue()


def fat_models() -> Iterator[tuple[str, bytes]]:
    """Small files that would fill the memory, or make something of nothing."""
    ask = b"cbuiltins\nbytearray\nJ\0\0\0\x20\x85R."
    yield "a call that takes 512 MB", renamed(b"}q\x00", b"cbuiltins\nbytearray\nJ\0\0\0\x20\x85R0}q\x00", {})
    yield "a call that takes 512 MB, bare", b"\x80\x02" + ask
    yield "a tensor of one number repeated", saved({"x": torch.zeros(1).expand(1 << 28)})
    yield "many tensors of the same numbers", saved({f"x{n}": SHARED[: len(SHARED) - n] for n in range(500)})
    yield "packed numbers", packed_model()
    yield "a sparse tensor", saved({"x": torch.sparse_coo_tensor([[0]], [1.0], (1 << 40,))})
    yield "a tensor of no device", saved({"x": torch.zeros(1 << 40, device="meta")})
    yield "nothing", b""
    yield "a zip", zip_of()
    yield "noise", np.random.default_rng(0).bytes(5000)
    good = saved({"x": torch.zeros(100)})
    yield "cut off", good[: len(good) // 2]


SHARED = torch.zeros(100_000)


def test_fat_models(tmp_path, count):
    tally = count("a model or weights that would fill the memory, or are none")
    for what, content in fat_models():
        path = tmp_path / "inside" / "model.pt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        harmless(tally, f"{what}, as weights", tmp_path, lambda path=path: read_state(path))
        main = ["--model", str(path), "--images", ".", "--out", "downloads/out", "--plain"]
        harmless(tally, f"{what}, to predict with", tmp_path, functools.partial(run.main, main))
        harmless(tally, f"{what}, with a card", tmp_path, functools.partial(card.main, [str(path)]))


WRONG = (None, 5, -1, 10**12, 2.5, float("nan"), "", "x", "\x1b[2J", "x" * 5000, [], {}, [1], {"a": 1}, True, "../../x")
KEYS = {
    "architecture": ("unet", "torchvision/fcn_resnet50", "nope", "single_stage"),
    "encoder": (
        "resnet18",
        "tu-hf_hub:someone/model",
        "tu-local-dir:/tmp",
        "tu-eva02_enormous_patch14_clip_224",
        "tu-x",
    ),
    "output_stride": (16, 7, 10**9),
    "num_classes": (4, 10**6, 2**31),
    "classes": (("a",), ("a", "b\n", "c"), ("a", 1, "c"), tuple("abcd")),
    "palette": ((), ((0, 0),) * 256, ((0, 0, 256),) * 256, ((0, 0, 0),) * 3),
    "dataset": ("..", "no such"),
    "made_of": ({"code": "x"}, {"code": 1, "inputs": [], "params": 3}),
    "best": ({"epoch": 1}, {"epoch": 1, "score": 1.0, "state": {}}),
    "state": ({"x": torch.zeros(1)}, {"x": 1}),
    "background": ("yes",),
}


def test_models_that_say_something_else(tmp_path, count, whole):
    """A segmenter.pt with another value in one place: it is used, or refused with the file's name."""
    tally = count("a segmenter.pt that says something else")
    torch.manual_seed(0)
    good = {
        **{"architecture": "fcn_skip", "encoder": "slim_resnet10", "output_stride": 8, "num_classes": 3, "best": None},
        **{"state": Segmenter("fcn_skip", "slim_resnet10", 8, 3).state_dict(), "dataset": "tiny", "background": True},
        **{"classes": ("background", "cat", "dog"), "palette": ((0, 0, 0),) * 256},
        "made_of": {"code": "c0de", "inputs": {"a": "b"}, "params": {"seed": 0}},
    }
    images = tmp_path / "inside" / "images"
    images.mkdir(parents=True)
    (images / "x.png").write_bytes(png(LABELS, 8))
    path = tmp_path / "inside" / "model.pt"
    arguments = ["--model", str(path), "--images", str(images), "--out", "downloads/out", "--plain"]
    cases = [(key, value) for key, values in KEYS.items() for value in (*values, *WRONG[: None if whole else 4])]
    for key, value in [("nothing", None), *cases]:
        path.write_bytes(saved(good | ({key: value} if key in good else {})))
        what = f"{key} = {str(value)[:40]}"
        harmless(tally, f"{what}, to predict with", tmp_path, functools.partial(run.main, arguments), refused=False)
        harmless(tally, f"{what}, with a card", tmp_path, functools.partial(card.main, [str(path)]), refused=False)
