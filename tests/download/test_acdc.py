"""ACDC's volumes as slices: the same numbers as a naive reading, and every broken file listed."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params
from stages.download import acdc
from stages.download.acdc import to_grey, write_slices
from stages.prepare.build import prepare

SHAPE = (20, 16, 3)  # x, y, z
STEPS = (1.5, 2.0, 10.0)  # mm
DATA = {"format": "acdc", "val_every": 2, "clip": [1.0, 99.0], "spacing": "none"}
DATA |= {"size_bins": [16, 64], "headline": "val"}


def volumes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A volume of int16 and its labels; the last slice has none."""
    random = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:8, 3:9, :2], labels[8:14, 3:9, :2], labels[15:19, 10:14, :2] = 1, 2, 3
    return (random.integers(0, 500, SHAPE) + 100 * labels).astype(np.int16), labels


def save(path: Path, array: np.ndarray) -> None:
    """A NIfTI file."""
    image = nibabel.Nifti1Image(array, np.diag([*STEPS, 1]))
    image.header.set_zooms(STEPS[: array.ndim])
    nibabel.save(image, path)


def patients(root: Path) -> Path:
    """The folder `root` with four patients to train on and one to test on, two frames each."""
    for folder, numbers in (("training", (1, 2, 3, 4)), ("testing", (101,))):
        for patient in numbers:
            name = f"patient{patient:03d}"
            path = root / folder / name
            path.mkdir(parents=True)
            (path / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\n")
            save(path / f"{name}_4d.nii.gz", np.zeros((2, 2, 2), np.int16))  # the whole film, which is not read
            for frame in (1, 12):
                image, labels = volumes(100 * patient + frame)
                save(path / f"{name}_frame{frame:02d}.nii.gz", image)
                save(path / f"{name}_frame{frame:02d}_gt.nii.gz", labels)
    return root


@pytest.fixture(params=["", "database"])
def source(tmp_path, request) -> Path:
    """See `patients`; they may lie in database/."""
    patients(tmp_path / "ACDC" / request.param)
    return tmp_path / "ACDC"


def patient(source: Path, name: str) -> Path:
    """The folder of a patient."""
    return next(source.rglob(name))


@pytest.fixture
def written(tmp_path):
    """A function that writes raw.zip with some params changed."""

    def write(source: Path, **changes: object) -> ZipReader:
        write_slices(tmp_path / "raw.zip", "heart", source, Params(DATA | changes))
        return ZipReader(tmp_path / "raw.zip")

    return write


def test_slices_are_the_volumes(source, written):
    raw = written(source)
    rows = raw.rows("slices.csv")
    assert len(rows) == 5 * 2 * SHAPE[2]
    assert [row["id"] for row in rows[:4]] == [*(f"patient001_ED_{n:02d}" for n in range(3)), "patient001_ES_00"]
    assert [rows[0][key] for key in ("folder", "group", "height", "width")] == ["training", "DCM", "16", "20"]
    assert [float(rows[0][f"spacing_{axis}"]) for axis in "yxz"] == [2.0, 1.5, 10.0]
    for name, seed in (("patient003_ES", 312), ("patient101_ED", 10101)):
        image, labels = volumes(seed)
        low, high = np.percentile(image, [1, 99])
        for number in range(SHAPE[2]):
            mask = raw.png(f"masks/{name}_{number:02d}.png")
            picture = raw.png(f"images/{name}_{number:02d}.png")
            assert mask.dtype == picture.dtype == np.uint8
            for x, y in np.ndindex(SHAPE[:2]):
                assert mask[y, x] == labels[x, y, number]
                value = min(max((int(image[x, y, number]) - low) / (high - low), 0), 1) * 255
                assert abs(picture[y, x] - value) <= 0.5 + 1e-9


def nearest(side: int, resized: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixel whose centre is nearest to each of a resized side's; where two are as near, one and the other."""
    centres = 2 * np.arange(resized) + 1
    return -(-centres * side // (2 * resized)) - 1, centres * side // (2 * resized)


def test_resampling_to_a_spacing(source, written):
    raw = written(source, spacing=1.0)
    row = raw.rows("slices.csv")[0]
    columns = ("height", "width", "spacing_y", "spacing_x", "spacing_z")
    assert [row[key] for key in columns] == ["32", "30", "1", "1", "10"]
    mask = raw.png("masks/patient001_ED_00.png")
    labels = volumes(101)[1][:, :, 0].T
    rows, columns = nearest(16, 32), nearest(20, 30)
    assert np.any([mask == labels[row][:, column] for row in rows for column in columns], axis=0).all()
    assert [int((mask == label).sum()) for label in (1, 2, 3)] == pytest.approx([9 * 12, 9 * 12, 6 * 8], abs=12)
    small = written(source, spacing=4.0)
    assert small.png("images/patient001_ED_00.png").shape == (8, 8)
    assert set(np.unique(small.png("masks/patient001_ED_00.png"))) <= {0, 1, 2, 3}


def test_the_scaling_of_a_file_is_applied(source, written):
    path = patient(source, "patient001") / "patient001_frame01.nii.gz"
    before = written(source).png("images/patient001_ED_01.png")
    image, _ = volumes(101)
    scaled = nibabel.Nifti1Image(image, np.diag([*STEPS, 1]))
    scaled.header.set_slope_inter(2.0, -7.0)  # on reading: 2 v - 7, of which percentiles give the same grey
    scaled.header.set_data_dtype(np.int16)
    nibabel.save(scaled, path)
    assert np.abs(written(source).png("images/patient001_ED_01.png").astype(int) - before).max() <= 1


def test_splits_by_patient_and_what_prepare_makes_of_it(source, tmp_path, written, monkeypatch):
    monkeypatch.setenv("SIZEWISE_JOBS", "1")
    raw = written(source)
    notes = prepare(tmp_path / "raw.zip", tmp_path / "dataset.zip", "heart", Params(DATA), tmp_path / "parts")
    dataset = Dataset(tmp_path / "dataset.zip", tmp_path / "raw.zip")
    patients = {
        split: {image_id.split("_")[0] for image_id in dataset.ids(split)} for split in ("train", "val", "test")
    }
    assert patients == {
        "train": {"patient001", "patient003"},
        "val": {"patient002", "patient004"},
        "test": {"patient101"},
    }
    assert notes == ["heart: 30 images (12 train, 12 val, 6 test), 4 labels"]
    assert dataset.tags("patient001_ED_00").tolist() == [1, 2, 3]
    assert dataset.tags("patient001_ED_02").tolist() == []
    assert dataset.image("patient001_ED_00").shape == (16, 20, 3)
    assert ZipReader(tmp_path / "dataset.zip").text("slices.csv") == raw.text("slices.csv")


def test_one_structure_alone(source, tmp_path, written, monkeypatch):
    monkeypatch.setenv("SIZEWISE_JOBS", "1")
    written(source)
    data = Params(DATA | {"classes": ["left_ventricle"]})
    prepare(tmp_path / "raw.zip", tmp_path / "dataset.zip", "heart", data, tmp_path / "parts")
    dataset = Dataset(tmp_path / "dataset.zip", tmp_path / "raw.zip")
    assert dataset.info.classes == ("background", "left_ventricle")
    assert dataset.info.left_out == ("right_ventricle", "myocardium")
    assert dataset.tags("patient001_ED_00").tolist() == [1]
    assert (dataset.mask("patient001_ED_00") == 1).sum() == 4 * 4


def test_the_same_bytes_every_time(source, tmp_path, written):
    written(source)
    before = (tmp_path / "raw.zip").read_bytes()
    written(source)
    assert (tmp_path / "raw.zip").read_bytes() == before


def test_every_fault_is_listed(source, tmp_path, written):
    (patient(source, "patient001") / "Info.cfg").write_text("ED: 1\n")
    (patient(source, "patient002") / "patient002_frame12_gt.nii.gz").unlink()
    save(patient(source, "patient003") / "patient003_frame01_gt.nii.gz", volumes(0)[1] + np.uint8(1))
    save(patient(source, "patient003") / "patient003_frame12.nii.gz", np.full(SHAPE, 7, np.int16))
    save(patient(source, "patient004") / "patient004_frame01_gt.nii.gz", np.zeros((4, 4, 3), np.uint8))
    broken = patient(source, "patient004") / "patient004_frame12.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-40])
    (patient(source, "patient101") / "patient101_frame01.nii.gz").write_bytes(b"nothing")
    with pytest.raises(Fault) as caught:
        written(source)
    message = str(caught.value)
    for line in (
        "patient001/Info.cfg: says no frame number for ES, as in `ED: 1`",
        "patient002_frame12_gt.nii.gz is missing; Info.cfg says that it is ES",
        "patient003_frame01_gt.nii.gz: labels other than 0 to 3",
        "patient003_frame12.nii.gz: the percentiles 1.0 and 99.0 of its values are both 7",
        "patient004_frame01_gt.nii.gz: of shape (4, 4, 3), but patient004_frame01.nii.gz is of (20, 16, 3)",
        "patient004_frame12.nii.gz: no whole NIfTI volume: ValueError: cut off",
        "patient101_frame01.nii.gz: no whole NIfTI volume",
    ):
        assert line in message
    assert not (tmp_path / "raw.zip").exists()


def test_a_bomb_is_not_unpacked(source, written, monkeypatch):
    monkeypatch.setattr(acdc, "MOST_BYTES", 100_000)
    path = patient(source, "patient001") / "patient001_frame01.nii.gz"
    path.write_bytes(gzip.compress(bytes(10_000_000)))
    with pytest.raises(Fault, match="patient001_frame01.nii.gz: no whole NIfTI volume: .* more than 100000 bytes"):
        written(source)


def test_a_folder_without_patients(tmp_path, written):
    with pytest.raises(Fault, match="has no folder training/patient001"):
        written(tmp_path)


@pytest.mark.parametrize("values", [(1.0, 99.0), (0.0, 100.0)])
def test_grey_values_rise_with_the_volumes(values):
    random = np.random.default_rng(0)
    for _ in range(100):
        volume = random.normal(0, 50, (3, 4, 5))
        grey = to_grey(volume, values)
        assert (grey.min(), grey.max()) == (0, 255)
        order = np.argsort(volume, axis=None)
        assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all()


def test_pictures_open_anywhere(source, written):
    image = Image.open(io.BytesIO(written(source).bytes("images/patient001_ED_00.png")))
    assert (image.mode, image.size) == ("L", SHAPE[:2])
