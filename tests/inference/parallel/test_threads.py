"""Other libraries do not change the number of threads that torch computes with."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vae4counts.inference.parallel.threads import kept_threads
from vae4counts.inference.plots import two_dimensions


def test_the_number_is_as_it_was_even_after_an_error() -> None:
    @kept_threads()
    def fail() -> None:
        torch.set_num_threads(before + 1)
        raise ZeroDivisionError

    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_num_threads() == before


def test_another_number_is_for_the_block_alone() -> None:
    before = torch.get_num_threads()
    with kept_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_layout_leaves_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy:
        """Does as numba, which UMAP is compiled by, and lays nothing out."""

        def __init__(self, **_: Any) -> None: ...

        def fit_transform(self, latents: np.ndarray) -> np.ndarray:
            torch.set_num_threads(torch.get_num_threads() + 1)
            return latents[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Greedy))
    before = torch.get_num_threads()
    assert two_dimensions(np.zeros((30, 3)))[0].shape == (30, 2)
    assert torch.get_num_threads() == before
