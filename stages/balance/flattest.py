"""A fixed number of images with the flattest histogram of classes and sizes, and how flat it can be at best."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack

from stages.balance.selection import choose
from stages.core.faults import Fault

TIGHT = 1e-3  # relative distance at which a bound is close enough
MOST_TANGENTS = 20
NEIGHBOURS = 2  # targets on either side of the nearest one that are tried


def effective_cells(histogram: np.ndarray) -> float:
    """How many equally filled cells are as flat as the histogram: (sum of h)^2 / sum of h^2, 0 if it is empty.

    It is the number of cells where all are equal, 1 where one holds everything, and never more or less; the inverse
    Simpson index, Hill's number of order 2 (doi:10.2307/1934352). No scale enters, so that it asks neither for many
    instances nor for few.

    Args:
        histogram: (cells,) instances.
    """
    total, squares = int(histogram.sum()), int((histogram.astype(np.int64) ** 2).sum())
    return total * total / squares if squares else 0.0


def flattest(counts: np.ndarray, images: int, priority: np.ndarray) -> np.ndarray:
    """As many rows as wanted, with the most `effective_cells` in their sum.

    PASCAL-B (arXiv 2309.14117) has 1137 images, drawn at random while class and size were balanced; this is a search
    instead, from two starts: no image, and what `choose` chooses at the target at which it comes closest to the
    number. Images are added or taken out, the best first; then each chosen image in turn gives way to the best other
    one, until no exchange of one image for another helps. The better end is the result, so it is never worse than
    `choose` where that has the same number; `bound` tells how far it is from the best choice. All numbers are whole,
    so the result is the same on any machine.

    Args:
        counts: (rows, cells) instances of each image in each class and size, integers.
        images: how many to choose.
        priority: (rows,) distinct numbers; the lowest wins where several images are equally good.

    Returns:
        (rows,) bool, the chosen ones; rows without instances are never among them.

    Raises:
        Fault: fewer rows than `images` have an instance.
    """
    order = np.argsort(priority)
    order = order[counts[order].any(1)]
    if not 0 < images <= len(order):
        raise Fault(f"{images} images cannot be chosen: {len(order)} images of the pool have an instance")
    table = counts[order].astype(np.float64)  # whole numbers below 2^53, which float64 sums without rounding
    starts = (np.zeros(len(table), bool), near_choice(table, images))
    rows = Rows(table)
    ends = [exchanged(rows, resized(rows, start, images)) for start in starts]
    best = max(ends, key=lambda end: effective_cells(table[end].sum(0)))
    result = np.zeros(len(counts), bool)
    result[order[best]] = True
    return result


def near_choice(table: np.ndarray, images: int) -> np.ndarray:
    """(rows,) bool: what `choose` chooses with about `images` rows, the flattest of those that are equally near."""
    tried: dict[int, np.ndarray] = {}

    def at(target: int) -> np.ndarray:
        if target not in tried:
            tried[target] = choose(table, target, np.arange(len(table)))
        return tried[target]

    most = int(table.sum(0).max())  # the target from which every row is chosen
    high = 1
    while high < most and at(high).sum() < images:
        high *= 2
    first = bisect_left(range(high), images, high // 2, key=lambda target: at(target).sum())
    for target in range(max(0, first - NEIGHBOURS), min(most, first + NEIGHBOURS) + 1):
        at(target)
    return min(tried.values(), key=lambda rows: (abs(rows.sum() - images), -effective_cells(table[rows].sum(0))))


class Rows:
    """The rows of a table of counts, with what each one adds to the flatness of a histogram.

    Args:
        table: (rows, cells) whole numbers as float64.
    """

    def __init__(self, table: np.ndarray) -> None:
        self.table = table
        self.squares = (table**2).sum(1)
        self.totals = table.sum(1)

    def unevenness(self, histogram: np.ndarray, sign: int) -> np.ndarray:
        """1 / `effective_cells` of the histogram with each row added (sign 1) or taken out (-1), (rows,)."""
        squares = (histogram**2).sum() + sign * 2 * (self.table @ histogram) + self.squares
        totals = histogram.sum() + sign * self.totals
        return np.divide(squares, totals**2, out=np.full(len(totals), np.inf), where=totals > 0)


def resized(rows: Rows, chosen: np.ndarray, images: int) -> np.ndarray:
    """The choice with rows added or taken out, the best one each time, until they are `images`."""
    chosen, histogram = chosen.copy(), rows.table[chosen].sum(0)
    while chosen.sum() != images:
        sign = 1 if chosen.sum() < images else -1
        share = rows.unevenness(histogram, sign)
        share[chosen == (sign > 0)] = np.inf
        row = int(share.argmin())
        chosen[row] = sign > 0
        histogram += sign * rows.table[row]
    return chosen


def exchanged(rows: Rows, chosen: np.ndarray) -> np.ndarray:
    """The choice after exchanges of one row for another, until none makes it flatter."""
    chosen, histogram = chosen.copy(), rows.table[chosen].sum(0)
    share = (histogram**2).sum() / histogram.sum() ** 2
    waiting = deque(np.flatnonzero(chosen))
    unhelped = 0
    while unhelped < len(waiting):
        row = waiting.popleft()
        chosen[row] = False
        histogram -= rows.table[row]
        found = rows.unevenness(histogram, 1)
        found[chosen] = np.inf
        other = int(found.argmin())
        if found[other] < share:
            share, unhelped = found[other], 0
        else:
            other, unhelped = row, unhelped + 1
        chosen[other] = True
        histogram += rows.table[other]
        waiting.append(other)
    return chosen


def flatness(histogram: np.ndarray, pool: np.ndarray, best: float) -> str:
    """What a person reads of a choice: its effective cells, those of the pool, and the bound.

    Args:
        histogram: instances of the choice, a number per cell.
        pool: those of all images.
        best: what `bound` gives.
    """
    flat = effective_cells(histogram)
    return (
        f"effective cells {flat:.2f} of {pool.size}; the pool has {effective_cells(pool):.2f}, no choice of as "
        f"many images more than {best:.2f} ({100 * (1 - flat / best):.2f} % away)"
    )


def bound(counts: np.ndarray, chosen: np.ndarray) -> float:
    """No other choice of as many rows has more `effective_cells` than this.

    With p the histogram as shares, 1 / effective cells is the sum of p^2, and the parabolas lie above their tangents
    at any shares q: sum of p^2 >= sum of 2 q p - q^2. The right side is linear in p. Its least value where rows may be
    chosen by parts is a linear programme in y = x / (all instances), x the part of each row (Charnes and Cooper,
    doi:10.1002/nav.3800090303). The first q are the shares of the given choice; they move towards the programme's
    solution (Frank and Wolfe, doi:10.1002/nav.3800030109) until the bound is within TIGHT of what parts of rows reach.

    Args:
        counts: (rows, cells) instances.
        chosen: (rows,) bool, a choice as `flattest` gives it.

    Raises:
        Fault: the solver fails.
    """
    table = counts[counts.any(1)].astype(np.float64)
    rows, filled = len(table), np.count_nonzero(table.any(0))
    equal = np.vstack([np.append(table.sum(1), 0), np.append(np.ones(rows), -float(chosen.sum()))])
    part = hstack([eye_array(rows), csr_array(-np.ones((rows, 1)))], "csr")  # y - s <= 0, with s = 1 / (all instances)
    histogram = counts[chosen].sum(0)
    shares = histogram / histogram.sum()
    least = 1 / filled  # no histogram is flatter than one that is level over the cells there are
    for _ in range(MOST_TANGENTS):
        cost = np.append(2 * table @ shares, 0)
        solved = linprog(cost, part, np.zeros(rows), equal, [1, 0], method="highs")
        if solved.status != 0:
            raise Fault(f"the bound of the flattest histogram was not found: {solved.message}")
        least = max(least, solved.fun - (shares**2).sum())
        if (shares**2).sum() <= (1 + TIGHT) * least:
            break
        way = solved.x[:rows] @ table - shares
        shares = shares + min(1, -(way @ shares) / (way @ way)) * way
    return 1 / least
