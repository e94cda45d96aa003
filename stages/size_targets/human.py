"""How people err: heavy tails, small objects over-estimated, and relative errors that fall with the object's size.

A size v becomes v exp(scale (b(v) + s(v) t)), where t has Student's distribution with FREEDOM degrees of freedom, cut
off at +-LARGEST, and b and ln s are linear in ln v between KNOTS and constant beyond them. The constants are the
maximum likelihood fit of that model to the 1000 answers of one person to images of cats that
github.com/XFan2018/size-estimation-experiment publishes (experiment1.csv; the authors' own measure, mean relative error
12.3 %). A Laplace distribution fits them worse (log-likelihood 567 against 597), a normal one far worse (417). LARGEST
keeps the mean finite, which that of exp(t) is not.

What the answers do not tell: sizes below 0.5 % of the image (s and b stay as they are at 1.25 %), other classes (the
authors print 16.6 % for dogs and 20.1 % for birds: `scale` reaches such levels), and how the errors of several
objects in an image go together (here they are independent).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, stdtrit

FREEDOM = 3.5
LARGEST = 6.0
KNOTS = (0.0125, 0.0375, 0.075, 0.15, 0.3, 0.5, 0.8)  # share of the image
SHIFT = (0.29, 0.13, 0.07, 0.045, 0.007, -0.007, -0.001)  # b at the knots
SPREAD = (0.261, 0.211, 0.184, 0.121, 0.096, 0.075, 0.049)  # s at the knots


def human_factors(true: np.ndarray, draws: np.ndarray, scale: float) -> np.ndarray:
    """The factor of each size, float64, shaped as `true`; 1 for absent classes and for `scale` 0.

    Args:
        true: shares of the image, 0 to 1.
        draws: standard normal, of the same shape; each is turned into the t of the same quantile.
        scale: of the logarithm of the factor; 1 is as people err.
    """
    size = np.log(np.where(true > 0, true, 1))
    shift = np.interp(size, np.log(KNOTS), SHIFT)
    spread = np.exp(np.interp(size, np.log(KNOTS), np.log(SPREAD)))
    certain = np.minimum(np.abs(draws), 8)  # far beyond LARGEST; of a probability of 0 there is no quantile
    tail = stdtrit(FREEDOM, ndtr(-certain))  # the lower tail, where quantiles keep their digits
    t = np.minimum(-tail, LARGEST) * np.sign(draws)
    return np.where(true > 0, np.exp(scale * (shift + spread * t)), 1)
