"""Leaves of every likelihood of independent counts, against the likelihood itself."""

from __future__ import annotations

import pytest
import torch

from vae4counts.models.joint.leaves import log_leaves
from vae4counts.models.likelihoods import LIKELIHOODS, CountDistribution

COUNTS = torch.tensor([[0, 0, 3.0], [1, 0, 0], [0, 0, 0], [2, 7, 1]], dtype=torch.float64)
NAMES = [
    name for name, kind in LIKELIHOODS.items() if kind.support.counts and not kind.library_is_total
]


def leaves(name: str, outputs: torch.Tensor) -> CountDistribution:
    likelihood = LIKELIHOODS[name]()
    likelihood.build(3)
    return likelihood.double()(outputs, None)


def random_outputs(name: str) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3 * LIKELIHOODS[name]().outputs_per_feature, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_values(name: str) -> None:
    outputs = random_outputs(name)
    found = log_leaves(leaves(name, outputs), COUNTS.to_sparse_csr())
    assert found.shape == (4, 3, 2)
    for h, own in enumerate(outputs):
        expected = leaves(name, own).expand((4,)).leave_one_out(COUNTS)
        torch.testing.assert_close(found[..., h], expected)
        torch.testing.assert_close(found[..., h].sum(-1), leaves(name, own).log_prob(COUNTS))


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name: str) -> None:
    outputs = random_outputs(name).requires_grad_()
    torch.autograd.gradcheck(lambda o: log_leaves(leaves(name, o), COUNTS), outputs)
