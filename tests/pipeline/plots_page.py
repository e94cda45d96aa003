"""The page of `dvc plots show` from the committed metrics, with pictures of noise for those that git does not keep.

python -m tests.pipeline.plots_page docs/plots.png [--pictures metrics]
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from stages.core.files import encode_png, write_csv
from stages.size_targets.errors import PAIR_COLUMNS
from stages.track.offline_page import SCRIPT, TEMPLATE
from tests.browser import Browser, headless
from tests.pipeline.repository import ROOT, Repository, copy

WIDTH, HEIGHT = 1360, 1460  # pixels of the screenshot
FOLDERS = {"samples": ("00_val.png", "worst_small.png"), "refinement": ("00_val.png",)}
ADDRESS = re.compile(r"/npm/(?P<package>[\w-]+@[\d.]+)/(?P<path>[\w./-]+)$")


def fetch_scripts(folder: Path) -> str:
    """Writes the scripts that the page's template names, from npm; or says why that is impossible.

    npm's packages hold the same bytes as the addresses of the template; the command that reads them compares checksums.
    """
    if not shutil.which("npm"):
        return "there is no npm on PATH, which has the scripts of the page"
    for script in SCRIPT.finditer((ROOT / TEMPLATE).read_text(encoding="utf-8")):
        found = ADDRESS.search(script["address"])
        command = ["npm", "pack", "--silent", "--prefer-offline", found["package"]]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}"
        with tarfile.open(folder / done.stdout.split()[-1]) as archive:
            content = archive.extractfile(f"package/{found['path']}").read()
        (folder / Path(found["path"]).name).write_bytes(content)
    return ""


def tables() -> dict[str, str]:
    """The table of each plot of dvc.yaml that is drawn from one, by title and in their order."""
    plots = YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]
    return {title: next(iter(spec["y"])) for plot in plots if isinstance(plot, dict) for title, spec in plot.items()}


def write_noise(metrics: Path) -> None:
    """Pictures in the folders that dvc.yaml shows."""
    generator = np.random.default_rng(0)
    for folder, names in FOLDERS.items():
        (metrics / folder).mkdir()
        for name in names:
            picture = generator.integers(0, 255, (60, 200, 3), np.uint8)
            (metrics / folder / name).write_bytes(encode_png(picture))


def write_missing_tables(metrics: Path) -> None:
    """Tables that are empty or not there: those of stages that the committed experiment does not need."""
    epochs = [{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, 5)]
    write_csv(metrics / "affinity_log.csv", epochs, ("epoch", "loss"))
    if not (metrics / "size_pairs.csv").exists():
        shares = np.random.default_rng(0).uniform(0.02, 0.4, 60)
        rows = [{"id": str(i), "class": "star", "true": share, "target": share} for i, share in enumerate(shares)]
        write_csv(metrics / "size_pairs.csv", rows, PAIR_COLUMNS)


def repository_of_metrics(folder: Path, scripts: Path, pictures: Path | None = None) -> Repository:
    """A repository with the committed metrics, whose pages need no network.

    dvc.lock is left out: DVC would look up in its cache what the pictures are.

    Args:
        folder: is made.
        scripts: what `fetch_scripts` wrote.
        pictures: a folder with samples/ and refinement/, or noise.
    """
    repository = copy(folder)
    (folder / "dvc.lock").unlink()
    if pictures is None:
        write_noise(folder / "metrics")
    else:
        for name in FOLDERS:
            shutil.copytree(pictures / name, folder / "metrics" / name)
    repository.run(sys.executable, "-m", "stages.track.offline_page", "--scripts", str(scripts))
    return repository


def change_metrics(metrics: Path, factor: float) -> None:
    """Another experiment's results: numbers between 0 and 1 that are not those of this one."""
    for path in sorted({metrics.parent / name for name in tables().values()}):
        rows = list(csv.reader(io.StringIO(path.read_text())))
        scores = [[f"{float(v) * factor:.4f}" if re.fullmatch(r"0\.\d+", v) else v for v in row] for row in rows]
        path.write_text("".join(",".join(row) + "\n" for row in scores))


def open_page(browser: Browser, repository: Repository) -> None:
    """Opens the page and waits until every chart is drawn."""
    browser.open("about:blank")
    browser.console(), browser.requested()  # what a new window asks for is not the page's
    browser.open((repository.folder / "dvc_plots/index.html").as_uri())
    pending = "return [...document.querySelectorAll('main > div:not(.pictures)')].every((e) => e.querySelector('svg'))"
    browser.wait(lambda: browser.run(pending))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, headless(WIDTH, HEIGHT) as browser:
        scripts = Path(name) / "scripts"
        scripts.mkdir()
        if reason := fetch_scripts(scripts):
            sys.exit(reason)
        repository = repository_of_metrics(Path(name) / "repository", scripts, options.pictures)
        repository.run("dvc", "plots", "show")
        open_page(browser, repository)
        picture = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
