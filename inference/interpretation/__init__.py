"""Understanding a fit: loadings, components, latent directions, rates, comparisons, questions.

`Interpretation`, which `Run.interpret` returns, has them all as methods.
"""

from vae4counts.models import NotInModelError

from .feature_ranking import strongest_features
from .interpretation import Interpretation
from .loadings import loadings, orient_signs, varimax
from .pair_on_data import PairOnData

__all__ = [
    "Interpretation",
    "NotInModelError",
    "PairOnData",
    "loadings",
    "orient_signs",
    "strongest_features",
    "varimax",
]
