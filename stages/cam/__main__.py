"""The command of stage `cam`: classifier -> class activation maps."""

from __future__ import annotations

from stages.cam.maps import write_maps
from stages.core.dataset import Dataset
from stages.core.device import be_deterministic
from stages.core.networks.classification import ClassificationNet
from stages.core.networks.encoders import read_model
from stages.core.stage import Stage, run


def main(stage: Stage) -> None:
    """Loads the classifier and writes the maps."""
    model = read_model(stage.deps["classifier"])
    network = ClassificationNet(model["encoder"], model["output_stride"], model["num_classes"])
    network.load_state_dict(model["state"])
    be_deterministic(0)
    dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
    write_maps(stage.outs["cam"], network, dataset, stage.params["recipes.${dataset}.cam"])


if __name__ == "__main__":
    run("cam", main)
