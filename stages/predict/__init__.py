"""Label maps from the segmenter."""
