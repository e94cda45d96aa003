"""A person at the keyboard, in a real browser that no window shows; what they type is what lies in the files."""

import io
import json
import statistics

import numpy as np
import pytest
from PIL import Image

from stages.size_targets.annotate.answers import AnswerFile
from stages.size_targets.annotate.questions import ORIENTATION
from tests.browser import headless, missing
from tests.size_targets.annotate.conftest import CATS, SIZES
from tests.size_targets.annotate.running import running

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

# Milliseconds from the moment a key reaches the page to the paint after the next image is in the document.
STOPWATCH = """
window.waits = [];
addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  const pressed = performance.now();
  new MutationObserver((_, observer) => {
    if (!document.querySelector("#frame canvas")) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => window.waits.push(performance.now() - pressed)));
  }).observe(document.querySelector("#frame"), {childList: true});
}, true);
"""


@pytest.fixture(scope="module")
def browser():
    with headless() as made:
        yield made


def command(folder):
    """Sizes of the tagged pairs, in cells of the grid."""
    tagged = ("--images", folder / "images", "--tags", folder / "tags.csv")
    return (folder / "sizes.csv", *tagged, "--aid", "grid", "--unit", "boxes")


def begin(browser, url):
    """Opens the page and answers its first notice."""
    browser.open(url)
    notice = browser.wait(lambda: browser.text("#notice"))
    browser.press("Enter")
    return notice


def wait_for(browser, image):
    """Waits until an image is asked and on the screen."""
    there = "const i = document.querySelector('#frame canvas'); return i && !i.closest('[hidden]')"
    browser.wait(lambda: browser.text("#image") == image and browser.run(there))


def answers(path):
    """Percentages by image and class of a file that may be being written."""
    return {pair: answer.percent for pair, answer in AnswerFile(path).answers.items()}


def saved(browser, path, wanted):
    """Waits until a file holds exactly these answers."""
    try:
        browser.wait(lambda: answers(path) == wanted)
    except TimeoutError:
        assert answers(path) == wanted


def test_each_key_does_what_the_page_says(browser, folder):
    out, skipped = folder / "sizes.csv", folder / "sizes_skipped.csv"
    with running(*command(folder)) as url:
        assert "cat: 4 images" in begin(browser, url)
        wait_for(browser, "a")
        browser.press(*"93", "Backspace", ".", ".", "5")
        assert browser.text("#typed") == "9.5"
        assert browser.text("#unit") == "cells = 47.5 %"
        browser.press("Enter")
        wait_for(browser, "b")
        saved(browser, out, {("a", "cat"): 47.5})
        browser.press("Enter")
        assert "Type a number first" in browser.text("#message")
        browser.press(*"21", "Enter")
        assert "more than the image" in browser.text("#message")
        browser.press("Backspace", "Backspace", "0", "Enter")
        assert "there is cat" in browser.text("#message")
        browser.press("Backspace", "2", "Up")
        assert browser.text("#unit") == "cells = 22.22 %"
        browser.press("Enter")
        wait_for(browser, "c")
        browser.press("Down", "s")
        wait_for(browser, "d")
        browser.press("Left", "Left", "Left")
        wait_for(browser, "a")
        assert browser.text("#typed") == "9.5"
        browser.press(*"4", "Enter")
        wait_for(browser, "d")
        assert browser.text("#numbers").startswith("4 of 4 · 3 answered")
        saved(browser, out, {("b", "cat"): 22.22, ("a", "cat"): 20})
    assert set(AnswerFile(skipped, blank=True).answers) == {("c", "cat")}
    assert out.read_text().startswith("image,class,percent,seconds\n")
    assert all(0 < answer.seconds < 60 for answer in AnswerFile(out).answers.values())


def test_a_session_goes_on_where_it_stopped_and_asks_no_pair_twice(browser, folder):
    out, skipped = folder / "sizes.csv", folder / "sizes_skipped.csv"
    out.write_text("image,class,percent,seconds\na,cat,20,9\nb,cat,22.22,8\n")
    skipped.write_text("image,class,percent,seconds\nc,cat,,7\n")
    with running(*command(folder)) as url:
        assert "cat: 1 image" in begin(browser, url)
        wait_for(browser, "d")
        browser.press("Left", "2", "Enter")  # c can be told after all
        wait_for(browser, "d")
        browser.press(*"3", "Enter")
        browser.wait(lambda: "dog: 2 images" in browser.text("#notice"))
        browser.press("Enter")
        wait_for(browser, "b")
        browser.press(*"1,5", "Enter")
        wait_for(browser, "d")
        first = {("a", "cat"): 20, ("b", "cat"): 22.22, ("c", "cat"): 10, ("d", "cat"): 15, ("b", "dog"): 7.5}
        saved(browser, out, first)
    with running(*command(folder)) as url:
        assert "dog: 1 image" in begin(browser, url)
        wait_for(browser, "d")
        browser.press(*"7", "Enter")
        browser.wait(lambda: "All done" in browser.text("#notice"))
        assert "6 answers in sizes.csv" in browser.text("#notice")
        saved(browser, out, first | {("d", "dog"): 35})
    assert AnswerFile(skipped, blank=True).answers == {}
    with running(*command(folder)) as url:
        browser.open(url)
        browser.wait(lambda: "All done" in browser.text("#notice"))


