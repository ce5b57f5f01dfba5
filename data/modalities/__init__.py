"""Several modalities of the same observations: found, aligned and read."""
