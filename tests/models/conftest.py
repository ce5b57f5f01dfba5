"""Latents in groups, for priors and models to start from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vae4counts.models.priors import GaussianMixture


@pytest.fixture
def separated() -> tuple[GaussianMixture, Tensor, Tensor]:
    """An untrained mixture, well separated points of four groups, and their true centres."""
    centres = 10 * torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, 1.5], [0.0, -1.0]])
    which = torch.arange(400) % 4
    spread = torch.tensor([[0.5, 1.0]])
    return GaussianMixture(2, 4), centres[which] + spread * torch.randn(400, 2), centres
