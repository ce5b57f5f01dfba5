"""Understanding a fit: loadings, components, latent directions, rates, comparisons, questions.

`Interpretation`, which `Run.interpret` gives, has them all as methods.
"""

from .fitted import Fitted, NotInModelError
from .interpretation import Interpretation
from .loadings import loadings, orient_signs, varimax
from .ranking import strongest_features

__all__ = [
    "Fitted",
    "Interpretation",
    "NotInModelError",
    "loadings",
    "orient_signs",
    "strongest_features",
    "varimax",
]
