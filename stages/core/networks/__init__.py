"""Encoders, the classifier and the segmenter, by name."""
