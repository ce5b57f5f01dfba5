"""The training objective and its gradient, against a sum over components by brute force.

Nothing of the models' or the guides' densities is used here: only the outputs of their networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.fitting.handlers import KLWarmUp
from vae4counts.models import VAE

CASES = [
    ("standard-normal", "marginal"),
    ("mixture", "marginal"),
    ("uniform", "marginal"),
    ("vamp", "marginal"),
    ("mixture", "selection"),
    ("mixture", "addition"),
    ("uniform", "selection"),
]


def normal(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return -0.5 * math.log(2 * math.pi) - scale.log() - 0.5 * ((x - loc) / scale) ** 2


def poisson(x: Tensor, mean: Tensor) -> Tensor:
    """log p(x) summed over the features, all dense."""
    return (x * mean.log() - mean - torch.lgamma(x + 1)).sum(-1)


def log_components(model: VAE, guide: Any, z: Tensor) -> Tensor:
    """log p(component, z) for z of shape (..., L), shape (..., K)."""
    prior: Any = model.prior
    if type(prior).__name__ == "StandardNormal":
        return normal(z, z.new_zeros(()), z.new_ones(())).sum(-1, keepdim=True)
    if type(prior).__name__ == "VampPrior":
        inputs = torch.log(1 + prior.pseudo_inputs.exp())
        loc, scale = guide.head(guide.encoder(inputs))
        log_weights = torch.full((3,), -math.log(3), dtype=z.dtype)
    else:
        loc, scale = prior.loc, prior.log_scale.exp() + 0.01
        # at most a thousandth of the weight is spread evenly
        log_weights = (0.999 * torch.softmax(prior.logits, 0) + 0.001 / 3).log()
        if prior.weights == "uniform":
            log_weights = torch.full((3,), -math.log(3), dtype=z.dtype)
    return normal(z.unsqueeze(-2), loc, scale).sum(-1) + log_weights


def by_hand(model: VAE, guide: Any, batch: Batch, weight: float) -> Tensor:
    """Minus the ELBO of the data set, with the KL terms times ``weight``."""
    x = batch.counts.to_dense()
    n, n_latent = len(x), guide.n_latent
    features = guide.encoder(batch.counts)
    library, divergence = batch.library, torch.zeros(n, dtype=torch.float64)
    if guide.latent_library:
        a, s = guide.library_head.head(features)
        loc = x.sum(1).log() + a[:, 0]
        log_library = loc + s[:, 0] * torch.randn(n, dtype=torch.float64)
        library = log_library.exp()
        # both densities hold the same factor 1 / library, which cancels
        divergence = normal(log_library, loc, s[:, 0])
        divergence = divergence - normal(log_library, model.library.loc, model.library.scale)

    def reconstruction(z: Tensor) -> Tensor:
        share = torch.softmax(model.decoder(z), -1)
        return poisson(x, share * library[:, None])

    if type(guide).__name__ == "MarginalGuide":
        loc, scale = guide.head(features)
        z = loc + scale * torch.randn(n, n_latent, dtype=torch.float64)
        log_p = log_components(model, guide, z).logsumexp(-1)
        divergence = divergence + normal(z, loc, scale).sum(-1) - log_p
        elbo = reconstruction(z) - weight * divergence
    else:
        log_y = torch.log_softmax(guide.component_head(features), -1)
        loc, scale = guide.posteriors(features)
        noise = torch.randn(3, n, n_latent, dtype=torch.float64)
        elbo = -weight * divergence
        for k in range(3):
            z = loc[:, k] + scale[:, k] * noise[k]
            log_q = log_y[:, k] + normal(z, loc[:, k], scale[:, k]).sum(-1)
            log_p = log_components(model, guide, z)[:, k]
            elbo = elbo + log_y[:, k].exp() * (reconstruction(z) - weight * (log_q - log_p))
    return -elbo.sum() * batch.n_observations / n


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("library", ["observed", "latent"])
@pytest.mark.parametrize(("prior", "kind"), CASES)
def test_loss_and_gradient(
    prior: str,
    kind: str,
    library: str,
    weight: float,
    few: Batch,
    a_pair: Callable[..., tuple[VAE, Guide]],
) -> None:
    model, guide = a_pair(prior, kind, library=library)
    objective = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(model, guide)
    warm_up = KLWarmUp(10)
    warm_up.step(), warm_up.step()
    assert warm_up.kl_weight == 0.3
    losses, gradients = [], []
    for compute in (objective, lambda batch: by_hand(model, guide, batch, weight)):
        objective.zero_grad()
        torch.manual_seed(5)
        with warm_up if weight < 1 else nullcontext():
            loss = compute(few)
        loss.backward()
        losses.append(loss.detach())
        gradients.append({name: p.grad for name, p in objective.named_parameters()})
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-10, atol=0)
    trained = [name for name, p in objective.named_parameters() if p.requires_grad]
    assert len(trained) > 8
    for name in trained:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-7, atol=1e-9)
