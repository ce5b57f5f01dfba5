"""From files to sparse batches."""
