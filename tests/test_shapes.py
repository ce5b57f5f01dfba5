"""``pytest --shapes`` finds a wrong shape."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from vae4counts.models import VAE
from vae4counts.models.priors import GaussianMixture, StandardNormal


@pytest.fixture(scope="module")
def shapes() -> Any:
    path = Path(__file__).with_name("shapes.py")
    spec = importlib.util.spec_from_file_location("shapes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Forgetful(StandardNormal):
    """A prior whose density keeps the axis of the latents."""

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Normal(0.0, 1.0).log_prob(z)


def test_wrong_shapes_are_found_when_asked_for(shapes: Any) -> None:
    z = torch.zeros(4, 2)
    with shapes.checked_shapes() as n:
        assert n > len(shapes.SHAPES)
        assert StandardNormal(2).log_prob(z).shape == (4,)
        assert GaussianMixture(2, 3).responsibilities(z).shape == (4, 3)
        with pytest.raises(TypeCheckError):
            Forgetful(2).log_prob(z)
        with pytest.raises(TypeCheckError):
            StandardNormal(2).log_prob(z.long())


def test_every_row_names_a_method(shapes: Any) -> None:
    for kind, name, _ in shapes.SHAPES:
        assert callable(getattr(kind, name)), (kind, name)


def test_a_model_runs_checked(shapes: Any) -> None:
    with shapes.checked_shapes():
        model = VAE(5, GaussianMixture(2, 3), decoder="linear").eval()
        assert model.rates(torch.zeros(3, 2), 10.0).shape == (3, 5)
        assert model.loadings().shape == (5, 2)
