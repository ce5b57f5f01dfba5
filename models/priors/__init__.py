"""Priors p(z): one file a prior. `PRIORS` is the registry."""

from .base import MixturePrior, Prior
from .gaussian_mixture import GaussianMixture
from .standard_normal import StandardNormal
from .vamp import VampPrior

PRIORS: dict[str, type[Prior]] = {
    "standard-normal": StandardNormal,
    "gaussian-mixture": GaussianMixture,
    "vamp": VampPrior,
}

__all__ = ["PRIORS", "GaussianMixture", "MixturePrior", "Prior", "StandardNormal", "VampPrior"]
