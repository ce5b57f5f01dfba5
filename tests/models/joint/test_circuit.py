"""Circuits: against enumeration, and against sums and products written out node by node."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.models.joint import Circuit
from vae4counts.models.joint.circuit import CircuitCounts
from vae4counts.models.joint.layers import Layers
from vae4counts.models.joint.regions import learnt_order
from vae4counts.models.likelihoods import Categorical, Poisson, PoissonCounts

double = partial(torch.tensor, dtype=torch.float64)


def circuit(n_features: int = 3, n_trees: int = 2, **given: Any) -> Circuit:
    torch.manual_seed(0)
    model = Circuit(n_features, Categorical(3), n_sums=4, n_trees=n_trees, **given)
    return model.double()


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


# What spflow 1.1.0 says of the circuit below: the log-probabilities of these counts, and of the
# first and third alone.
COUNTS = torch.tensor([[0.0, 0, 0, 0], [1, 0, 3, 0], [0, 2, 0, 5], [7, 1, 1, 0]])
OF_ALL = [-5.109304910321874, -3.9878442640778298, -13.276789384860713, -11.686612519258098]
OF_TWO = [-4.000680530482778, -2.931477099041629, -4.000680530482778, -9.452830699037866]


def test_it_is_the_circuit_of_another_package() -> None:
    """Poisson leaves, two pairs of features, two sums a region; computed once by spflow."""
    rates = double([[0.3, 1.0, 2.5, 0.1], [1.7, 0.2, 4.0, 0.9]])
    weights = double([[[0.9, 0.3], [0.1, 0.7]], [[0.4, 0.25], [0.6, 0.75]]])
    root = double([[0.35, 0.65]])
    layers = Layers([weights], root.log())
    counts = CircuitCounts(PoissonCounts(rates), layers, torch.arange(4).unsqueeze(0))
    assert counts.log_prob(COUNTS).tolist() == pytest.approx(OF_ALL, rel=1e-12)
    observed = torch.tensor([True, False, True, False])
    assert counts.log_marginal(COUNTS, observed).tolist() == pytest.approx(OF_TWO, rel=1e-12)


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


def test_the_tree_of_features_is_that_of_the_regions() -> None:
    model = circuit(5, n_trees=1)
    model.order[0] = torch.tensor([3, 0, 5, 6, 1, 4, 2, 7])
    tree = model.feature_tree()
    # pairs (3, 0), (1, 4), (2), then what they are parts of; the pair (5, 6) is empty
    assert tree.parents.tolist() == [3, 4, 4, 5, 5, -1]
    assert tree.nodes.tolist() == [0, 1, 2, 0, 1]
    top = model.root.softmax(-1)
    joint = (model.weights[1].softmax(1)[1] * top).detach().numpy()  # of the second half
    expected = stats.entropy(joint.ravel(), np.outer(joint.sum(1), joint.sum(0)).ravel())
    assert tree.information[4] == pytest.approx(expected)
    assert tree.information[-1] == 0


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
