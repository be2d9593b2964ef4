"""From files on disk to batches: readers, splits, pixels, cache, loader."""
