"""One checked layout for every data set: a reader per format, then every file opened once."""
