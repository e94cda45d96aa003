"""Predictions exported to a folder: whole, only what was asked for, and never over somebody's files."""

import json

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.core.files import decode_image, write_zip
from stages.core.label_files import find_maps
from stages.predict.export import export, main

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
