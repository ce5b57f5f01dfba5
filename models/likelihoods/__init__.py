"""Likelihoods p(counts | decoder outputs, library size): one file a family.

`LIKELIHOODS` is the registry: the command line and the generic tests go through it.
"""

from .base import CountDistribution, Likelihood
from .categorical import Categorical, CategoricalCounts
from .multinomial import Multinomial, MultinomialCounts
from .negative_binomial import NegativeBinomial, NegativeBinomialCounts
from .nonzeros import NonZeros
from .poisson import Poisson, PoissonCounts
from .zero_inflated import (
    ZeroInflatedNegativeBinomial,
    ZeroInflatedNegativeBinomialCounts,
    ZeroInflatedPoisson,
    ZeroInflatedPoissonCounts,
)

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "poisson": Poisson,
    "negative-binomial": NegativeBinomial,
    "zero-inflated-poisson": ZeroInflatedPoisson,
    "zero-inflated-negative-binomial": ZeroInflatedNegativeBinomial,
    "multinomial": Multinomial,
    "categorical": Categorical,
}

__all__ = [
    "LIKELIHOODS",
    "Categorical",
    "CategoricalCounts",
    "CountDistribution",
    "Likelihood",
    "Multinomial",
    "MultinomialCounts",
    "NegativeBinomial",
    "NegativeBinomialCounts",
    "NonZeros",
    "Poisson",
    "PoissonCounts",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedNegativeBinomialCounts",
    "ZeroInflatedPoisson",
    "ZeroInflatedPoissonCounts",
]
