"""The boundary network of the random walk, and the boundaries that it sees."""
