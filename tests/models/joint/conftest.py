"""Every registered joint model, of three features with three states each, and all its states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vae4counts.models.joint import (
    AnyOrder,
    Autoregressive,
    ChowLiuTree,
    Circuit,
    DiscreteFlow,
    Independent,
    JointDistribution,
    JointModel,
    LatentTree,
)
from vae4counts.models.likelihoods import Categorical

# a name of the registry, and what else there is to say
MODELS: dict[str, Callable[[], JointModel]] = {
    "independent": lambda: Independent(3, Categorical(3)),
    "chow-liu": lambda: ChowLiuTree(3, n_states=3, tail=None),
    "latent-tree": lambda: LatentTree(3, 2, Categorical(3)),
    "latent-tree, binary": lambda: LatentTree(3, 2, Categorical(3), structure="binary"),
    "latent-tree, greedy": lambda: LatentTree(3, 2, Categorical(3), structure="greedy"),
    "circuit": lambda: Circuit(3, Categorical(3), n_sums=2),
    "autoregressive": lambda: Autoregressive(3, Categorical(3), (10,), n_orders=2),
    "any-order": lambda: AnyOrder(3, Categorical(3), (10,)),
    "discrete-flow": lambda: DiscreteFlow(3, 3, tail=None, hidden=(10,), n_layers=2),
}
# Those whose conditionals do not follow from their probabilities: they have tests of their own.
OTHERS = {"autoregressive", "any-order", "discrete-flow"}


@dataclass
class Enumerated:
    """A joint distribution of three features, and the probabilities of its 27 states.

    Attributes:
        distribution: The distribution.
        states: The states, shape ``(27, 3)``.
        table: Their probabilities, shape ``(3, 3, 3)``.
    """

    distribution: JointDistribution
    states: Tensor
    table: Tensor


def random_model(name: str) -> JointModel:
    """A model whose parameters are drawn at random, in float64."""
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn_like(parameter))
    with torch.no_grad():  # tables that no gradient finds are logarithms
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.copy_(parameter.log_softmax(-1))
    return model


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> JointModel:
    return random_model(request.param)


@pytest.fixture
def enumerated(model: JointModel) -> Enumerated:
    states = torch.cartesian_prod(*[torch.arange(3.0, dtype=torch.float64)] * 3)
    with torch.no_grad():
        distribution = model.distribution()
        table = distribution.log_prob(states).exp().reshape(3, 3, 3)
    return Enumerated(distribution, states, table)


@pytest.fixture
def tractable(enumerated: Enumerated, request: pytest.FixtureRequest) -> Enumerated:
    """Of the models whose marginals and conditionals follow from their probabilities."""
    if request.node.callspec.params["model"] in OTHERS:
        pytest.skip("its marginals or conditionals are not in closed form")
    return enumerated
