"""A valid params.yaml with a data set of each format, and ways to break it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.check.validate import faults_of

VALID = """
dataset: drawn
method: size_target
source: generator.py
pseudo_masks: generator.py
size_file: generator.py
seed: 0
datasets:
  drawn: {format: shapes, seed: 0, image_size: 96, splits: {train: 8, val: 4, test: 4}, size_bins: [256, 1024],
    headline: test}
  pascal: {format: voc, lists: {train: train_aug, val: val}, masks: [SegmentationClass], instances: none, tags: masks,
    tags_file: none, size_bins: [1024, 9216], headline: val, untrained: []}
  mine: {format: folder, background: false, masks: all, tags: masks, size_bins: [1024, 9216], headline: val,
    untrained: []}
  heart: {format: acdc, val_every: 5, clip: [1, 99.0], spacing: 1.5, size_bins: [256, 1024], headline: val}
recipes:
  drawn: &recipe
    classifier: {encoder: resnet50, weights: none, output_stride: 16, dropout: 0.0, loss: bce, epochs: 1,
      batch_size: 16, optimizer: adamw, lr: 1e-05, head_lr_factor: 1, momentum: 0.9, weight_decay: 0, schedule: poly,
      warmup: 0.1, precision: float32, biases: as_weights, accumulate: 1, ema: 0.0, compile: false,
      batch_norm: train, validate_scale: 1.0, augment: &augment {resize: [64, 128],
      crop: none, flip: true, rotate90: false, jitter: 0.2}}
    cam: {extractor: cam, level: -1, scales: [1.0, 0.5], flip: true, stride: 4, batch_size: 32}
    affinity: {kind: irn, foreground: 0.3, background: 0.05, crf: none, stride: 4, radius: 10, epochs: 3,
      batch_size: 16, optimizer: sgd, lr: 0.1, head_lr_factor: 1, momentum: 0.9, weight_decay: 0.0001,
      schedule: poly, warmup: 0, precision: float16, biases: as_weights, accumulate: 1, ema: 0.0, compile: false,
      batch_norm: frozen, augment: *augment}
    refine:
      foreground: 0.3
      background: 0.05
      threshold: fixed
      validation_images: 100
      walk: {radius: 5, beta: 10, steps: 256}
      pamr: {kernel: par, dilations: [1, 2], iterations: 10}
      crf: {kernels: {gaussian: {xy: 3, weight: 3}, bilateral: {xy: 50, rgb: 5, weight: 10}}, iterations: 10,
        backend: pydensecrf, confidence: 0.7}
    segmenter: {architecture: fcn, output_stride: 8, epochs: 3, batch_size: 16, optimizer: sgd, lr: 0.002,
      head_lr_factor: 10, momentum: 0.9, weight_decay: 0.05, schedule: one_cycle, warmup: 0, precision: bfloat16,
      biases: caffe, accumulate: 2, ema: 0.999, compile: true, batch_norm: frozen,
      validate_every: 1, validate_scale: 0.5, augment: *augment}
    predict: {splits: [val], model: last, scales: [1.0], flip: true, batch_size: 32, crf: none}
    methods:
      full: {label_smoothing: 0.0}
      pseudo_mask: {label_smoothing: 0.0, crf_weight: 0.03, rloss_weight: 0, loss_stride: 2, xy: 20, rgb: 15}
      size_balanced: {ewc_weight: 500, task_a: 0.5, fisher_images: all, fisher_batch: 8}
      size_target: {size_weight: 1.0, crf_weight: 1.0, rloss_weight: 2e-9, loss_stride: 2, xy: 20, rgb: 15,
          seed_weight: 0, nested: none}
      tags: {crf_weight: 0, rloss_weight: 0, loss_stride: 1, xy: 20, rgb: 15}
      single_stage: {pretrain: 0.2, loss_stride: 4, dilations: [1, 2]}
      rrm: {classify_first: 0.0, extra_scales: [], reliable: {foreground_alpha: 4, background_alpha: 32,
          probability: 0.8, background_score: 0.8, floor: 0.1, quantile: 0.6}, crf: {kernels: {gaussian: {xy: 3,
          weight: 3}}, iterations: 10, backend: lattice}, crf_stride: 2, energy: {weight: 1e-7, xy: 100, rgb: 15,
          scale: 0.5, normalisation: authors}}
  pascal: *recipe
  mine: *recipe
  heart: *recipe
methods:
  full: {ce: ohem, keep_share: 0.25, threshold: 0.7, match_sizes: false, images: all}
  pseudo_mask: {ce: plain, keep_share: 0.25, threshold: 0.7, crf: none, neighbours: 8, relaxation: bilinear,
    match_sizes: false}
  size_balanced: {labels: pseudo_masks, tau: 5, reading: image, normalise_ce: weights, fisher: per_sample,
    fisher_normalise: tensor}
  size_target: {size_loss: forward_kl, margin: 0.1, t: 100.0, growth: 1.1, crf: grid_potts, neighbours: 8,
    relaxation: bilinear, seeds: none, labelled: 0}
  tags: {crf: grid_potts, neighbours: 4, relaxation: quadratic}
  single_stage: {focal_power: 3, focal_floor: 0.01, foreground: 0.6, background: 0.7, lowest: 0.2, iterations: 10}
  rrm: {}
size_targets: {source: masks, void: excluded, missing: tags, fill: 0.6, corruption: relative_gaussian, sigma: 0.1,
  renormalise: background, scale: 1.0, step: 0.05, bins: none, factor: 1.5, share: 0.1, seed: 0}
balance: {instances_per_cell: 20, images: any, seed: 0}
pascal_b: {archives: []}
evaluate: {mode: exact, bootstrap: 1000, samples: 12}
"""

Change = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where params.yaml lies, beside the generator that its source names."""
    (tmp_path / "generator.py").touch()
    return tmp_path


@pytest.fixture
def change() -> Change:
    """A function that returns the valid content with the values at some dotted keys replaced or, by `...`, removed."""

    def changed(values: dict[str, Any]) -> dict[str, Any]:
        tree = json.loads(json.dumps(YAML(typ="safe").load(VALID)))  # anchors become copies
        tree["recipes"]["drawn"]["predict"]["splits"] = ["val", "test"]
        for dotted, value in values.items():
            *way, last = dotted.split(".")
            section = tree
            for key in way:
                section = section[key]
            if value is ...:
                del section[last]
            else:
                section[last] = value
        return tree

    return changed


@pytest.fixture
def faults(change: Change, folder: Path) -> Callable[..., list[str]]:
    """A function that returns the faults of the valid content with some values changed."""
    return lambda values: faults_of(change(values), folder)
