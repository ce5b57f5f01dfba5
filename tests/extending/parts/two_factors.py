"""A model with two enumerated sites: a component and a state, both summed out."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.data import Batch
from vae4counts.models import Latent, Model, observations
from vae4counts.models.likelihoods import PoissonCounts


class TwoFactors(Model):
    """``x_j ~ Poisson(exp(A_cj + B_sj))`` with a component ``c`` and a state ``s`` given it."""

    latents: Sequence[Latent] = ()

    def __init__(self, n_features: int, n_components: int = 3, n_states: int = 2) -> None:
        super().__init__()
        self.n_features, self.n_components, self.n_states = n_features, n_components, n_states
        self.latents = (Latent("component", states=n_components), Latent("state", states=n_states))
        self.numbers_per_draw = n_components * n_states * n_features
        self.component_logits = nn.Parameter(torch.zeros(n_components))
        self.state_logits = nn.Parameter(torch.zeros(n_components, n_states))
        self.component_effects = nn.Parameter(0.5 * torch.randn(n_components, n_features))
        self.state_effects = nn.Parameter(0.5 * torch.randn(n_states, n_features))

    def forward(self, batch: Batch) -> Tensor:
        """See `Model.forward`."""
        enumerated = {"enumerate": "parallel"}
        with observations(batch):
            component = pyro.sample(
                "component", dist.Categorical(logits=self.component_logits), infer=enumerated
            )
            logits = nn.functional.embedding(component, self.state_logits)
            state = pyro.sample("state", dist.Categorical(logits=logits), infer=enumerated)
            log_means = nn.functional.embedding(component, self.component_effects)
            log_means = log_means + nn.functional.embedding(state, self.state_effects)
            return pyro.sample("counts", PoissonCounts(log_means.exp()), obs=batch.counts)
