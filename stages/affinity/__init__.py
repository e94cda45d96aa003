"""The boundary network of the random walk."""
