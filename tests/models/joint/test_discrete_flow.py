"""Discrete flows: permutations and their inverse, probabilities by enumeration, gradients."""

from __future__ import annotations

import math
from itertools import permutations, product
from typing import Any

import pytest
import torch
from torch import Tensor

from vae4counts.models import NotInModelError
from vae4counts.models.joint import DiscreteFlow
from vae4counts.models.joint.modular_layer import affine_maps


def model(n_features: int = 3, **given: Any) -> DiscreteFlow:
    """A flow of random weights, so that nothing is zero by chance, and not in training."""
    torch.manual_seed(0)
    made = DiscreteFlow(n_features, **{"hidden": (10,), **given})
    for name, parameter in made.named_parameters():
        if name != "rest":
            torch.nn.init.normal_(parameter)
    made.rest.data = torch.linspace(0.5, 2, 2 * n_features).reshape(2, -1)
    return made.double().eval()


def grid(n: int, n_features: int) -> Tensor:
    """All vectors of counts below ``n``."""
    return torch.cartesian_prod(*[torch.arange(n, dtype=torch.float64)] * n_features)


@pytest.mark.parametrize(("n_states", "scales"), [(2, [1]), (3, [1, 2]), (4, [1, 3]), (6, [1, 5])])
def test_maps_are_those_with_an_inverse(n_states: int, scales: list[int]) -> None:
    found = [tuple(image.tolist()) for image in affine_maps(n_states).argmax(-1)]
    expected = {
        tuple((shift + scale * s) % n_states for s in range(n_states))
        for scale, shift in product(scales, range(n_states))
    }
    assert set(found) == expected
    assert len(found) == len(expected)
    assert found[0] == tuple(range(n_states))
    assert all(sorted(image) == list(range(n_states)) for image in found)
    if n_states <= 3:
        assert set(found) == set(permutations(range(n_states)))


@pytest.mark.parametrize("n_states", [2, 3, 4])
def test_the_inverse_gives_the_states_back(n_states: int) -> None:
    flow = model(n_states=n_states)
    states = flow.distribution()._one_hot(grid(n_states, 3))
    for layer in flow.layers:
        mapped = layer(states)
        assert len(mapped.argmax(-1).unique(dim=0)) == n_states**3
        assert layer.inverse(mapped).equal(states)


def test_a_state_is_moved_as_those_before_it_in_the_order_tell() -> None:
    (layer,) = model(n_states=3, n_layers=1).layers
    order = layer.network.in_order(0).order.tolist()
    states = model(n_states=3).distribution()._one_hot(grid(3, 3))
    moved = layer(states).argmax(-1).reshape(3, 3, 3, 3)
    first, second, last = (moved[..., j].movedim(order, (0, 1, 2)) for j in order)
    assert (first == first[:, :1, :1]).all()
    assert (second == second[:, :, :1]).all()
    assert not (last == last[:1, :1]).all()


@torch.no_grad()
@pytest.mark.parametrize("tail", ["negative-binomial", "geometric"])
def test_probabilities_of_all_counts_sum_to_1(tail: str) -> None:
    counts = model(2, tail=tail, n_states=4).distribution()
    log_p = counts.log_prob(grid(150, 2))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert log_p[:10].exp().std() > 0.001


@torch.no_grad()
def test_draws_have_these_probabilities() -> None:
    counts = model(2).distribution()
    torch.manual_seed(1)
    drawn = counts.sample((30_000,))
    few = grid(5, 2)
    seen = (drawn.unsqueeze(1) == few).all(-1).double().mean(0)
    torch.testing.assert_close(seen, counts.log_prob(few).exp(), atol=0.01, rtol=0)
    assert counts.log_prob(few).exp().max() < 0.9


@torch.no_grad()
def test_leaving_one_out_is_by_enumeration() -> None:
    counts = model(2).distribution()
    table = counts.log_prob(grid(150, 2)).reshape(150, 150)
    rows = torch.tensor([[0.0, 0], [2, 1], [7, 3], [1, 12]]).double()
    found = counts.leave_one_out(rows)
    for (i, j), (first, second) in zip(rows.int().tolist(), found.tolist(), strict=True):
        assert first == pytest.approx((table[i, j] - table[:, j].logsumexp(0)).item())
        assert second == pytest.approx((table[i, j] - table[i].logsumexp(0)).item())


def test_gradients_pass_straight_through_in_training() -> None:
    """Those of one layer are those of the mean over maps, each as likely as its softmax says."""
    flow = model(n_layers=1, tail=None, temperature=0.7)
    states = flow.distribution()._one_hot(grid(3, 3))
    (layer,), log_base = flow.layers, flow.logits.log_softmax(-1)
    exact = flow.distribution().log_prob(grid(3, 3))
    flow.train()
    trained = flow.distribution().log_prob(grid(3, 3))
    torch.testing.assert_close(trained, exact)
    shares = layer.network.in_order(0)(states.argmax(-1).double()).unflatten(-1, (6, 3)) / 0.7
    mapped = torch.einsum("bgk,akl,gl->bag", states, layer.maps, log_base.detach())
    mean = (shares.softmax(1) * mapped).sum((1, 2))
    weights = torch.randn(27, dtype=torch.float64)  # the sum over all states is a constant
    parameters = [layer.network.last.weight, layer.network.direct.weight]
    found = torch.autograd.grad((weights * trained).sum(), parameters)
    expected = torch.autograd.grad((weights * mean).sum(), parameters)
    torch.testing.assert_close(found, expected)
    assert all(gradient.abs().max() > 1e-3 for gradient in found)


def test_every_layer_has_gradients() -> None:
    flow = model(n_layers=3, temperature=1.0).train()
    flow.distribution().log_prob(torch.tensor([[0.0, 1, 2], [2, 0, 5]])).sum().backward()
    for name, parameter in flow.layers.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name


def test_it_learns_what_independent_states_cannot() -> None:
    """Whether the third count is there is the parity of the others, which no pair tells."""
    torch.manual_seed(0)
    flow = DiscreteFlow(3, n_states=2, tail=None, hidden=(30,), temperature=1.0)
    pairs = torch.cartesian_prod(torch.arange(2.0), torch.arange(2.0))
    rows = torch.cat([pairs, pairs.sum(-1, keepdim=True) % 2], dim=-1)
    optimiser = torch.optim.Adam(flow.parameters(), lr=2e-2)
    for _ in range(150):
        optimiser.zero_grad()
        (-flow.distribution().log_prob(rows).mean()).backward()
        optimiser.step()
    with torch.no_grad():
        found = flow.eval().distribution().log_prob(rows).mean().item()
    assert -found < 2 * math.log(2) + 0.05  # independent: 3 log 2


def test_it_has_no_marginals() -> None:
    with pytest.raises(NotInModelError, match="a DiscreteFlowCounts has no marginals"):
        model().distribution().log_marginal(torch.ones(1, 3), torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_features": 101}, "n_features is 101: a discrete flow is for 100 at most"),
        ({"n_states": 1}, "n_states is 1: it must be 2 or more"),
        ({"tail": "poisson"}, "tail is 'poisson': it must be one of"),
        ({"n_layers": 0}, "n_layers is 0: it must be 1 or more"),
        ({"hidden": ()}, r"hidden is \(\): give the width"),
        ({"temperature": 0.0}, "temperature is 0.0: it must be above 0"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiscreteFlow(**{"n_features": 3, **wrong})
