"""Devices by their names."""

from __future__ import annotations

import pytest
import torch

from vae4counts.inference.parallel.device import device_of


@pytest.mark.parametrize("name", ["cpu", "CPU", torch.device("cpu"), "auto"])
def test_those_that_are_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device_of(name) == torch.device("cpu")


@pytest.mark.parametrize("n_cuda", [0, 2])
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda:2", "cuda:x", "mps", "", "gpu", "auto:1"])
def test_those_that_are_not(name: str, n_cuda: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: n_cuda > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: n_cuda)
    if name in ("cuda", "cuda:1") and n_cuda:
        assert device_of(name) == torch.device(name)
        return
    found = "only 2 CUDA devices" if n_cuda else "no CUDA device"
    said = f"but torch finds {found}" if name in ("cuda", "cuda:1", "cuda:2") else "it must be auto"
    with pytest.raises(ValueError, match=said):
        device_of(name)
