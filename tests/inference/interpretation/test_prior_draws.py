"""Components that depend on other latents, and models that have no such draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

from vae4counts.data import Batch, CountMatrix
from vae4counts.guides import ExactGuide
from vae4counts.inference.interpretation import Interpretation, NotInModelError
from vae4counts.inference.interpretation.prior_draws import component_weights, prior_draws
from vae4counts.models import CountMixture, Latent, Model, observations
from vae4counts.models.joint import JointDistribution
from vae4counts.models.likelihoods.poisson import PoissonCounts

KIND = torch.tensor([0.7, 0.3])
COMPONENT = torch.tensor([[0.8, 0.15, 0.05], [0.1, 0.2, 0.7]])  # given the kind
RATES = torch.tensor([[[1.0, 4], [2, 0.5], [3, 3]], [[8.0, 0.1], [1, 1], [0.2, 6]]])


class Nested(Model):
    """``component`` depends on ``kind``, and the counts on both."""

    latents: Sequence[Latent] = (Latent("kind", states=2), Latent("component", states=3))

    def __init__(self) -> None:
        super().__init__()
        self.n_features, self.numbers_per_draw = 2, 12
        self.rates_by_state = torch.nn.Parameter(RATES)

    def forward(self, batch: Batch) -> torch.Tensor:
        enumerated = {"enumerate": "parallel"}
        with observations(batch):
            kind = pyro.sample("kind", dist.Categorical(KIND), infer=enumerated)
            component = pyro.sample(
                "component", dist.Categorical(COMPONENT[kind]), infer=enumerated
            )
            counts = PoissonCounts(self.rates_by_state[kind, component])
            return pyro.sample("counts", counts, obs=batch.counts)


class Pairs(JointDistribution):
    """``x_0 ~ Poisson(m)`` and ``x_1 = x_0``: not independent, without a mean in closed form."""

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, mean: torch.Tensor) -> None:
        self.own_mean = mean
        super().__init__(mean.shape, torch.Size([2]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Pairs:
        return Pairs(self.own_mean.expand(batch_shape))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return dist.Poisson(self.own_mean).log_prob(value.to_dense()[..., 0])


class PairModel(Model):
    """Counts from `Pairs`, or from a distribution that is not even a joint one."""

    latents: Sequence[Latent] = ()

    def __init__(self, joint: bool = True) -> None:
        super().__init__()
        self.n_features = self.numbers_per_draw = 2
        self.joint = joint
        self.log_mean = torch.nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch) -> torch.Tensor:
        with observations(batch):
            mean = self.log_mean.exp().expand(len(batch))
            independent = dist.Poisson(mean.unsqueeze(-1).expand(-1, 2)).to_event(1)
            counts = Pairs(mean) if self.joint else independent
            return pyro.sample("counts", counts, obs=batch.counts.to_dense())


def view_of(model: Model) -> Interpretation:
    counts = CountMatrix.from_scipy(np.random.default_rng(0).poisson(2.0, size=(30, 2)) + 1)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(30)])
    return Interpretation(model.eval(), ExactGuide().eval(), counts, ["a", "b"], obs)


def test_weights_and_profiles_of_components_that_depend_on_another_site() -> None:
    view, n = view_of(Nested()), 20_000
    weights = (KIND @ COMPONENT).numpy()
    # averages over 256 draws of the kind
    np.testing.assert_allclose(component_weights(view), weights, atol=0.08)
    kind_given_component = (KIND[:, None] * COMPONENT).numpy() / weights
    wanted = np.einsum("ck,ckg->gk", kind_given_component, RATES.numpy())
    found = view.component_profiles(num_samples=n)
    np.testing.assert_allclose(found, wanted, rtol=0.03)
    present = 1 - np.exp(-RATES.numpy())
    together = np.einsum("c,c->", kind_given_component[:, 2], present[:, 2].prod(-1))
    base = np.einsum("c,ck,ckg->g", KIND.numpy(), COMPONENT.numpy(), present)
    lift = view.cooccurrence(2, ["a", "b"], num_samples=n)
    assert lift.loc["a", "b"] == pytest.approx(together / base.prod(), rel=0.03)


def test_responsibilities_by_brute_force() -> None:
    view = view_of(Nested())
    x = view.counts.batch(torch.arange(30)).counts.to_dense()
    log_p = dist.Poisson(RATES).log_prob(x[:, None, None, :]).sum(-1)
    posterior = (log_p + (KIND[:, None] * COMPONENT).log()).flatten(1).softmax(1)
    by_component = posterior.unflatten(1, (2, 3)).sum(1)
    np.testing.assert_allclose(view.responsibilities(), by_component, atol=1e-5)


def test_weights_of_independent_components_are_exact() -> None:
    model = CountMixture(2, 3)
    torch.nn.init.normal_(model.logits)
    wanted = model.logits.detach().softmax(0)
    view = view_of(model)
    np.testing.assert_allclose(component_weights(view), wanted, rtol=1e-6)
    for _, weights in prior_draws(view, torch.ones(7, 1), {"component": 1, "nowhere": 3.0}):
        np.testing.assert_allclose(weights, wanted[1].expand(7), rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "what"),
    [(PairModel(), "a Pairs has no marginals"), (PairModel(False), "Independent")],
)
def test_questions_that_need_more_are_refused(model: Model, what: str) -> None:
    view = view_of(model)
    with pytest.raises(NotInModelError, match=what):
        view.expected_given(["a"])
    for question in (view.component_table, view.component_contrasts, view.component_profiles):
        with pytest.raises(NotInModelError, match="PairModel has no components"):
            question()
    with pytest.raises(NotInModelError, match="PairModel has no components in a latent space"):
        view.component_overlaps()
    for question in (view.latent_table, view.latent_effects, view.denoised):
        with pytest.raises(NotInModelError, match="PairModel has no latent space"):
            question()
