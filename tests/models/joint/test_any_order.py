"""Any-order models: probabilities by enumeration, and what they say of some of the counts."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from vae4counts.models import NotInModelError
from vae4counts.models.joint import AnyOrder
from vae4counts.models.joint.any_order import AnyOrderCounts
from vae4counts.models.joint.log_probs import log_probs
from vae4counts.models.likelihoods import Categorical, Likelihood, NegativeBinomial

STATES = torch.tensor(list(product(range(3), repeat=3)), dtype=torch.float64)


def model(n_features: int = 3, likelihood: Likelihood | None = None, **given: Any) -> AnyOrder:
    torch.manual_seed(0)
    made = AnyOrder(n_features, likelihood or Categorical(3), (10, 8), **given)
    torch.nn.init.normal_(made.output.weight)
    return made.double().eval()


@pytest.mark.parametrize("n_steps", [3, 2])
def test_probabilities_of_all_states_sum_to_1(n_steps: int) -> None:
    log_p = model(n_steps=n_steps).distribution().log_prob(STATES)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert log_p.exp().std() > 0.005


def test_it_is_the_mean_over_orders_of_products_of_conditionals() -> None:
    made = model()
    row = torch.tensor([[2.0, 0, 1]], dtype=torch.float64)
    total = 0.0
    for positions in made.positions:
        known = torch.zeros(1, 3, dtype=torch.bool)
        product_ = 1.0
        for feature in positions.argsort().tolist():
            inputs = torch.cat([torch.log1p(row) * known, known.double()], dim=-1)
            logits = made.output(made.network(inputs)).view(3, 3)[:, feature]
            product_ *= logits.softmax(0)[int(row[0, feature])].item()
            known[0, feature] = True
        total += product_ / len(made.positions)
    for counts in (row, row.to_sparse_csr(), row.long()):
        found = made.distribution().log_prob(counts).item()
        assert found == pytest.approx(math.log(total), rel=1e-9)


def test_marginals_sum_to_1_and_end_at_all_and_nothing() -> None:
    counts = model().distribution()
    observed = torch.tensor([True, False, True])
    pairs = STATES[STATES[:, 1] == 0]
    total = counts.log_marginal(pairs, observed).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-12)
    everything = counts.log_marginal(STATES, torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(everything, counts.log_prob(STATES))
    nothing = counts.log_marginal(STATES, torch.zeros(3, dtype=torch.bool))
    torch.testing.assert_close(nothing, torch.zeros_like(nothing))


@torch.no_grad()
def test_draws_have_these_probabilities() -> None:
    """Draws of everything, and of the rest given a feature, which comes first in every order."""
    made = model()
    counts = made.distribution()
    torch.manual_seed(1)
    n = 20_000
    assert chi_squared(counts.sample((n,)), counts.log_prob(STATES).exp()) < 60  # 1 in 6,000
    values, observed = torch.tensor([[0.0, 2, 0]]).double(), torch.tensor([False, True, False])
    drawn = counts.sample_given(values, observed, (n,)).squeeze(1)
    assert (drawn[:, 1] == 2).all()
    given = STATES[STATES[:, 1] == 2]
    p = torch.zeros(27, dtype=torch.float64)
    p[STATES[:, 1] == 2] = rest_given_middle(made, given)
    assert chi_squared(drawn, p) < 32  # 8 degrees of freedom: 1 in 10,000


def rest_given_middle(made: AnyOrder, given: Tensor) -> Tensor:
    """The probability of the first and the last count given the middle one, mean over orders."""
    middle = torch.tensor([False, True, False]).expand_as(given)
    total = torch.zeros(len(given), dtype=torch.float64)
    for positions in made.positions:
        first, second = sorted((0, 2), key=lambda j: int(positions[j]))
        after = middle.clone()
        after[:, first] = True
        log_p = log_probs(made.conditionals(given, middle), given)[:, first]
        log_p = log_p + log_probs(made.conditionals(given, after), given)[:, second]
        total += log_p.exp() / len(made.positions)
    return total


def chi_squared(drawn: Tensor, p: Tensor) -> float:
    places = (drawn @ torch.tensor([9.0, 3, 1], dtype=drawn.dtype)).long()
    seen, expected = torch.bincount(places, minlength=27), p * len(drawn)
    assert seen[p == 0].sum() == 0
    kept = p > 0
    return (((seen - expected) ** 2)[kept] / expected[kept]).sum().item()


@torch.no_grad()
def test_what_is_expected_is_what_the_network_says_of_what_is_known() -> None:
    counts = model().distribution()
    expected, here = counts.expected_given(STATES, torch.tensor([True, True, False]))
    log_p = counts.leave_one_out(STATES)[:, 2].view(-1, 3)  # of the last count's three classes
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(9).double())
    classes = torch.arange(3).double()
    torch.testing.assert_close(expected[::3, 2], (log_p.exp() * classes).sum(-1))
    torch.testing.assert_close(here[::3, 2], 1 - log_p[:, 0].exp())
    nothing, _ = counts.expected_given(STATES[:1], torch.zeros(3, dtype=torch.bool))
    torch.testing.assert_close(counts.mean, nothing[0])


def test_what_is_only_known_to_be_there_is_refused() -> None:
    known = torch.tensor([True, False, False])
    with pytest.raises(NotInModelError, match="only known to be 1 or more"):
        model().distribution().log_marginal(STATES, known, ~known)


@pytest.mark.parametrize("n_steps", [3, 2])
def test_training_estimates_the_mean_over_all_orders(n_steps: int) -> None:
    made = model(n_steps=n_steps, n_orders=1, dropout=0.0)
    row = torch.tensor([[2.0, 0, 1]], dtype=torch.float64)
    exact = []
    with torch.no_grad():
        for order in torch.tensor(
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
        ):
            made.positions[0] = order
            exact.append(made.distribution().log_prob(row).item())
        made.train()
        drawn = made.distribution().log_prob(row.expand(30_000, -1))
    assert stats.ttest_1samp(drawn, sum(exact) / 6).pvalue > 1e-3
    assert drawn.std() > 0.1


def test_gradients_are_those_of_finite_differences() -> None:
    made = model(likelihood=NegativeBinomial(), dropout=0.0)
    counts = torch.tensor([[0.0, 3, 1], [2, 0, 40]]).double()
    names = [name for name, _ in made.named_parameters()]

    def log_prob(*values: Tensor) -> Tensor:
        parameters = {f"made.{name}": each for name, each in zip(names, values, strict=True)}
        return torch.func.functional_call(_Scored(made), parameters, (counts,))

    parameters = tuple(p.detach().clone().requires_grad_() for p in made.parameters())
    assert torch.autograd.gradcheck(log_prob, parameters)


class _Scored(torch.nn.Module):
    def __init__(self, made: AnyOrder) -> None:
        super().__init__()
        self.made = made

    def forward(self, counts: Tensor) -> Tensor:
        return AnyOrderCounts(self.made).log_prob(counts)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_orders": 0}, "n_orders is 0: it must be 1 or more"),
        ({"n_steps": 0}, "n_steps is 0: it must be 1 or more"),
        ({"hidden": (4, 0)}, r"hidden is \(4, 0\): give the width"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnyOrder(3, **wrong)
