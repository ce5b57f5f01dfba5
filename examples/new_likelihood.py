"""A likelihood of one's own, in one file: geometric counts.

    p(x) = 1 / (1 + m) * (m / (1 + m))**x      with mean m and variance m + m**2

Two terms with their derivatives are all the mathematics there is to write: the log-probability of
zero, and how much more or less probable a count x > 0 is. Sparse data, gradients, enumeration and
evaluation then work as they do for any other likelihood.
"""

import torch
from torch import Tensor

from vae4counts.models.likelihoods import LIKELIHOODS, CountDistribution, Likelihood
from vae4counts.models.likelihoods.base import SMALLEST_RATE, rates
from vae4counts.models.likelihoods.sparse import Family, Terms


def zero(mean: Tensor) -> Terms:
    return -torch.log1p(mean), (-1 / (1 + mean),)


def ratio(x: Tensor, mean: Tensor) -> Terms:
    mean = mean.clamp_min(SMALLEST_RATE)
    return x * torch.log(mean / (1 + mean)), (x / (mean * (1 + mean)),)


class GeometricCounts(CountDistribution):
    family = Family(zero, ratio)

    @property
    def mean(self) -> Tensor:
        return self.parameters[0].expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        return self.mean + self.mean**2

    def _draw(self, shape: torch.Size) -> Tensor:
        return torch.distributions.Geometric(1 / (1 + self.mean.expand(shape))).sample()


class Geometric(Likelihood):
    def forward(self, outputs: Tensor, library: Tensor | None) -> GeometricCounts:
        (rate,) = self.split(outputs)
        return GeometricCounts(rates(rate, library))


LIKELIHOODS["geometric"] = Geometric


if __name__ == "__main__":
    from vae4counts.data import load_digits
    from vae4counts.guides import guide_for
    from vae4counts.inference import fit
    from vae4counts.models import GMVAE

    digits = load_digits()
    model = GMVAE(digits.n_vars, likelihood=Geometric(), library=None)
    run = fit(model, guide_for(model), digits, epochs=30, label="digit")
    print(run.evaluate(digits))
