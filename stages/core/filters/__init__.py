"""Filters over all pixels of an image."""
