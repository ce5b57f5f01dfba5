"""Some counts of a multinomial, and the others given them, against all vectors of counts."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from vae4counts.models import NotInModelError
from vae4counts.models.likelihoods import MultinomialCounts

TOTALS = (5, 3)
PROBABILITIES = torch.tensor([[4, 1, 3, 2], [0.5, 0.5, 6, 3]], dtype=torch.float64) / 10
OBSERVED = torch.tensor([True, False, False, False])
PRESENT = torch.tensor([False, True, False, True])


@pytest.fixture
def counts() -> MultinomialCounts:
    return MultinomialCounts(PROBABILITIES, torch.tensor(TOTALS).double().unsqueeze(-1))


def every(row: int) -> tuple[Tensor, Tensor]:
    """All vectors of counts with the total of a row, and their probabilities."""
    total = TOTALS[row]
    all_of_them = product(range(total + 1), repeat=4)
    vectors = torch.tensor([x for x in all_of_them if sum(x) == total]).double()
    row_counts = MultinomialCounts(PROBABILITIES[row], torch.tensor([float(total)]).double())
    return vectors, row_counts.log_prob(vectors).exp()


def test_some_counts_and_what_is_then_expected(counts: MultinomialCounts) -> None:
    values = torch.tensor([[1.0, 0, 0, 0]])
    log_marginal = counts.log_marginal(values, OBSERVED, PRESENT)
    expected, presence = counts.expected_given(values, OBSERVED, PRESENT)
    for row in range(2):
        x, p = every(row)
        p = p * (x[:, 0] == 1) * (x[:, 1] > 0) * (x[:, 3] > 0)
        torch.testing.assert_close(log_marginal[row].exp(), p.sum())
        p = p / p.sum()
        torch.testing.assert_close(expected[row, 2], p @ x[:, 2])
        torch.testing.assert_close(presence[row, 2], p @ (x[:, 2] > 0).double())


def test_each_on_its_own_and_two_at_a_time(counts: MultinomialCounts) -> None:
    columns = torch.tensor([2, 0])
    alone = counts.log_prob_at(columns, torch.tensor([3.0, 0.0]))
    together = torch.zeros(2, 2).double()
    for row, weight in enumerate((0.3, 0.7)):
        x, p = every(row)
        torch.testing.assert_close(alone[row, 0].exp(), p @ (x[:, 2] == 3).double())
        torch.testing.assert_close(alone[row, 1].exp(), p @ (x[:, 0] == 0).double())
        here = (x[:, columns] > 0).double()
        together += weight * here.T @ (p.unsqueeze(-1) * here)
    found = counts.presence_together(columns, torch.tensor([0.3, 0.7]).double())
    torch.testing.assert_close(found.triu(1), together.triu(1))


def test_all_counts_and_none(counts: MultinomialCounts) -> None:
    x = torch.tensor([[2.0, 1, 2, 0], [0, 0, 2, 1]]).double()
    everything = torch.ones(4, dtype=torch.bool)
    torch.testing.assert_close(counts.log_marginal(x, everything), counts.log_prob(x))
    assert counts.log_marginal(x + 1, everything).tolist() == [-torch.inf] * 2
    torch.testing.assert_close(counts.log_marginal(x, ~everything), torch.zeros(2).double())
    torch.testing.assert_close(counts.expected_given(x, ~everything)[0], counts.mean)


def test_draws_of_the_others_have_the_total(counts: MultinomialCounts) -> None:
    x = torch.tensor([[1.0, 0, 0, 0], [2.0, 0, 0, 0]]).double()
    drawn = counts.sample_given(x, OBSERVED, torch.Size([2000]))
    assert (drawn.sum(-1) == torch.tensor(TOTALS)).all()
    assert (drawn[..., 0] == x[:, 0]).all()
    wanted = counts.expected_given(x, OBSERVED)[0]
    torch.testing.assert_close(drawn.mean(0)[:, 1:], wanted[:, 1:], atol=0.1, rtol=0)


def test_what_it_cannot_say(counts: MultinomialCounts) -> None:
    with pytest.raises(NotInModelError, match="by which the others determine each"):
        counts.leave_one_out(torch.ones(2, 4))
    many = MultinomialCounts(torch.full((1, 9), 1 / 9), torch.full((1, 1), 20.0))
    with pytest.raises(NotInModelError, match="at most 6 can be"):
        many.log_marginal(
            torch.zeros(1, 9), torch.zeros(9, dtype=torch.bool), torch.ones(9, dtype=torch.bool)
        )
