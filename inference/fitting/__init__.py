"""Fitting: options, checks, phases, the SVI loop, checkpoints."""
