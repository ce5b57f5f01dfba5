"""Draws from a seed of one's own, with the caller's random state as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch


@contextmanager
def own_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """Seeds torch for a while and switches Pyro's checks off, which would slow every step."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), pyro.validation_enabled(False):
        torch.manual_seed(seed)
        yield
