"""The exponential moving average of a network's weights, which generalises better than the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """Averages the floating-point state (weights and statistics) of a network; the rest is taken over as it is.

    After each step, average <- decay * average + (1 - decay) * state, with decay at most (1 + steps) / (10 + steps), so
    that the first weights are soon forgotten (as in TensorFlow's ExponentialMovingAverage).

    Args:
        network: on its device.
        decay: between 0 and 1; 0 turns the averaging off, and the average is the network itself.

    Attributes:
        state: `steps` and the average by name; empty where it is off.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self.state: dict[str, object] = {}
        if decay:
            values = {name: value.detach().clone() for name, value in network.state_dict().items()}
            self.state = {"steps": 0, "values": values}

    @torch.no_grad()
    def update(self) -> None:
        """Takes the network's present state into the average."""
        if not self.state:
            return
        self.state["steps"] += 1
        steps = self.state["steps"]
        decay = min(self._decay, (1 + steps) / (10 + steps))
        for name, value in self._network.state_dict().items():
            mean = self.state["values"][name]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def restore(self, state: dict[str, object]) -> None:
        """Goes on from a state that was saved."""
        if self.state:
            self.state["steps"] = state["steps"]
            for name, value in state["values"].items():
                self.state["values"][name].copy_(value)

    def apply(self) -> None:
        """Gives the network the average."""
        if self.state:
            self._network.load_state_dict(self.state["values"])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network has the average while the block runs, and its own state afterwards."""
        if not self.state:
            yield
            return
        own = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        self.apply()
        try:
            yield
        finally:
            self._network.load_state_dict(own)
