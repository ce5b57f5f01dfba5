from .base import MixturePrior as MixturePrior
from .base import Prior as Prior
from .flow import FlowPrior as FlowPrior
from .gaussian_mixture import GaussianMixture as GaussianMixture
from .registry import PRIORS as PRIORS
from .standard_normal import StandardNormal as StandardNormal
from .topics import TopicPrior as TopicPrior
from .vamp import VampPrior as VampPrior
