"""Autoregressive models: the Jacobian of their networks, and probabilities by enumeration."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch

from vae4counts.models import NotInModelError
from vae4counts.models.joint import Autoregressive
from vae4counts.models.joint.autoregressive import AutoregressiveCounts
from vae4counts.models.joint.masked_network import MaskedNetwork
from vae4counts.models.likelihoods import Categorical, NegativeBinomial

STATES = torch.tensor(list(product(range(3), repeat=3)), dtype=torch.float64)


def random(module: Any) -> Any:
    """Give a module random weights, so that nothing is zero by chance, and leave training."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return module.double().eval()


def model(n_orders: int = 3, **given: Any) -> Autoregressive:
    torch.manual_seed(0)
    given = {"hidden": (30,)} | given
    return random(Autoregressive(3, Categorical(3), n_orders=n_orders, **given))


@torch.no_grad()
def distribution() -> AutoregressiveCounts:
    return model().distribution()


@pytest.mark.parametrize("hidden", [(40,), (30, 20), (20, 25, 30)])
def test_an_output_sees_only_what_comes_before_it(hidden: tuple[int, ...]) -> None:
    """The Jacobian is strictly triangular in the order, and full below its diagonal."""
    network = random(MaskedNetwork(5, 2, hidden, 3, dropout=0.5))
    for number in range(3):
        ordered = network.in_order(number)
        inputs = torch.rand(1, 5, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(ordered, inputs).view(2, 5, 5)
        seen = jacobian[:, ordered.order][..., ordered.order] != 0
        assert seen.equal(torch.ones(5, 5).tril(-1).bool().expand(2, -1, -1))


def test_hidden_units_pass_on_all_that_they_may() -> None:
    """Without the direct weights the Jacobian is as full: the masks leave every path."""
    network = random(MaskedNetwork(5, 1, (40, 40), 2, dropout=0.0))
    torch.nn.init.zeros_(network.direct.weight)
    ordered = network.in_order(1)
    inputs = torch.rand(1, 5, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(ordered, inputs).view(5, 5)
    seen = jacobian[ordered.order][:, ordered.order] != 0
    assert seen.equal(torch.ones(5, 5).tril(-1).bool())


def test_probabilities_of_all_states_sum_to_1() -> None:
    mixture = distribution()
    for networks in (mixture.networks, mixture.networks[:1]):
        log_p = AutoregressiveCounts(networks, mixture.likelihood).log_prob(STATES)
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
        assert log_p.exp().std() > 0.005


def test_it_is_the_mean_over_orders_of_products_of_conditionals() -> None:
    mixture = distribution()
    row = torch.tensor([[2.0, 0, 1]], dtype=torch.float64)
    total = 0.0
    for network in mixture.networks:
        product_ = 1.0
        known = torch.zeros(1, 3, dtype=torch.float64)
        for feature in network.order.tolist():
            logits = network(torch.log1p(known), feature)[0]
            product_ *= logits.softmax(0)[int(row[0, feature])].item()
            known[0, feature] = row[0, feature]
        total += product_ / 3
    for counts in (row, row.to_sparse_csr()):
        assert mixture.log_prob(counts).item() == pytest.approx(math.log(total), rel=1e-9)


def test_leaving_one_out_is_by_enumeration() -> None:
    mixture = distribution()
    log_p = mixture.log_prob(STATES)
    found = mixture.leave_one_out(STATES)
    for feature in range(3):
        others = [i for i in range(3) if i != feature]
        same = (STATES[:, None, others] == STATES[None, :, others]).all(-1)
        rest = torch.where(same, log_p, -torch.inf).logsumexp(-1)
        torch.testing.assert_close(found[:, feature], log_p - rest)


def test_a_likelihood_of_infinitely_many_classes_has_no_leave_one_out() -> None:
    counts = random(Autoregressive(3, NegativeBinomial(), (4,))).distribution()
    with pytest.raises(NotInModelError, match="few classes"):
        counts.leave_one_out(torch.ones(2, 3))


def test_training_takes_one_order_and_evaluation_all() -> None:
    made = model()
    assert len(made.distribution().networks) == 3
    made.train()
    torch.manual_seed(0)
    orders = {tuple(made.distribution().networks[0].order.tolist()) for _ in range(40)}
    assert len(made.distribution().networks) == 1
    assert len(orders) == len({tuple(row.tolist()) for row in made.network.positions})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_orders": 0}, "n_orders is 0: it must be 1 or more"),
        ({"hidden": ()}, r"hidden is \(\): give the width"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Autoregressive(3, **wrong)
