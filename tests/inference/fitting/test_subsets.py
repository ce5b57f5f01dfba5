"""Training of experts on subsets: the term, and where its gradient goes."""

from __future__ import annotations

from dataclasses import replace

import pyro
import pytest
import torch
from pyro.infer import TraceEnum_ELBO

from tests.several_tables import N, some_tables, three_modalities
from vae4counts.guides import Encoder, guide_for
from vae4counts.guides.product import Opinion, Opinions
from vae4counts.inference.fitting.subsets import SubsetExperts, divergence, subsets
from vae4counts.models import VAE


def test_each_table_alone_and_all_but_each() -> None:
    assert list(subsets(["a"])) == []
    assert list(subsets(["a", "b"])) == [("a",), ("b",)]
    assert list(subsets(["a", "b", "c"])) == [
        ("a",),
        ("b",),
        ("c",),
        ("b", "c"),
        ("a", "c"),
        ("a", "b"),
    ]


def test_divergence_by_hand() -> None:
    z = torch.tensor([[0.3], [-1.0], [2.0]])
    prior = Opinion(torch.ones(3, 1), torch.zeros(3, 1))
    a = Opinion(torch.full((3, 1), 3.0), torch.full((3, 1), 6.0))
    # the last observation has a alone
    has_b = torch.tensor([True, True, False])
    b = Opinion(torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([[-1.0], [-1.0], [0.0]]), has_b)
    given_a = torch.distributions.Normal(6 / 4, (1 / 4) ** 0.5).log_prob(z[:2]).sum()
    given_b = torch.distributions.Normal(-1 / 2, (1 / 2) ** 0.5).log_prob(z[:2]).sum()
    found = divergence(Opinions(prior, {"a": a, "b": b}), z)
    assert float(found) == pytest.approx(-(given_a + given_b).item() / 3 / 2)


def test_the_term_reaches_the_experts_alone() -> None:
    model = three_modalities()
    guide = guide_for(model, "product", Encoder((6,), norm="none", dropout=0.0))
    batch = some_tables().batch(torch.arange(N))
    handler = SubsetExperts()
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    with handler:
        loss = elbo.differentiable_loss(model, guide, batch)
    penalty = handler.penalty()
    assert isinstance(penalty, torch.Tensor)
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(
        penalty, [*parameters.values()], allow_unused=True, retain_graph=True
    )
    assert all(gradient is None for gradient in found)
    # no gradient through z: by the heads it is that of log q at fixed points
    experts = [x for name, x in guide.named_parameters() if not name.startswith("together")]
    own = torch.autograd.grad(penalty, experts, allow_unused=True, retain_graph=True)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in own)
    torch.manual_seed(0)
    plain = elbo.differentiable_loss(model, guide, batch)
    torch.manual_seed(0)
    with SubsetExperts():
        handled = elbo.differentiable_loss(model, guide, batch)
    torch.testing.assert_close(plain, handled)
    assert loss.isfinite()


def test_it_does_nothing_for_a_model_of_one_table() -> None:
    guide = guide_for(VAE(5))
    batch = some_tables().only(["rna"]).batch(torch.arange(N))
    handler = SubsetExperts()
    with handler, pyro.poutine.trace():
        guide(batch)
    assert not handler.penalty()


def test_the_term_has_less_weight_where_there_are_few_observations() -> None:
    guide = guide_for(three_modalities(), "product", Encoder((6,), norm="none", dropout=0.0))
    batch = some_tables().batch(torch.arange(N))
    found = []
    for n in (N, 1_000):
        handler = SubsetExperts()
        torch.manual_seed(0)
        with handler, torch.no_grad():
            guide(replace(batch, n_observations=n))
        found.append(float(handler.penalty()) / n)
    assert found[0] / found[1] == pytest.approx(N / (N + 1_000) / 0.5)
