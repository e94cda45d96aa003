"""One way to supervise per file.

A method's module has:
    LABELS: which label maps it reads: `masks`, `resized_masks`, `pseudo_masks`, `matched_masks` or None; or in
        its place a function labels(setting) that says which.
    TARGETS: what its row per image is: `sizes`, `tags` (the background is always present) or None.
    loss(outputs, batch, setting) -> scalar terms by name, `loss` among them, all means over images. `outputs` is what
        the network gave for the batch: logits (B, K, H, W) float32 at the images' size, unless it has one of its own.

It may have:
    ARCHITECTURE: the segmentation network that takes the place of the recipe's.
    network(segmenter, classifier, setting) -> what is trained in place of the segmenter: a module with `encoder`, whose
        weights learn at the lower rate, and `segmenter`, which alone is saved. `classifier` is the content of
        classifier.pt. It is called with the normalised images and `valid`, see `core.samples.Batch`. Its buffers are
        saved in checkpoints.
    pixel_weights(labels, setting) -> (H, W) float32, the batch's `weights`, from the label map after augmentation
        (H, W) uint8; computed in the loader's processes, where `setting` stands at epoch 0.
    after_epoch(network, samples, setting) -> None, called on every process at the end of each epoch.
"""
