"""Mixture models without a network: baselines for a GMVAE."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch, first_rows
from vae4counts.models.base import Model, observations
from vae4counts.models.likelihoods import Likelihood, NegativeBinomial
from vae4counts.models.numerics import column_means
from vae4counts.models.priors import GaussianMixture
from vae4counts.models.priors.clustering import k_means
from vae4counts.models.sites import Latent


class CountMixture(Model):
    r"""A finite mixture of count distributions.

    .. math:: p(x) = \sum_k \pi_k\, \mathrm{likelihood}(x \mid a_k, \mathrm{library})

    with the outputs ``a_k`` of each component as free parameters. A step evaluates every component
    at every observation, at a cost of ``K * B * G``.

    Args:
        n_features: Number ``G`` of features.
        n_components: Number ``K`` of components.
        likelihood: p(x | outputs, library). `NegativeBinomial` if None.
        library: "observed" for the total counts, by which expected counts are scaled; None for a
            model that explains these as well.

    Raises:
        ValueError: There is no component, an unknown library size, none for a likelihood that is
            conditioned on the total, or the likelihood is not one of counts.
    """

    latents: Sequence[Latent] = ()

    def __init__(
        self,
        n_features: int,
        n_components: int = 10,
        likelihood: Likelihood | None = None,
        library: str | None = "observed",
    ) -> None:
        super().__init__()
        if n_components < 1:
            raise ValueError(f"n_components is {n_components}: it must be 1 or more")
        if library not in ("observed", None):
            raise ValueError(f"library is {library!r}: it must be 'observed' or None")
        self.n_features, self.n_components = n_features, n_components
        self.likelihood = NegativeBinomial() if likelihood is None else likelihood
        if not self.likelihood.support.counts:
            raise ValueError(f"{type(self.likelihood).__name__} is no likelihood of counts")
        self.likelihood.build(n_features)
        n_outputs = self.likelihood.outputs_per_feature * n_features
        self.numbers_per_draw = n_components * n_outputs
        self.given_total = self.likelihood.library_is_total
        self.lumped_from = self.likelihood.lumped_from
        if self.given_total and library is None:
            raise ValueError(
                f"{type(self.likelihood).__name__} models counts given their total: "
                "it needs library='observed'"
            )
        self.library = library
        self.given_library = self.scales_with_library = library is not None
        self.latents = (Latent("component", states=n_components),)
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.outputs = nn.Parameter(torch.randn(n_components, n_outputs) * 0.1)

    def forward(self, batch: Batch) -> Tensor:
        """See `Model.forward`."""
        with observations(batch):
            component = pyro.sample(
                "component",
                dist.Categorical(logits=self.logits),
                infer={"enumerate": "parallel"},
            )
            outputs = nn.functional.embedding(component, self.outputs)
            size = batch.library.unsqueeze(-1) if self.given_library else None
            counts = self.likelihood(outputs, size)
            return pyro.sample("counts", counts, obs=batch.counts)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start each component at a random observation, averaged with the mean of all."""
        mean = column_means(batch.counts) + 0.1 / self.n_features
        picked = first_rows(batch, min(self.n_components, len(batch)))
        if self.given_library:
            relative_size = picked.sum(-1, keepdim=True) / mean.sum()
            picked = picked / relative_size.clamp_min(1e-3)
        smoothed = 0.5 * picked + 0.5 * mean
        smoothed = smoothed[torch.arange(self.n_components) % len(picked)]
        for row, start in zip(self.outputs, smoothed, strict=True):
            row.copy_(self.likelihood.initial_outputs(start))


class GaussianMixtureModel(Model):
    r"""A mixture of diagonal Gaussians over ``log(1 + x)``: the classical baseline, dense.

    The site ``"counts"`` holds ``log(1 + x)``. Its log-density is one of transformed counts, which
    cannot be compared with the log-probability of a model of counts.

    Args:
        n_features: Number ``G`` of features.
        n_components: Number ``K`` of components.
    """

    latents: Sequence[Latent] = ()
    holds_counts = False

    def __init__(self, n_features: int, n_components: int = 10) -> None:
        super().__init__()
        self.n_features, self.n_components = n_features, n_components
        self.numbers_per_draw = n_components * n_features
        self.latents = (Latent("component", states=n_components),)
        self.mixture = GaussianMixture(n_features, n_components)

    def forward(self, batch: Batch) -> Tensor:
        """See `Model.forward`."""
        loc, scale = self.mixture.components()
        with observations(batch):
            component = pyro.sample(
                "component",
                dist.Categorical(logits=self.mixture.log_weights()),
                infer={"enumerate": "parallel"},
            )
            chosen = dist.Normal(
                nn.functional.embedding(component, loc), nn.functional.embedding(component, scale)
            )
            values = torch.log1p(batch.counts.to_dense())
            return pyro.sample("counts", chosen.to_event(1), obs=values)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start the components at the clusters of k-means."""
        values = torch.log1p(batch.counts.to_dense())
        shares = k_means(values.double().cpu().numpy(), self.n_components, seed=0)
        self.mixture.start_at(values, torch.as_tensor(shares).to(values))
