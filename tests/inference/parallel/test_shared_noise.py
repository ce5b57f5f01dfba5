"""Parts of a batch, each with its own rows of the whole noise, add up to the whole batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import nn

from vae4counts.data import Batch, Share
from vae4counts.data.counts.batch import Table
from vae4counts.guides import guide_for
from vae4counts.inference.parallel.shared_noise import whole_noise
from vae4counts.inference.posterior.draws import draw
from vae4counts.models import Modality, MultiVAE, observations
from vae4counts.models.joint import AnyOrder
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.networks import BatchNorm
from vae4counts.models.priors import GaussianMixture

pytestmark = pytest.mark.slow

Pair = tuple[Any, Any]
# the batch of 12 has parts of 2 and of 3 rows
PROCESSES = 5


def part_of(batch: Batch, rank: int, number: int) -> Batch:
    part = Share(rank, number).part(len(batch))
    rows = part.rows
    table = batch.tables["counts"]
    values = table.values.to_dense()[rows]
    own = Table(
        values.to_sparse_csr() if table.values.layout == torch.sparse_csr else values,
        None if table.library is None else table.library[rows],
    )
    covariates = {name: column[rows] for name, column in batch.covariates.items()}
    index = batch.index[rows]
    return replace(batch, tables={"counts": own}, index=index, covariates=covariates, part=part)


@given(size=st.integers(1, 40), number=st.integers(1, 7))
def test_parts_are_even_and_follow_each_other(size: int, number: int) -> None:
    parts = [Share(rank, number).part(size) for rank in range(number)]
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(size))
    assert max(part.n_rows for part in parts) - min(part.n_rows for part in parts) <= 1
    for part in parts:
        assert len(range(size)[part.rows]) == max(1, part.n_rows)  # there is a row to work on


def test_parts_add_up_to_the_objective_and_gradient_of_the_whole(pair: Pair, batch: Batch) -> None:
    """For all pairs of the registries, with the dropout that they have.

    The moments of a batch take processes that speak to each other: see test_processes.py.
    """
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(*pair).train()
    if not any(parameter.requires_grad for parameter in elbo.parameters()):
        pytest.skip("nothing is trained by steps")
    if isinstance(pair[0], AnyOrder):
        pytest.skip("each row draws what is known of it: other processes draw other numbers")
    for module in elbo.modules():
        module.train(not isinstance(module, BatchNorm))

    def loss_and_gradient(own: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        torch.manual_seed(7)
        elbo.zero_grad()
        with whole_noise(own, elbo):
            loss = elbo(own) * (own.whole.n_rows / own.whole.size)
        loss.backward()
        named = {name: p.grad.clone() for name, p in elbo.named_parameters() if p.grad is not None}
        return loss.detach(), named

    whole, gradient = loss_and_gradient(batch)
    state = torch.get_rng_state()
    parts = []
    for rank in range(PROCESSES):
        parts.append(loss_and_gradient(part_of(batch, rank, PROCESSES)))
        assert torch.get_rng_state().equal(state)  # as many numbers drawn as by one process
    torch.testing.assert_close(sum(loss for loss, _ in parts), whole, rtol=1e-5, atol=1e-4)
    for name, expected in gradient.items():
        added = sum(own[name] for _, own in parts)
        scale = expected.abs().max().item()
        torch.testing.assert_close(added, expected, rtol=1e-4, atol=1e-5 * (1 + scale), msg=name)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_parts_of_a_mosaic_draw_the_noise_of_the_whole(likelihood: str) -> None:
    """Of six observations one has the second table: most parts have no row of it."""
    counts = torch.arange(6.0 * 3).view(6, 3)
    totals = counts.sum(1)
    of_counts = LIKELIHOODS[likelihood].support.counts
    rare = torch.tensor([[0.0, 1.0]])
    index, rows = torch.arange(6), torch.tensor([4])

    def cut(rank: int, number: int) -> Batch:
        part = Share(rank, number).part(6)
        own = rows[(rows >= part.start) & (rows < part.stop)]
        chosen = slice(0, len(own))
        tables = {
            "often": Table(counts[part.rows].to_sparse_csr(), totals[part.rows]),
            "rarely": Table(
                rare[chosen].to_sparse_csr() if of_counts else rare[chosen],
                rare[chosen].sum(1) if of_counts else None,
                own - part.rows.start,
                part.among(index == 4),
            ),
        }
        return Batch(tables, index[part.rows], 6, {}, part)

    model = MultiVAE(
        {"often": Modality(3), "rarely": Modality(2, LIKELIHOODS[likelihood]())},
        GaussianMixture(2, 3),
    )
    elbo = TraceEnum_ELBO(max_plate_nesting=1)(model, guide_for(model)).train()
    for module in elbo.modules():
        module.train(not isinstance(module, BatchNorm))

    def gradient(own: Batch) -> dict[str, torch.Tensor]:
        torch.manual_seed(7)
        elbo.zero_grad()
        with whole_noise(own, elbo):
            (elbo(own) * (own.whole.n_rows / own.whole.size)).backward()
        return {name: p.grad.clone() for name, p in elbo.named_parameters() if p.grad is not None}

    whole = gradient(cut(0, 1))
    state = torch.get_rng_state()
    parts = []
    for rank in range(4):
        parts.append(gradient(cut(rank, 4)))
        assert torch.get_rng_state().equal(state)
    assert any("rarely" in name and value.any() for name, value in whole.items())
    for name, expected in whole.items():
        added = sum(own[name] for own in parts)
        torch.testing.assert_close(added, expected, rtol=1e-4, atol=1e-4, msg=name)


def test_draws_for_parts_are_those_for_the_whole(pair: Pair, batch: Batch) -> None:
    model, guide = (half.eval() for half in pair)

    def weights(own: Batch) -> torch.Tensor:
        torch.manual_seed(7)
        with whole_noise(own):
            return draw(model, guide, own, 3).log_weights[:, : own.whole.n_rows]

    parts = [weights(part_of(batch, rank, PROCESSES)) for rank in range(PROCESSES)]
    torch.testing.assert_close(torch.cat(parts, -1), weights(batch), rtol=1e-5, atol=1e-4)


def test_a_process_without_a_row_adds_nothing(batch: Batch) -> None:
    own = part_of(replace(part_of(batch, 0, 12), part=None), 0, 2)
    assert len(own) == 1
    assert own.whole.n_rows == 0


def test_noise_of_other_distributions_differs_between_processes(batch: Batch) -> None:
    """It is independent of the other rows', though not that of one process."""

    def guide(own: Batch) -> None:
        with observations(own):
            pyro.sample("rate", dist.Gamma(torch.full((len(own),), 2.0), 1.0))

    draws = []
    for rank in range(2):
        own = part_of(batch, rank, 2)
        torch.manual_seed(0)
        with whole_noise(own):
            draws.append(poutine.trace(guide).get_trace(own).nodes["rate"]["value"])
    assert torch.cat(draws).unique().numel() == len(batch)


def test_dropout_is_as_it_was_afterwards(batch: Batch) -> None:
    dropout = nn.Dropout(0.5)
    twice = nn.ModuleList([nn.Sequential(dropout), nn.Sequential(dropout)])
    own = part_of(batch, 1, 2)
    with whole_noise(own, twice):
        assert "forward" in vars(dropout)
    assert "forward" not in vars(dropout)
