"""Activation maps -> pseudo masks."""
