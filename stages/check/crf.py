"""The section of a dense CRF, which several rooms use."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from stages.check.section import Count, Positive, Section, Width, broken


class GaussianKernel(Section):
    """Nearness: `xy` in pixels."""

    xy: Width
    weight: Positive


class BilateralKernel(Section):
    """Nearness and likeness: `xy` in pixels, `rgb` in grey levels of 0..255."""

    xy: Width
    rgb: Width
    weight: Positive


class Kernels(Section):
    """The kernels of a dense CRF; the one place where a key may be absent: that kernel is not used."""

    gaussian: GaussianKernel = None
    bilateral: BilateralKernel = None

    @model_validator(mode="after")
    def has_one(self) -> Kernels:
        """A CRF without a kernel does nothing."""
        if not self.model_fields_set:
            raise broken("must hold gaussian, bilateral or both")
        return self


class Crf(Section):
    """Dense CRF inference, see `stages.core.dense_crf`."""

    kernels: Kernels
    iterations: Count
    backend: Literal["pydensecrf", "lattice"]
