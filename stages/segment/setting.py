"""What a method is told beside its batch: its params, and where the training stands."""

from __future__ import annotations

from dataclasses import dataclass

from stages.core.params import Params


@dataclass(frozen=True)
class Setting:
    """Handed to every function of a method's module.

    recipe, method: the sections recipes.DATASET.methods.METHOD and methods.METHOD of params.yaml.
    epoch, epochs: the present epoch, from 0, and their number.
    background: label 0 is the background.
    """

    recipe: Params
    method: Params
    epoch: int
    epochs: int
    background: bool
