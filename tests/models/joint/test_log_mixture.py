"""Mixtures in logarithms, against log-sum-exp and finite differences."""

from __future__ import annotations

import torch

from vae4counts.models.joint.log_mixture import log_mixture


def test_values_and_gradients() -> None:
    torch.manual_seed(0)
    log_p = (10 * torch.randn(2, 5, 3, dtype=torch.float64)).requires_grad_()
    weights = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    expected = (log_p.unsqueeze(-1) + weights.log().unsqueeze(1)).logsumexp(2)
    torch.testing.assert_close(log_mixture(log_p, weights), expected)
    torch.autograd.gradcheck(log_mixture, (log_p, weights))


def test_what_is_lost_has_finite_gradients() -> None:
    log_p = torch.tensor([[[-1e4, -2e4]]], requires_grad=True)
    weights = torch.tensor([[[0.0, 0.5], [0.5, 0.0]]], requires_grad=True)
    found = log_mixture(log_p, weights)
    torch.testing.assert_close(found[..., 1].item(), -1e4 + torch.tensor(0.5).log().item())
    assert found[..., 0] < -1e4 - 60
    (1e3 * found.sum()).backward()
    assert log_p.grad is not None
    assert weights.grad is not None
    assert log_p.grad.isfinite().all()
    assert weights.grad.isfinite().all()
