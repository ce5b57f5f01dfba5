"""Counts in memory and on disk, and mini-batches cut from them."""
