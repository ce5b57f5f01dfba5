"""Draws from a given seed that leave the caller's random state as it was."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import torch

# Pyro's stack of handlers and the random states are one for the whole process: threads take turns.
_TURN = threading.RLock()


@contextmanager
def own_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """Seed Python, numpy and torch inside a ``with`` block, without Pyro's checks, which are slow.

    Of several threads, one at a time is inside: each draws what it would draw alone.
    """
    devices = [device] if device.type == "cuda" else []
    with _TURN, torch.random.fork_rng(devices), pyro.validation_enabled(False):
        before = random.getstate(), np.random.get_state()  # noqa: NPY002
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


def random_state(device: torch.device) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the random states of Python, numpy and torch, on the CPU and on the device.

    Returns:
        JSON values, of Python and numpy; and tensors, see `torch_state`.
    """
    kind, key, *rest = np.random.get_state()  # noqa: NPY002
    values = {"python": random.getstate(), "numpy": [kind, np.asarray(key).tolist(), *rest]}
    return values, torch_state(device)


def torch_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the random states of torch alone, in a fiftieth of the time that all take."""
    tensors = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    return tensors


def set_random_state(
    values: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], device: torch.device
) -> None:
    """Set what `random_state` returned; the state of CUDA is ignored on a CPU.

    Raises:
        LookupError: A part of the state is missing.
    """
    kind, key, *rest = values["numpy"]
    np.random.set_state((kind, np.array(key, dtype=np.uint32), *rest))  # noqa: NPY002
    number, words, gauss = values["python"]
    random.setstate((number, tuple(words), gauss))
    set_torch_state(tensors, device)


def set_torch_state(tensors: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set what `torch_state` returned.

    Raises:
        LookupError: The state of the CPU is missing.
    """
    torch.set_rng_state(tensors["torch"])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
