"""Understanding a fit: loadings, components, latent directions, rates, comparisons, questions.

`Interpretation`, which `Run.interpret` returns, has them all as methods.
"""

from vae4counts.models import NotInModelError

from .feature_ranking import strongest_features
from .feature_tree import feature_groups, feature_links
from .interpretation import Interpretation
from .loadings import loadings, orient_signs, varimax
from .pair_on_data import PairOnData

__all__ = [
    "Interpretation",
    "NotInModelError",
    "PairOnData",
    "feature_groups",
    "feature_links",
    "loadings",
    "orient_signs",
    "strongest_features",
    "varimax",
]