def test_training_shows_true_sizes_and_the_real_phase_does_not(browser, folder):
    out = folder / "sizes.csv"
    arguments = ("--images", folder / "images", "--classes", "cat", "--truth", folder / "masks", "--train", "2")
    errors = []
    with running(out, *arguments) as url:
        assert "2 images for training" in begin(browser, url)
        for _ in range(2):
            browser.wait(lambda: browser.text("#message") == "" and browser.text("#image"))
            image = browser.text("#image")
            wait_for(browser, image)
            truth = 100 * CATS[image] / SIZES[image][1]
            browser.press(*"12", "Enter")
            browser.wait(lambda: "True size" in browser.text("#message"))
            errors.append(100 * abs(12 - truth) / truth)
            assert f"True size {round(truth, 2):g} %" in browser.text("#message")
            assert f"Mean so far {np.mean(errors):.1f} %" in browser.text("#message")
            browser.wait(lambda: browser.run("return document.querySelector('#truth').naturalWidth"))
            browser.press("Enter")
        browser.wait(lambda: "Training is over" in browser.text("#notice"))
        assert f"{np.mean(errors):.1f} % off on average" in browser.text("#notice")
        assert answers(out) == {}
        assert set(answers(folder / "sizes_training.csv").values()) == {12}
        browser.press("Enter")
        for number in range(2):
            browser.wait(lambda: browser.text("#image"))
            wait_for(browser, browser.text("#image"))
            browser.press(*"8", "Enter")
            browser.wait(lambda number=number: len(answers(out)) == number + 1)
            assert "True size" not in browser.text("body")
        browser.wait(lambda: "All done" in browser.text("#notice"))
    assert set(answers(out).values()) == {8}


@pytest.mark.parametrize("away", ["Promise.reject()", "real('../token-of-another-run/answer', a[1])"])
def test_what_cannot_be_saved_is_kept_and_said(browser, folder, away):
    """The program is away for a moment: the page takes no further answer, and sends the one that it has."""
    out = folder / "sizes.csv"
    with running(out, "--images", folder / "images", "--classes", "cat") as url:
        begin(browser, url)
        wait_for(browser, "a")
        browser.run(
            f"window.real = window.fetch; window.fetch = (...a) => window.away ? {away} : real(...a);window.away = true"
        )
        browser.press(*"10", "Enter")
        browser.wait(lambda: "Not saved yet" in browser.text("#message"))
        wait_for(browser, "b")
        browser.press(*"20", "Enter")
        assert browser.text("#image") == "b"
        assert "Not saved yet" in browser.text("#message")
        assert answers(out) == {}
        browser.run("window.away = false")
        saved(browser, out, {("a", "cat"): 10})
        browser.wait(lambda: browser.text("#message") == "")
        browser.press("Enter")
        saved(browser, out, {("a", "cat"): 10, ("b", "cat"): 20})


def test_the_image_fills_half_of_the_window_under_its_aid(browser, folder):
    for aid, lines in (("grid", "M0 1H5M0 2H5M0 3H5M1 0V4M2 0V4M3 0V4M4 0V4"), ("box", None), ("none", None)):
        with running(folder / f"{aid}.csv", "--images", folder / "images", "--classes", "cat", "--aid", aid) as url:
            begin(browser, url)
            wait_for(browser, "a")
            frame = browser.run("return document.querySelector('#frame').getBoundingClientRect().toJSON()")
            stage = browser.run("return document.querySelector('#stage').getBoundingClientRect().toJSON()")
            height = browser.run("return innerHeight")
            assert frame["width"] == pytest.approx(stage["width"])
            assert frame["height"] == pytest.approx(stage["height"] / 2)
            assert frame["width"] == pytest.approx(min(600, height - 13 * 16))
            if aid == "grid":
                assert browser.run("return document.querySelector('#grid path').getAttribute('d')") == lines
            if aid == "box":
                box = "return document.querySelector('#box').getBoundingClientRect().width"
                assert browser.run(box) == pytest.approx(frame["width"] / 5, abs=0.1)
                browser.press("Up")
                assert browser.run(box) == pytest.approx(frame["width"] * 2 / 5, abs=0.1)
            assert browser.run("return document.documentElement.scrollHeight <= innerHeight")


