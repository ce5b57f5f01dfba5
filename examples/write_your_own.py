# %% [markdown]
# # Write your own likelihood and prior
#
# A new likelihood is two formulas, a new prior is two methods. Everything then works with them:
# training, evaluation, posteriors, checks, comparison and files.

# %%
import os
import tempfile
import warnings
from pathlib import Path

import pyro
import torch
from example_data import cells
from torch import Tensor

from vae4counts.data import top_features
from vae4counts.guides import guide_for
from vae4counts.inference import Run, compare, fit
from vae4counts.models import VAE
from vae4counts.models.likelihoods import (
    LIKELIHOODS,
    SMALLEST_RATE,
    CountDistribution,
    Family,
    Likelihood,
    NegativeBinomial,
    Poisson,
    Terms,
    rates,
)
from vae4counts.models.priors import PRIORS, Prior, StandardNormal

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"
warnings.filterwarnings("ignore", message="for over 10 %")  # the column bad_k says it
# some genes have no counts in the few cells below, which does not matter here
warnings.filterwarnings("ignore", message=".*features have no counts at all")

# %% [markdown]
# ## A likelihood: geometric counts
#
# $$p(x) = \frac{1}{1 + m} \left(\frac{m}{1 + m}\right)^x, \qquad
# \mathrm{mean}\ m, \quad \mathrm{variance}\ m + m^2$$
#
# You write two terms: the log-probability of zero, and the log-ratio of a count $x > 0$ to it. The
# second is computed at the non-zeros alone, so that sparse data stay fast.


# %%
def zero(mean: Tensor) -> Tensor:
    """Return log p(0)."""
    return -torch.log1p(mean)


def ratio(x: Tensor, mean: Tensor) -> Tensor:
    """Return log p(x) - log p(0) of counts x > 0."""
    mean = mean.clamp_min(SMALLEST_RATE)
    return x * torch.log(mean / (1 + mean))


# %% [markdown]
# The distribution names the family, its moments, and how to draw. `Family.by_autograd` leaves the
# derivatives to autograd.


# %%
class GeometricCounts(CountDistribution):
    """Geometric counts with mean ``m``."""

    family = Family.by_autograd(zero, ratio)

    @property
    def mean(self) -> Tensor:
        """``m``."""
        return self.parameters[0].expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """``m + m**2``."""
        return self.mean + self.mean**2

    def _draw(self, shape: torch.Size) -> Tensor:
        return torch.distributions.Geometric(1 / (1 + self.mean.expand(shape))).sample()


# %% [markdown]
# The likelihood makes it from the decoder's outputs and the library size. It has no parameters of
# its own; a likelihood that has some calls `declare`.


# %%
class Geometric(Likelihood):
    """Counts with the variance of exponentially distributed rates."""

    def forward(self, outputs: Tensor, library: Tensor | None) -> GeometricCounts:
        """See `Likelihood.forward`."""
        (rate,) = self.split(outputs)
        return GeometricCounts(rates(rate, library))


LIKELIHOODS["geometric"] = Geometric

# %% [markdown]
# ### The fast way: derivatives by hand
#
# Autograd's derivatives are right, but computing them takes time in every step. A `Family` whose
# functions also return the derivative by each parameter avoids that, and nothing else changes:
# `GeometricCounts` would say `family = fast`. Compare the two before you trust your derivatives.


# %%
def zero_and_slope(mean: Tensor) -> Terms:
    """Return log p(0) and its derivative by the mean."""
    return zero(mean), (-1 / (1 + mean),)


def ratio_and_slope(x: Tensor, mean: Tensor) -> Terms:
    """Return log p(x) - log p(0) and its derivative by the mean."""
    mean = mean.clamp_min(SMALLEST_RATE)
    return ratio(x, mean), (x / (mean * (1 + mean)),)


fast = Family(zero_and_slope, ratio_and_slope)
x, mean = torch.tensor([1.0, 2.0, 7.0]), torch.tensor([0.1, 1.0, 30.0])
torch.testing.assert_close(fast.zero(mean), GeometricCounts.family.zero(mean))
torch.testing.assert_close(fast.ratio(x, mean), GeometricCounts.family.ratio(x, mean))

# %% [markdown]
# ## A prior: Laplace latents
#
# It has more mass near zero and in the tails than a normal distribution: few latents are far from
# zero in any one cell. `forward` samples the site `"z"`, `log_prob` is its log-density.


# %%
class Laplace(Prior):
    """``z_l ~ Laplace(0, 1 / sqrt(2))``, of variance 1."""

    def __init__(self, n_latent: int = 10) -> None:
        super().__init__()
        self.n_latent = n_latent
        self.register_buffer("zero", torch.zeros(n_latent), persistent=False)

    def _density(self) -> pyro.distributions.TorchDistribution:
        return pyro.distributions.Laplace(self.zero, 0.5**0.5).to_event(1)

    def forward(self) -> Tensor:
        """See `Prior.forward`."""
        return pyro.sample("z", self._density())

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Prior.log_prob`."""
        return self._density().log_prob(z)


PRIORS["laplace"] = Laplace

# %% [markdown]
# ## Use both
#
# Geometric counts are negative binomial with a dispersion of 1, Poisson counts with one of 0. Which
# is closer to the data, once the latents have explained what they can?

# %%
adata, what = cells()
adata = top_features(adata, 200)
print(what)
runs = {}
for prior in (Laplace, StandardNormal):
    for likelihood in (Geometric, Poisson, NegativeBinomial):
        torch.manual_seed(0)
        model = VAE(adata.n_vars, prior=prior(n_latent=5), likelihood=likelihood())
        runs[f"{prior.__name__}, {likelihood.__name__}"] = fit(
            model,
            guide_for(model),
            adata,
            epochs=3 if QUICK else 80,
            batch_size=32,
            progress=False,
        )
compare(runs, adata, num_samples=100 if QUICK else 500).round(2)

# %% [markdown]
# The likelihood that learns its dispersion wins, and Poisson counts come before geometric ones:
# cells with the same latents vary less than geometric counts would. Laplace or normal latents make
# little difference. (`bad_k` is 0.1 to 0.2: some estimates are too low, and only differences of
# several nats should be trusted.)
#
# Everything else works with the new parts too: draws for ArviZ ...

# %%
run = runs["Laplace, Geometric"]
draws = run.posterior(adata[:5].copy(), num_samples=50, sites=["z", "counts"])
dict(draws["posterior_predictive"]["counts"].sizes)

# %% [markdown]
# ... predictive checks ...

# %%
run.check(adata, 50).table.round(2)

# %% [markdown]
# ... differential expression ...

# %%
table = run.interpret(adata).differential_expression("celltype", "CD19+ B")
table[["lfc_mean", "proba_de", "is_de_fdr_0.05"]].head(5).round(2)

# %% [markdown]
# ... and files: a saved run names the classes of its parts, so that a program which loads it must
# have imported them.

# %%
with tempfile.TemporaryDirectory() as folder:
    run.save(Path(folder) / "run")
    again = Run.load(Path(folder) / "run")
print(again.model.config())
assert again.evaluate(adata) == run.evaluate(adata)
