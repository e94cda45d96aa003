"""Coarser grids by hand."""

import torch

from stages.segment.losses.coarse import coarsen


def test_cells_are_means_and_valid_where_all_pixels_are():
    logits = torch.arange(20.0).view(1, 1, 4, 5)
    images = torch.full((1, 3, 4, 5), 7, dtype=torch.uint8)
    valid = torch.ones(1, 4, 5, dtype=torch.bool)
    valid[0, 3, 1] = False
    coarse, colours, whole = coarsen(logits, images, valid, 2)
    assert coarse.tolist() == [[[[3.0, 5.0], [13.0, 15.0]]]]
    assert (colours == 7).all()
    assert whole.tolist() == [[[True, True], [False, True]]]
    assert coarsen(logits, images, valid, 1)[0] is logits