def test_a_turned_photograph_lies_under_its_mask(browser, folder):
    """The image is white where the mask is and black elsewhere, and the page shows both the right way up."""
    (folder / "images/a.png").unlink()
    mask = np.array(Image.open(folder / "masks/a.png")) == 1
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(np.uint8(mask * 255)).resize((400, 200)).save(folder / "images/a.jpg", exif=exif)
    Image.fromarray(np.uint8(mask)).resize((400, 200)).save(folder / "masks/a.png")
    (folder / "tags.csv").write_text("a,cat\n")
    arguments = ("--images", folder / "images", "--tags", folder / "tags.csv", "--truth", folder / "masks")
    with running(folder / "sizes.csv", *arguments) as url:
        begin(browser, url)
        wait_for(browser, "a")
        browser.press("4", "Enter")
        browser.wait(lambda: browser.run("return document.querySelector('#truth')?.naturalWidth"))
        shown = browser.run(
            "const read = (source) => { const c = document.createElement('canvas'); c.width = 20; c.height = 40;"
            "const x = c.getContext('2d'); x.drawImage(source, 0, 0, 20, 40);"
            "return [...x.getImageData(0, 0, 20, 40).data]; };"
            "return ['#frame canvas', '#truth'].map((s) => read(document.querySelector(s)))"
        )
        image, truth = (np.array(pixels).reshape(40, 20, 4) for pixels in shown)
    assert ((image[..., 0] > 127) == (truth[..., 3] > 127)).mean() > 0.97
    assert truth[:, -5:, 3].min() == 255
    assert truth[:, :5, 3].max() == 0


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_readable_on_a_light_and_on_a_dark_screen(browser, folder, dark):
    """Contrast of at least 4.5 between text and ground, https://www.w3.org/TR/WCAG22/#contrast-minimum."""
    with running(folder / "sizes.csv", "--images", folder / "images", "--classes", "cat") as url:
        browser.dark(dark)
        begin(browser, url)
        wait_for(browser, "a")
        colours = browser.run(
            "const of = (s, p) => getComputedStyle(document.querySelector(s))[p];"
            "return [of('body', 'backgroundColor'), ...['#typed', 'dd', '#numbers', '#question b', '#caption', 'kbd']"
            ".map((s) => of(s, 'color'))]"
        )
        browser.press("Enter")
        colours.append(browser.run("return getComputedStyle(document.querySelector('#message.bad')).color"))
        browser.dark(False)
    ground, *texts = (luminance(colour) for colour in colours)
    assert (ground < 0.2) == dark
    for text in texts:
        assert (max(ground, text) + 0.05) / (min(ground, text) + 0.05) >= 4.5


def luminance(colour):
    """Relative luminance of `rgb(r, g, b)`, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    values = np.array(json.loads("[" + colour.partition("(")[2].rstrip(")") + "]")[:3]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


def test_the_next_photograph_is_there_at_once(browser, tmp_path, record_property, capsys):
    """Photographs of 12 megapixels; the time from Enter to the next one painted is printed and not judged."""
    (tmp_path / "images").mkdir()
    coarse = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    for number in range(6):
        buffer = io.BytesIO()
        Image.fromarray(np.roll(coarse, 30 * number, 1)).resize((4000, 3000)).save(buffer, "JPEG", quality=90)
        (tmp_path / f"images/photo_{number}.jpg").write_bytes(buffer.getvalue())
    with running(tmp_path / "sizes.csv", "--images", tmp_path / "images", "--classes", "cat") as url:
        begin(browser, url)
        wait_for(browser, "photo_0")
        browser.run(STOPWATCH)
        for number in range(5):
            browser.run("return new Promise((done) => setTimeout(done, 1000))")  # a person takes ten times that
            browser.press(*"25", "Enter")
            wait_for(browser, f"photo_{number + 1}")
        waits = browser.wait(lambda: (found := browser.run("return waits")) and len(found) == 5 and found)
    median, slowest = statistics.median(waits), max(waits)
    record_property("milliseconds_to_next_image", waits)
    with capsys.disabled():
        print(f"\nEnter to the next image painted: median {median:.0f} ms, slowest {slowest:.0f} ms of {len(waits)}")  # noqa: T201
    assert len(AnswerFile(tmp_path / "sizes.csv").answers) == 5
