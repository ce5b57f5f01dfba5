"""The parameters of priors: which are trained, and where they start."""

from __future__ import annotations

import warnings
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import guide_for
from vae4counts.models import GMVAE
from vae4counts.models.priors import GaussianMixture, Prior, VampPrior
from vae4counts.models.priors.clustering import merged_gaussians


def test_every_trained_parameter_gets_a_gradient(mixture: Prior) -> None:
    mixture.log_prob(torch.randn(50, 3).double()).sum().backward()
    for name, parameter in mixture.named_parameters():
        if name == "logits" and len(parameter) == 1:
            continue  # the weight of the only component is 1
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.abs().max() > 0, name


def test_uniform_weights_are_fixed() -> None:
    prior = GaussianMixture(2, 4, weights="uniform")
    assert [n for n, p in prior.named_parameters() if not p.requires_grad] == ["logits"]
    torch.testing.assert_close(prior.log_weights().exp(), torch.full((4,), 0.25))
    prior.start_at(torch.randn(50, 2), torch.rand(50, 4).softmax(1))
    torch.testing.assert_close(prior.log_weights().exp(), torch.full((4,), 0.25))


@pytest.mark.parametrize("concentration", [0.3, 1.0, 5.0])
def test_dirichlet_adds_its_log_density_once_whatever_the_batch(
    concentration: float, batch: Batch
) -> None:
    plain = GMVAE(7, GaussianMixture(2, 4)).double()
    torch.nn.init.normal_(plain.prior.logits)
    guide = guide_for(plain).double().eval()
    prior = GaussianMixture(2, 4, concentration=concentration).double()
    prior.load_state_dict(plain.prior.state_dict())
    doubled = Batch.of_counts(batch.counts.double(), batch.library.double(), batch.index, 30)
    losses = []
    for model in (plain, plain.with_prior(prior)):
        torch.manual_seed(3)
        losses.append(TraceEnum_ELBO(max_plate_nesting=1)(model, guide)(doubled))
    weights = prior.log_weights().exp()
    density = dist.Dirichlet(torch.full((4,), concentration, dtype=torch.float64)).log_prob(weights)
    torch.testing.assert_close(losses[1], losses[0] - density, rtol=1e-12, atol=0)


def test_dirichlet_site_is_outside_the_plate(batch: Batch) -> None:
    model = GMVAE(7, GaussianMixture(2, 4, concentration=2.0))
    site = poutine.trace(model).get_trace(batch).nodes["weights"]
    assert site["is_observed"]
    assert site["scale"] == 1.0
    assert not site["cond_indep_stack"]


def test_weights_of_many_components_pass_the_check_of_a_simplex(batch: Batch) -> None:
    model = GMVAE(7, GaussianMixture(2, 500, concentration=1.0))
    torch.nn.init.normal_(model.prior.logits, std=3)
    with pyro.validation_enabled(True):
        poutine.trace(model).get_trace(batch)


def test_no_weight_falls_to_zero() -> None:
    prior = GaussianMixture(2, 4, concentration=0.1)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.0, 0.0, 0.0, -1e4]))
    assert prior.log_weights().isfinite().all()
    prior.log_weights().sum().backward()
    assert prior.logits.grad is not None
    assert prior.logits.grad.isfinite().all()


def test_it_starts_at_separated_groups(separated: tuple[GaussianMixture, Tensor, Tensor]) -> None:
    prior, z, centres = separated
    prior.start_at(z, torch.as_tensor(merged_gaussians(z.double().numpy(), 4, seed=0)))
    loc, scale = prior.components()
    order = torch.cdist(centres, loc).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    torch.testing.assert_close(loc[order], centres, atol=0.5, rtol=0)
    wanted = torch.tensor([0.5, 1.0]).expand(4, 2)
    torch.testing.assert_close(scale, wanted, atol=0.2, rtol=0)
    torch.testing.assert_close(prior.log_weights().exp(), torch.full((4,), 0.25))
    found = prior.responsibilities(z).argmax(1)
    assert adjusted_rand_score(torch.arange(400) % 4, found) > 0.99


@pytest.mark.parametrize("z", [torch.zeros(20, 2), torch.eye(2).repeat(10, 1)])
def test_fewer_distinct_points_than_components(z: Tensor) -> None:
    prior = GaussianMixture(2, 5)
    prior.start_at(z, torch.as_tensor(merged_gaussians(z.double().numpy(), 5, seed=0)))
    assert all(parameter.isfinite().all() for parameter in prior.parameters())
    prior.log_prob(z).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in prior.parameters())


def test_vamp_without_a_guide_is_an_error() -> None:
    model = GMVAE(7, VampPrior(2, 3))
    with pytest.raises(RuntimeError, match="guide_for"):
        model.prior.log_prob(torch.zeros(1, 2))


def test_vamp_leaves_the_encoder_to_the_guide() -> None:
    model = GMVAE(7, VampPrior(2, 3))
    before = set(model.state_dict())
    guide = guide_for(model)
    assert set(model.state_dict()) == before
    assert "prior.pseudo_inputs" in before
    assert not {id(p) for p in model.parameters()} & {id(p) for p in guide.parameters()}
    loc, _ = guide.eval().posterior(torch.nn.functional.softplus(model.prior.pseudo_inputs))
    assert torch.equal(model.prior.components()[0], loc)


def test_vamp_starts_at_observations(batch: Batch) -> None:
    prior = VampPrior(2, 6)
    prior.build(7)
    prior.initialise(batch)
    inputs = torch.nn.functional.softplus(prior.pseudo_inputs)
    wanted = batch.counts.to_dense()[:6].clamp_min(0.02)
    torch.testing.assert_close(inputs, wanted, rtol=1e-4, atol=1e-6)


def test_vamp_with_more_pseudo_inputs_than_observations(batch: Batch) -> None:
    prior: Any = VampPrior(2, 13)
    prior.build(7)
    with pytest.raises(ValueError, match="13 pseudo-inputs but 12 observations"):
        prior.initialise(batch)


def test_prior_is_called_without_warnings(mixture: Prior) -> None:
    with warnings.catch_warnings(), pyro.plate("observations", 5):
        warnings.simplefilter("error")
        assert mixture().shape == (5, 3)
