"""The likelihoods that are known by name, in the command line and the generic tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae4counts.models.registry import Registry

if TYPE_CHECKING:
    from vae4counts.models.likelihoods import Likelihood

LIKELIHOODS: Registry[type[Likelihood]] = Registry(
    "vae4counts.models.likelihoods",
    {
        "poisson": "poisson.Poisson",
        "negative-binomial": "negative_binomial.NegativeBinomial",
        "zero-inflated-poisson": "zero_inflated.ZeroInflatedPoisson",
        "zero-inflated-negative-binomial": "zero_inflated.ZeroInflatedNegativeBinomial",
        "negative-binomial-background": "background.NegativeBinomialBackground",
        "multinomial": "multinomial.Multinomial",
        "categorical": "categorical.Categorical",
        "bernoulli": "bernoulli.Bernoulli",
        "gaussian": "gaussian.Gaussian",
        "beta": "beta.Beta",
    },
)
