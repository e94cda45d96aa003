"""Object sizes as training targets: measured, then corrupted."""
