"""Guides q(latents | counts): one file a guide. `GUIDES` is the registry."""

from vae4counts.models import CountModel

from .base import Guide, IncompatiblePairError
from .encoder import Encoder
from .exact import ExactGuide
from .inputs import INPUTS, InputScaling
from .joint import JointGuide
from .marginal import MarginalGuide

# In the order of preference: the first that fits is a model's default.
GUIDES: dict[str, type[Guide]] = {
    "marginal": MarginalGuide,
    "joint": JointGuide,
    "exact": ExactGuide,
}


def fitting_guides(model: CountModel) -> list[str]:
    """Names of the guides that fit a model, its default first."""
    return [name for name, guide in GUIDES.items() if guide.fits(model)]


def guide_for(model: CountModel, kind: str | None = None, encoder: Encoder | None = None) -> Guide:
    """Makes the guide that fits a model.

    Args:
        model: The model.
        kind: "marginal", "joint" or "exact"; the default guide of the model if None.
        encoder: The guide's encoder. `Encoder` with its defaults if None.

    Returns:
        An untrained guide.

    Raises:
        IncompatiblePairError: The guide does not fit the model, or is not known. The message
            says which do.
    """
    fitting = fitting_guides(model)
    chosen = kind if kind is not None else next(iter(fitting), None)
    if chosen not in fitting:
        prior = getattr(model, "prior", None)
        what = type(model).__name__ + (f" with {type(prior).__name__}" if prior is not None else "")
        raise IncompatiblePairError(
            f"guide {kind!r} does not fit {what}: these do: {', '.join(fitting) or 'none'}"
        )
    guide = GUIDES[chosen].for_model(model, Encoder() if encoder is None else encoder)
    guide.attach(model)
    return guide


__all__ = [
    "GUIDES",
    "INPUTS",
    "Encoder",
    "ExactGuide",
    "Guide",
    "IncompatiblePairError",
    "InputScaling",
    "JointGuide",
    "MarginalGuide",
    "fitting_guides",
    "guide_for",
]
