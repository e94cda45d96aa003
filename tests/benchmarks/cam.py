"""What activation maps cost beyond the network itself: `python -m tests.benchmarks.cam`.

One image of 375 x 500 pixels, 2 tags, at scales 0.5, 1, 1.5 and 2 with flips, on one thread; the bare time is that of
the network's map over the same views, which are ready then. Times are the shortest of several runs. On a GPU, images
per second follow.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch reads it

import torch

from stages.cam.extractors import EXTRACTORS
from stages.cam.maps import activation_maps
from stages.core.device import device
from stages.core.inference import scaled_views
from stages.core.networks.classification import ClassificationNet
from stages.core.params import Params
from stages.download.shapes import render
from tests.benchmarks.timing import shortest

SCALES = (0.5, 1.0, 1.5, 2.0)
ENCODERS = {"slim_resnet10": 8, "resnet18": 16}  # and their output strides
CLASSES, REPEATS = 20, 5


def recipe(extractor: str) -> Params:
    """VOC's, with the extractor of that name."""
    return Params({"extractor": extractor, "level": -1, "scales": SCALES, "flip": True, "stride": 4})


@torch.no_grad()
def bare_passes(network: ClassificationNet, views: list[torch.Tensor]) -> None:
    """The network over views that are ready."""
    for view in views:
        network.cam(view)


def main() -> None:
    """Prints a line per encoder and extractor, then one per encoder and batch size on a GPU."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    image = torch.from_numpy(render(0, 1, 3, 500)[0][:375]).permute(2, 0, 1)[None]
    tags = torch.tensor([[3, 7]])
    networks = {name: ClassificationNet(name, stride, CLASSES).eval() for name, stride in ENCODERS.items()}
    if device().type == "cuda":
        throughput(networks, image, tags)
        return
    views = [torch.cat([view, view.flip(3)]) for view, _ in scaled_views(image, SCALES, flip=False)]
    print("| encoder | extractor | maps (s) | bare passes (s) | maps / bare |")
    print("|---|---|---:|---:|---:|")
    for name, network in networks.items():
        for extractor in EXTRACTORS:
            # in turn, so that a slow moment of the machine hits both
            times = [
                (
                    shortest(lambda n=network, e=extractor: activation_maps(n, image, tags, recipe(e)), 1),
                    shortest(lambda n=network: bare_passes(n, views), 1),
                )
                for _ in range(REPEATS)
            ]
            whole, bare = (min(column) for column in zip(*times, strict=True))
            print(f"| {name} | {extractor} | {whole:.2f} | {bare:.2f} | {whole / bare:.2f} |")


def throughput(networks: dict[str, ClassificationNet], image: torch.Tensor, tags: torch.Tensor) -> None:
    """Images per second on a GPU, from uint8 images in memory to maps in memory."""
    print(f"{torch.cuda.get_device_name()}\n\n| encoder | extractor | batch | images / s |\n|---|---|---:|---:|")
    for name, network in networks.items():
        network.to(device())
        for extractor in EXTRACTORS:
            for batch in (1, 8, 16):
                images, rows = image.repeat(batch, 1, 1, 1), tags.repeat(batch, 1)

                def work(n=network, i=images, t=rows, e=extractor) -> None:
                    activation_maps(n, i, t, recipe(e)).cpu()

                work()  # kernels are chosen in the first run
                print(f"| {name} | {extractor} | {batch} | {batch / shortest(work, REPEATS):.1f} |")


if __name__ == "__main__":
    main()
