"""One loss per file, each equal to its paper's equation."""
