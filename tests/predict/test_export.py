"""Predictions exported to a folder: whole, only what was asked for, and never over somebody's files."""

import json

import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import DatasetInfo, write_header
from stages.core.faults import Fault
from stages.core.files import decode_image, encode_png, write_zip
from stages.core.label_files import find_maps
from stages.predict.export import export, main
from stages.prepare.palette import voc_palette

PALETTE = ((0, 0, 0), (200, 0, 0), (0, 0, 200), *((0, 0, 0),) * 253)
SPLITS = {"train": ["2007/a", "b"], "val": ["b", "c"]}


def labels(image_id):
    return np.random.default_rng(ord(image_id[-1])).integers(0, 3, (4, 5), dtype=np.uint8)


@pytest.fixture
def predictions(tmp_path):
    path = tmp_path / "predictions.zip"
    with write_zip(path) as archive:
        archive.text("predict.json", json.dumps({"splits": SPLITS}))
        for image_id in ("2007/a", "b", "c"):
            archive.png(f"masks/{image_id}.png", labels(image_id), PALETTE)
    return path


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("there", [False, True])
def test_writes_the_splits_label_maps_as_pseudo_masks_are_read(predictions, tmp_path, there):
    out = tmp_path / "new" / "folder"
    if there:
        out.mkdir(parents=True)
    assert export(predictions, "train", out) == 2
    assert files(out) == ["2007/a.png", "b.png"]
    assert [path.name for path in out.parent.iterdir()] == ["folder"]
    found = find_maps(out, set(SPLITS["train"]))
    for image_id in SPLITS["train"]:
        np.testing.assert_array_equal(found.read(image_id), labels(image_id))
    assert decode_image((out / "b.png").read_bytes()).ndim == 2  # indexed


def test_a_folder_with_files_is_refused_and_with_force_keeps_the_others(predictions, tmp_path):
    out = tmp_path / "folder"
    out.mkdir()
    (out / "mine.txt").write_text("x")
    (out / "b.png").write_text("old")
    with pytest.raises(Fault, match="not empty"):
        export(predictions, "train", out)
    assert files(out) == ["b.png", "mine.txt"]
    export(predictions, "train", out, force=True)
    assert files(out) == ["2007/a.png", "b.png", "mine.txt"]
    np.testing.assert_array_equal(decode_image((out / "b.png").read_bytes()), labels("b"))


def test_faults_are_named_and_leave_nothing(predictions, tmp_path):
    out = tmp_path / "folder"
    with pytest.raises(Fault, match=r"holds train, val, not 'test'; add it to the recipe's predict.splits"):
        export(predictions, "test", out)
    with pytest.raises(Fault, match="dvc repro"):
        export(tmp_path / "none.zip", "train", out)
    with pytest.raises(Fault, match="no folder"):
        export(predictions, "train", predictions)
    with write_zip(predictions) as archive:
        archive.text("predict.json", json.dumps({"splits": SPLITS}))
        archive.png("masks/2007/a.png", labels("a"), PALETTE)
    with pytest.raises(Fault, match="masks/b.png"):
        export(predictions, "train", out)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.zip"]


def test_the_command_finds_the_predictions_of_params_yaml(predictions, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("dataset: small\n")
    (tmp_path / "dvc.yaml").write_text('stages: {predict: {outs: ["data/${dataset}/predictions.zip"]}}\n')
    (tmp_path / "data/small").mkdir(parents=True)
    predictions.rename(tmp_path / "data/small/predictions.zip")
    main(["--out", "masks", "--split", "val"])
    assert files(tmp_path / "masks") == ["b.png", "c.png"]
    assert capsys.readouterr().out == f"2 label maps in {tmp_path / 'masks'}\n"
    with pytest.raises(SystemExit, match="sizewise export: .* not empty"):
        main(["--out", "masks"])


@pytest.fixture
def voc(tmp_path, monkeypatch):
    """A folder with predictions of the splits val and test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("dataset: voc12\n")
    stage = 'deps: ["${dataset}/dataset.zip"], outs: ["${dataset}/predictions.zip"]'
    (tmp_path / "dvc.yaml").write_text(f"stages: {{predict: {{{stage}}}}}\n")

    def write(maps, left_out=()):
        info = DatasetInfo("voc12", ("background", "cat"), True, voc_palette(), (4, 9), "masks", True, False, left_out)
        with write_zip(tmp_path / "voc12/dataset.zip") as archive:
            write_header(archive, info, [], {})
        with write_zip(tmp_path / "voc12/predictions.zip") as archive:
            archive.text("predict.json", json.dumps({"splits": {"val": ["2007_1"], "test": list(maps)}}))
            for image_id, labels in maps.items():
                archive.png(f"masks/{image_id}.png", labels, voc_palette() if labels.ndim == 2 else None)

    return write


def test_the_layout_of_vocs_server(voc, tmp_path, capsys):
    maps = {"2007_1": np.full((3, 4), 20, np.uint8), "2008_2": np.zeros((5, 2), np.uint8)}
    voc(maps)
    main(["--out", "out", "--voc"])
    assert files(tmp_path / "out") == [f"results/VOC2012/Segmentation/comp6_test_cls/{name}.png" for name in maps]
    assert capsys.readouterr().out.startswith("2 label maps in ")
    for name, labels in maps.items():
        with Image.open(tmp_path / f"out/results/VOC2012/Segmentation/comp6_test_cls/{name}.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image), labels)
            colour = image.convert("RGB").getpixel((0, 0))
        assert colour == ((0, 64, 128) if labels.max() else (0, 0, 0))  # tvmonitor and background of VOC
    main(["--out", "out", "--voc", "--split", "val", "--competition", "comp5"])
    assert "results/VOC2012/Segmentation/comp5_val_cls/2007_1.png" in files(tmp_path / "out")


def test_what_vocs_server_would_refuse_is_named(voc, tmp_path):
    full = np.full((3, 4), 255, np.uint8)
    voc({"a": full, "b": np.zeros((3, 4), np.uint8), "c": full // 12, "d": np.zeros((3, 4, 3), np.uint8)})
    with pytest.raises(SystemExit, match=r"labels 0 to 20 \(3 faults\):\n  - a: label 255\n  - c: label 21\n  - d: "):
        main(["--out", "out", "--voc"])
    assert not (tmp_path / "out").exists()


def test_labels_of_some_classes_are_not_vocs(voc, tmp_path):
    voc({"a": np.ones((3, 4), np.uint8)}, left_out=("aeroplane", "dog"))
    with pytest.raises(
        SystemExit, match=r"leaves out aeroplane, dog \(datasets.voc12.classes\), so its labels are not"
    ):
        main(["--out", "out", "--voc"])
    main(["--out", "out", "--split", "test"])
    assert files(tmp_path / "out") == ["a.png"]


def test_label_maps_of_anybodys_pictures_in_vocs_layout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maps/overlay").mkdir(parents=True)
    (tmp_path / "maps/classes.txt").write_text("background\n")
    for name in ("2008_1", "overlay/2008_1"):
        (tmp_path / f"maps/{name}.png").write_bytes(encode_png(np.ones((2, 2), np.uint8), voc_palette()))
    main(["--out", "out", "--voc", "--masks", "maps"])
    assert files(tmp_path / "out") == ["results/VOC2012/Segmentation/comp6_test_cls/2008_1.png"]
    with pytest.raises(SystemExit, match="maps/overlay/none holds no PNG"):
        main(["--out", "other", "--voc", "--masks", "maps/overlay/none"])
    with pytest.raises(SystemExit, match="2"):
        main(["--out", "other", "--masks", "maps"])
