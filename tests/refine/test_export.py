"""Pseudo masks exported to a folder: those of the split, as palette PNGs, undecided pixels included."""

import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader, write_zip
from stages.refine.export import export, main


@pytest.fixture
def archive(tiny_dataset, tmp_path):
    """Pseudo masks that are the true ones, void row included."""
    dataset, truth = Dataset(tiny_dataset), ZipReader(tiny_dataset)
    path = tmp_path / "pseudo_masks.zip"
    with write_zip(path) as masks:
        for image_id in dataset.ids("train") + dataset.ids("val")[1:]:
            masks.bytes(f"masks/{image_id}.png", truth.bytes(f"masks/{image_id}.png"))
    return path


def test_palette_pngs_of_the_split(archive, tiny_dataset, tmp_path):
    dataset = Dataset(tiny_dataset)
    assert export(archive, dataset, "train", tmp_path / "out") == len(dataset.ids("train"))
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == sorted(dataset.ids("train"))
    for image_id in dataset.ids("train"):
        with Image.open(tmp_path / "out" / f"{image_id}.png") as image:
            assert image.mode == "P"
            assert tuple(image.getpalette()[:9]) == sum(dataset.info.palette[:3], ())
            labels = np.array(image)
        np.testing.assert_array_equal(labels, ZipReader(tiny_dataset).png(f"masks/{image_id}.png"))
        assert (labels[0] == 255).all()


def test_what_is_missing_is_said_and_nothing_is_written(archive, tiny_dataset, tmp_path):
    with pytest.raises(Fault, match=r"lacks 1 of the 3 images of val, the first val_6; .* train alone"):
        export(archive, Dataset(tiny_dataset), "val", tmp_path / "out")
    with pytest.raises(Fault, match="dvc repro"):
        export(tmp_path / "none.zip", Dataset(tiny_dataset), "train", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_finds_the_masks_of_params_yaml(archive, tiny_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("dataset: small\n")
    (tmp_path / "dvc.yaml").write_text(
        'stages: {refine: {deps: ["data/${dataset}/dataset.zip"], outs: ["data/${dataset}/pseudo_masks.zip"]}}\n'
    )
    (tmp_path / "data/small").mkdir(parents=True)
    archive.rename(tmp_path / "data/small/pseudo_masks.zip")
    (tmp_path / "data/small/dataset.zip").write_bytes(tiny_dataset.read_bytes())
    main(["--out", "masks"])
    assert capsys.readouterr().out == f"6 label maps in {tmp_path / 'masks'}\n"
    with pytest.raises(SystemExit, match="sizewise export: .* not empty"):
        main(["--out", "masks"])
    main(["--out", "masks", "--force"])
