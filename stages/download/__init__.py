"""Raw data: an index with a checksum per file, or the generated set; and pretrained weights."""
