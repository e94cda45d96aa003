"""How long VOC's recipe takes from the classifier to the pseudo masks: `python -m tests.benchmarks.train_aug`.

Rates of each step with the networks and settings of `recipes.voc12`, on a generated image of 375 x 500 pixels with two
tags, extrapolated to the 10 582 images of train_aug. Networks run on the GPU where there is one, in batches of the
recipe, else on all cores one image at a time; what a process pool does counts by the number of its workers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from stages.affinity.edges import edge_maps
from stages.affinity.network import BoundaryNet
from stages.affinity.pair_loss import at_size, pair_loss
from stages.cam.maps import activation_maps
from stages.core.device import device
from stages.core.networks.classification import ClassificationNet
from stages.core.params import Params, read_yaml
from stages.core.pool import workers
from stages.core.transforms import normalise
from stages.core.two_thresholds import label_scores, upsample
from stages.download.shapes import render
from stages.refine.one_image import walk_scores
from tests.benchmarks.timing import shortest

IMAGES = 10582
CLASSES, REPEATS = 20, 2


def main() -> None:
    """Prints a line per step, and their sum."""
    torch.manual_seed(0)
    recipe = Params(read_yaml(Path("params.yaml"))["recipes"]["voc12"])
    where = device()
    image = np.ascontiguousarray(render(0, 1, 3, 500)[0][:375])
    batch = recipe.cam.batch_size if where.type == "cuda" else 1
    images = torch.from_numpy(image).permute(2, 0, 1)[None].repeat(batch, 1, 1, 1)
    tags = torch.tensor([[3, 7]]).repeat(batch, 1)
    encoder, stride = recipe.classifier.encoder, recipe.classifier.output_stride
    classifier = ClassificationNet(encoder, stride, CLASSES).eval().to(where)
    boundaries = BoundaryNet(encoder, stride, recipe.affinity.stride).eval().to(where)
    blobs = np.random.default_rng(0).random((2, 12, 16)).astype(np.float32)
    cam = (255 * upsample((255 * blobs).astype(np.uint8), (94, 125))).astype(np.uint8)
    edges = np.random.default_rng(1).integers(0, 256, (94, 125), dtype=np.uint8)
    classes = np.array([4, 8])

    def boundary_step() -> None:
        side = recipe.affinity.augment.crop
        size = recipe.affinity.batch_size if where.type == "cuda" else 1
        views = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8, device=where)
        labels = torch.randint(0, 3, (size, side // 16, side // 16), device=where)
        labels = labels.repeat_interleave(16, 1).repeat_interleave(16, 2)
        found = boundaries(normalise(views)).float().sigmoid()
        pair_loss(found, at_size(labels, found.shape[1:]), recipe.affinity.radius, True)["loss"].backward()

    def synchronised(work: object) -> object:
        def timed() -> None:
            work()
            if where.type == "cuda":
                torch.cuda.synchronize()

        return timed

    crop_images = recipe.affinity.batch_size if where.type == "cuda" else 1
    scores = upsample(cam, image.shape[:2])
    with torch.inference_mode():
        steps = [
            (
                "activation maps, 4 scales with flips",
                batch,
                1,
                lambda: activation_maps(classifier, images, tags, recipe.cam),
            ),
            ("boundaries", batch, 1, lambda: edge_maps(boundaries, images)),
        ]
        found = {name: (shortest(synchronised(work), REPEATS) / per, jobs) for name, per, jobs, work in steps}
    found[f"training the boundary network, {recipe.affinity.epochs} epochs"] = (
        recipe.affinity.epochs * shortest(synchronised(boundary_step), REPEATS) / crop_images,
        1,
    )
    for name, work in (
        ("its labels, two dense CRFs", lambda: label_scores(image, scores, classes, True, recipe.affinity)),
        ("random walk", lambda: walk_scores(cam, edges, image.shape[:2], recipe.refine.walk)),
    ):
        torch.set_num_threads(1)
        found[name] = shortest(work, REPEATS), workers()
    print(f"| step | seconds an image | workers | hours for {IMAGES} images |")
    print("|---|---:|---:|---:|")
    hours = {name: seconds * IMAGES / jobs / 3600 for name, (seconds, jobs) in found.items()}
    for name, (seconds, jobs) in found.items():
        print(f"| {name} | {seconds:.3f} | {jobs} | {hours[name]:.1f} |")
    print(f"| all | | | {sum(hours.values()):.1f} |")


if __name__ == "__main__":
    main()
