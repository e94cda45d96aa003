"""Anybody's pictures through a model: the label maps of the pipeline, and a clear word about what cannot be read."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader, decode_image, encode_png
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params
from stages.predict import run
from stages.predict.label_maps import write_predictions

CRF = {"kernels": {"gaussian": {"xy": 3, "weight": 3}}, "iterations": 2, "backend": "pydensecrf"}
RECIPES = {
    "plain": Params(run.PLAIN),
    "all": Params({"scales": [1.0, 1.5], "flip": True, "crf": CRF, "model": "last", "batch_size": 1}),
}


@pytest.fixture
def model(tiny_dataset):
    torch.manual_seed(0)
    info = Dataset(tiny_dataset).info
    return {
        "architecture": "fcn_skip",
        "encoder": "slim_resnet10",
        "output_stride": 8,
        "num_classes": 3,
        "state": Segmenter("fcn_skip", "slim_resnet10", 8, 3).state_dict(),
        "best": None,
        "dataset": "tiny",
        "classes": info.classes,
        "palette": info.palette,
        "background": True,
        "made_of": {"code": "bb", "inputs": {}, "params": {}},
    }


@pytest.fixture
def images(tmp_path, tiny_dataset):
    dataset = Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for image_id, name in zip(dataset.ids("val"), ("a.png", "b.PNG", "more/a.png"), strict=True):
        (folder / name).write_bytes(encode_png(dataset.image(image_id)))
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_a_picture_gets_the_label_map_that_the_pipeline_gives_it(model, images, tiny_dataset, tmp_path, name):
    recipe = Params({"batch_size": 1} | RECIPES[name].plain())
    dataset = Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))
    network = Segmenter("fcn_skip", "slim_resnet10", 8, 3)
    network.load_state_dict(model["state"])
    splits = {"val": dataset.ids("val")}
    write_predictions(tmp_path / "p.zip", network, dataset, splits, recipe, "last")
    assert run.segment_folder(model, images, tmp_path / "out", recipe) == 3
    expected = ZipReader(tmp_path / "p.zip")
    for image_id, found in zip(splits["val"], ("a.png", "b.png", "more/a.png"), strict=True):
        labels = decode_image((tmp_path / "out" / found).read_bytes())
        np.testing.assert_array_equal(labels, expected.png(f"masks/{image_id}.png"))
    assert (tmp_path / "out" / "classes.txt").read_text() == "background\nsquare\ndisk\n"
    assert not (tmp_path / "out" / "overlay").exists()


def test_a_second_run_does_not_segment_the_first_ones_label_maps(model, images):
    for _ in range(2):
        assert run.segment_folder(model, images, images / "out", RECIPES["plain"], overlay=True) == 3
    names = sorted(path.relative_to(images / "out").as_posix() for path in (images / "out").rglob("*.png"))
    assert names == ["a.png", "b.png", "more/a.png", "overlay/a.png", "overlay/b.png", "overlay/more/a.png"]


def test_an_overlay_leaves_the_background_as_it_is(model):
    random = np.random.default_rng(0)
    picture, labels = random.integers(0, 256, (9, 7, 3), np.uint8), random.integers(0, 3, (9, 7), np.uint8)
    drawn = run.Draw("none", model["palette"], overlay=True).over(picture, labels)
    for row, column in np.ndindex(9, 7):
        colour, label = picture[row, column].astype(float), labels[row, column]
        if label:
            colour = 0.45 * colour + 0.55 * np.array(model["palette"][label])
        np.testing.assert_allclose(drawn[row, column], colour, atol=0.51)


def test_images_that_cannot_be_read_are_named_when_all_others_are_done(model, images, tmp_path):
    (images / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    (images / "cut.png").write_bytes((images / "a.png").read_bytes()[:200])
    with pytest.raises(Fault, match="(?s)3 images are done, these cannot be read.*broken.jpg.*cut.png"):
        run.segment_folder(model, images, tmp_path / "out", RECIPES["plain"])
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "a.png", "b.png"]


def test_a_picture_of_a_billion_pixels_is_named_and_not_unpacked(model, images, tmp_path):
    huge = bytearray((images / "a.png").read_bytes())
    huge[16:24] = (40_000).to_bytes(4) * 2  # its width and height
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4)
    (images / "aa.png").write_bytes(huge)
    with pytest.raises(Fault, match=r"(?s)3 images are done, these cannot be read.*aa.png: .*1600000000 pixels"):
        run.segment_folder(model, images, tmp_path / "out", RECIPES["plain"])


def test_nothing_is_written_over_an_image_or_over_a_label_map(model, images, tmp_path):
    for out in (images, tmp_path):
        with pytest.raises(Fault, match="holds the images, which label maps could replace"):
            run.segment_folder(model, images, out, RECIPES["plain"])
    (images / "more").rename(images / "overlay")
    with pytest.raises(Fault, match=r"images/a.png, and the label map of .*images/overlay/a.png"):
        run.segment_folder(model, images, tmp_path / "out", RECIPES["plain"], overlay=True)
    assert not (tmp_path / "out").exists()
    assert run.segment_folder(model, images, tmp_path / "out", RECIPES["plain"]) == 3


def test_a_turned_photograph_is_segmented_as_viewers_show_it(model, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    picture.save(folder / "turned.jpg", exif=exif)
    run.segment_folder(model, folder, tmp_path / "out", RECIPES["plain"])
    assert decode_image((tmp_path / "out" / "turned.png").read_bytes()).shape == (40, 24)


def test_an_image_of_more_than_8_bits_is_refused(model, images, tmp_path):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(images / "deep.png")
    with pytest.raises(Fault, match="3 images are done.*(?s:.*)deep.png: it has more than 8 bits"):
        run.segment_folder(model, images, tmp_path / "out", RECIPES["plain"])


def test_what_a_person_can_get_wrong(model, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    with pytest.raises(Fault, match="is no folder"):
        run.segment_folder(model, tmp_path / "none", out, RECIPES["plain"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(Fault, match="holds no image .jpg, jpeg, png."):
        run.segment_folder(model, empty, out, RECIPES["plain"])
    (images / "a.jpg").write_bytes((images / "a.png").read_bytes())
    with pytest.raises(Fault, match="would have the same label map a.png"):
        run.segment_folder(model, images, out, RECIPES["plain"])
    Path("params.yaml").write_text("recipes: {}\n")
    with pytest.raises(Fault, match="recipes.tiny.predict"):
        run.recipe_of(model, plain=False)


def test_the_command(model, images, tmp_path, capsys):
    path = tmp_path / "segmenter.pt"
    torch.save(model, path)
    arguments = ["--model", str(path), "--images", str(images), "--out", str(tmp_path / "out"), "--plain"]
    run.main(arguments)
    assert capsys.readouterr().out == f"3 label maps in {tmp_path / 'out'}\n"
    with pytest.raises(SystemExit, match="^sizewise predict: .*none.pt does not exist"):
        run.main(["--model", str(tmp_path / "none.pt"), *arguments[2:]])
