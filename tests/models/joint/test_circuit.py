"""Circuits: against enumeration, and against sums and products written out node by node."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.models.joint import Circuit
from vae4counts.models.joint.circuit import CircuitCounts
from vae4counts.models.joint.regions import learnt_order
from vae4counts.models.likelihoods import Categorical, Poisson

STATES = torch.tensor(list(product(range(3), repeat=3)), dtype=torch.float64)


def circuit(n_features: int = 3, n_trees: int = 2, **given: Any) -> Circuit:
    torch.manual_seed(0)
    model = Circuit(n_features, Categorical(3), n_sums=4, n_trees=n_trees, **given)
    return model.double()


@torch.no_grad()
def distribution(n_features: int = 3) -> CircuitCounts:
    return circuit(n_features).distribution()


@torch.no_grad()
def by_hand(model: Circuit, row: Tensor) -> float:
    """The probability of a row of classes, node by node in plain numbers."""
    classes = model.outputs.unflatten(-1, (3, -1)).softmax(1)
    total = 0.0
    for tree, order in enumerate(model.order.tolist()):

        def leaf(feature: int, k: int, tree: int = tree) -> float:
            if feature >= model.n_features:
                return 1.0
            state = tree * model.n_sums + k
            return classes[state, int(row[feature]), feature].item()

        def region(level: int, node: int, k: int, tree: int = tree, order: Any = order) -> float:
            if level == 0:
                return leaf(order[2 * node], k) * leaf(order[2 * node + 1], k)
            weights = model.weights[level - 1].softmax(1)
            per_tree = len(weights) // model.n_trees
            return math.prod(
                sum(
                    weights[tree * per_tree + part, j, k].item() * region(level - 1, part, j)
                    for j in range(model.n_sums)
                )
                for part in (2 * node, 2 * node + 1)
            )

        root = model.root.flatten().softmax(0).view_as(model.root)[tree]
        total += sum(root[k].item() * region(len(model.weights), 0, k) for k in range(4))
    return total


@pytest.mark.parametrize("n_features", [1, 2, 3, 6])
def test_its_probability_is_that_of_its_nodes(n_features: int) -> None:
    model = circuit(n_features)
    rows = torch.randint(3, (5, n_features)).double()
    expected = [math.log(by_hand(model, row)) for row in rows]
    for counts in (rows, rows.to_sparse_csr()):
        found = model.distribution().log_prob(counts)
        torch.testing.assert_close(found.tolist(), expected, rtol=1e-9, atol=0)


def test_probabilities_of_all_states_sum_to_1() -> None:
    log_p = distribution().log_prob(STATES)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert log_p.exp().std() > 0.005  # they are not all the same


def test_draws_have_these_probabilities() -> None:
    """Draws of everything, and of the rest given a feature, by a chi-squared test."""
    model = distribution()
    p = model.log_prob(STATES).exp()
    torch.manual_seed(1)
    n = 20_000
    assert chi_squared(model.sample((n,)), p) < 60  # 26 degrees of freedom: 1 in 6,000
    values, observed = torch.tensor([[0.0, 2, 0]]), torch.tensor([False, True, False])
    drawn = model.sample_given(values.double(), observed, (n,)).squeeze(1)
    given = p * (STATES[:, 1] == 2)
    assert chi_squared(drawn, given / given.sum()) < 32  # 8 degrees of freedom: 1 in 10,000


def chi_squared(drawn: Tensor, p: Tensor) -> float:
    places = (drawn @ torch.tensor([9.0, 3, 1], dtype=drawn.dtype)).long()
    seen, expected = torch.bincount(places, minlength=27), p * len(drawn)
    assert seen[p == 0].sum() == 0
    kept = p > 0
    return (((seen - expected) ** 2)[kept] / expected[kept]).sum().item()


def test_gradients_are_those_of_finite_differences() -> None:
    model = circuit(5)
    counts = torch.randint(3, (4, 5)).double()
    names = [name for name, _ in model.named_parameters()]

    def log_prob(*values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(_Scored(model), rename(parameters), (counts,))

    parameters = tuple(p.detach().clone().requires_grad_() for p in model.parameters())
    assert torch.autograd.gradcheck(log_prob, parameters)


class _Scored(torch.nn.Module):
    def __init__(self, model: Circuit) -> None:
        super().__init__()
        self.model = model

    def forward(self, counts: Tensor) -> Tensor:
        return self.model.distribution().log_prob(counts)


def rename(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": value for name, value in parameters.items()}


def test_features_that_go_together_share_a_region() -> None:
    torch.manual_seed(0)
    groups = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    weights = (groups[:, None] == groups).float().fill_diagonal_(0)
    order = learnt_order(weights)
    assert sorted(order.tolist()) == list(range(8))
    pairs = groups[order].view(-1, 2)
    assert pairs[:, 0].equal(pairs[:, 1])


def test_regions_are_learnt_from_counts() -> None:
    torch.manual_seed(0)
    rates = torch.rand(500, 3) * 4
    counts = torch.poisson(rates[:, [0, 1, 2, 0, 1, 2]])
    batch = Batch.of_counts(counts.to_sparse_csr(), counts.sum(1), torch.arange(500), 500)
    model = Circuit(6, Poisson(), n_sums=2, n_trees=1)
    model.learn([batch])
    order = model.order[0].tolist()
    pairs = {frozenset(order[i : i + 2]) for i in range(0, 8, 2)}
    assert pairs >= {frozenset({0, 3}), frozenset({1, 4}), frozenset({2, 5})}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_sums": 0}, "n_sums is 0: it must be 1 or more"),
        ({"n_trees": -1}, "n_trees is -1: it must be 1 or more"),
        ({"regions": "chow-liu"}, "regions is 'chow-liu': it must be one of learnt, random"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Circuit(3, **wrong)
