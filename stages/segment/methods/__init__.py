"""One way to supervise per file.

A method's module has:
    LABELS: which label maps it reads: `masks`, `pseudo_masks` or None.
    TARGETS: what its row per image is: `sizes`, `tags` or None.
    loss(logits, batch, recipe, method) -> terms by name, `loss` among them; `recipe` is
        recipes.DATASET.methods.METHOD and `method` is methods.METHOD of params.yaml.
"""
