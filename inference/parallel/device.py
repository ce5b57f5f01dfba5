"""The device to compute on, by its name."""

from __future__ import annotations

import torch


def device_of(name: str | torch.device) -> torch.device:
    """Return an available device.

    Args:
        name: "auto" (CUDA if there is any), "cpu", "cuda", or one of several, "cuda:1".

    Raises:
        ValueError: There is no such device, or it is of another kind.
    """
    text = str(name).lower()
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, number = text.partition(":")
    if kind == "auto" and not number:
        return torch.device("cuda" if n_cuda else "cpu")
    if kind not in ("cpu", "cuda") or not (number or "0").isdecimal():
        raise ValueError(f"device is {str(name)!r}: it must be auto, cpu, cuda or cuda:NUMBER")
    if kind == "cuda" and int(number or 0) >= n_cuda:
        found = f"only {n_cuda} CUDA devices" if n_cuda else "no CUDA device"
        raise ValueError(f"device is {str(name)!r}, but torch finds {found}: use 'auto' or 'cpu'")
    return torch.device(text)
