"""Tables of counts in memory and on disk, and mini-batches cut from them."""
