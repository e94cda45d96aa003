"""size_balanced_full: `size_balanced` with the true masks, as the paper's comparison with full supervision has it."""

from __future__ import annotations

from stages.segment.methods.size_balanced import after_epoch, loss, network, pixel_weights

__all__ = ["LABELS", "TARGETS", "after_epoch", "loss", "network", "pixel_weights"]

LABELS = "masks"
TARGETS = None
