"""What every joint model answers, against the probabilities of all states."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pyro
import pytest
import torch
from torch import Tensor

from tests.models.joint.conftest import MODELS, Enumerated
from vae4counts.models import NotInModelError
from vae4counts.models.joint import JOINT_MODELS, JointModel

SEEN = torch.tensor([True, False, True])
ALL, NONE = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)


def test_every_registered_model_is_tested() -> None:
    assert set(JOINT_MODELS) == {name.partition(",")[0] for name in MODELS}


def test_probabilities_sum_to_one(enumerated: Enumerated) -> None:
    assert enumerated.table.sum().item() == pytest.approx(1, abs=1e-9)


def test_marginals(tractable: Enumerated) -> None:
    states, found = tractable.states, tractable.distribution.log_marginal
    log_table = tractable.table.log().flatten()
    torch.testing.assert_close(found(states, ALL), log_table)
    torch.testing.assert_close(found(states, NONE), torch.zeros_like(log_table))
    of_two = tractable.table.sum(1, keepdim=True).expand(3, 3, 3).log().flatten()
    torch.testing.assert_close(found(states, SEEN), of_two)
    torch.testing.assert_close(found(states, SEEN.expand(27, -1)), of_two)
    beside = tractable.table[:, 1:].sum(1, keepdim=True).expand(3, 3, 3).log().flatten()
    torch.testing.assert_close(found(states, SEEN, ~SEEN), beside)


def test_each_count_given_all_others(tractable: Enumerated) -> None:
    table = tractable.table
    expected = [(table / table.sum(d, keepdim=True)).log().flatten() for d in range(3)]
    found = tractable.distribution.leave_one_out(tractable.states)
    torch.testing.assert_close(found, torch.stack(expected, dim=-1))


def test_expectations_given_some_counts(tractable: Enumerated) -> None:
    given = tractable.table / tractable.table.sum(1, keepdim=True)
    counts = torch.arange(3.0, dtype=torch.float64)[:, None]
    mean, present = tractable.distribution.expected_given(tractable.states, SEEN)
    middle = mean.reshape(3, 3, 3, 3)[:, 0, :, 1], present.reshape(3, 3, 3, 3)[:, 0, :, 1]
    torch.testing.assert_close(middle[0], (given * counts).sum(1))
    torch.testing.assert_close(middle[1], given[:, 1:].sum(1))
    torch.testing.assert_close(
        tractable.distribution.mean, _means(tractable.table), check_dtype=False
    )


def test_draws(enumerated: Enumerated) -> None:
    torch.manual_seed(0)
    drawn = enumerated.distribution.sample(torch.Size([40_000]))
    torch.testing.assert_close(_frequencies(drawn), enumerated.table, atol=0.01, rtol=0)


def test_draws_given_some_counts(tractable: Enumerated) -> None:
    torch.manual_seed(0)
    row = torch.tensor([[1.0, 0.0, 2.0]], dtype=torch.float64)
    drawn = tractable.distribution.sample_given(row, SEEN, torch.Size([20_000]))
    assert drawn.shape == (20_000, 1, 3)
    assert (drawn[..., [0, 2]] == row[:, [0, 2]]).all()
    expected = tractable.table[1, :, 2] / tractable.table[1, :, 2].sum()
    shares = torch.bincount(drawn[:, 0, 1].long(), minlength=3) / len(drawn)
    torch.testing.assert_close(shares.double(), expected, atol=0.015, rtol=0)


def test_sparse_counts_and_any_shape(enumerated: Enumerated) -> None:
    states, log_prob = enumerated.states, enumerated.distribution.log_prob
    log_table = enumerated.table.log().flatten()
    torch.testing.assert_close(log_prob(states.to_sparse_csr()), log_table)
    torch.testing.assert_close(log_prob(states.reshape(3, 9, 3)), log_table.reshape(3, 9))
    expanded = enumerated.distribution.expand(torch.Size([2, 27]))
    torch.testing.assert_close(expanded.log_prob(states.to_sparse_csr())[1], log_table)
    assert expanded.sample(torch.Size([5])).shape == (5, 2, 27, 3)


def test_answers_do_not_depend_on_earlier_questions(enumerated: Enumerated) -> None:
    counts, states = enumerated.distribution, enumerated.states
    before = counts.log_prob(states)
    for ask in (counts.leave_one_out, partial(counts.expected_given, observed=SEEN)):
        with suppress(NotInModelError):
            ask(states)
    counts.sample()
    assert torch.equal(counts.log_prob(states), before)
    order = torch.randperm(27)
    torch.testing.assert_close(counts.log_prob(states[order]), before[order])


def test_gradients(model: JointModel) -> None:
    states = torch.tensor([[0.0, 1.0, 2.0], [2.0, 0.0, 0.0]], dtype=torch.float64)
    trained = [each for each in model.parameters() if each.requires_grad]

    def log_prob(*_: Tensor) -> Tensor:
        return model.distribution().log_prob(states)

    assert not trained or torch.autograd.gradcheck(log_prob, trained)


def test_counts_in_a_plate(model: JointModel) -> None:
    with pyro.plate("rows", 4):
        assert pyro.sample("counts", model.distribution()).shape == (4, 3)


def _means(table: Tensor) -> Tensor:
    counts = torch.arange(3.0, dtype=table.dtype)
    return torch.stack(
        [(table.sum([i for i in range(3) if i != d]) * counts).sum() for d in range(3)]
    )


def _frequencies(drawn: Tensor) -> Tensor:
    place = (drawn @ torch.tensor([9.0, 3.0, 1.0], dtype=drawn.dtype)).long()
    return (torch.bincount(place, minlength=27) / len(drawn)).reshape(3, 3, 3).double()
