"""A split -> a subset that is balanced over classes and sizes."""
