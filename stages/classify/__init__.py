"""The image-level classifier."""
