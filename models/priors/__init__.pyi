from .base import MixturePrior as MixturePrior
from .base import Prior as Prior
from .gaussian_mixture import GaussianMixture as GaussianMixture
from .registry import PRIORS as PRIORS
from .standard_normal import StandardNormal as StandardNormal
from .vamp import VampPrior as VampPrior
