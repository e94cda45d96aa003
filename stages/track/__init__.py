"""The last stage: results -> MLflow and metrics/experiments.csv, and from there into the README."""
