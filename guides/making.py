"""Making the guide that fits a model."""

from __future__ import annotations

from vae4counts.guides.base import Guide, IncompatiblePairError
from vae4counts.guides.encoder import Encoder
from vae4counts.guides.registry import GUIDES
from vae4counts.models import Model


def fitting_guides(model: Model) -> list[str]:
    """Return the names of the guides that fit a model, its default first."""
    return [name for name, guide in GUIDES.items() if guide.fits(model)]


def guide_for(model: Model, kind: str | None = None, encoder: Encoder | None = None) -> Guide:
    """Make the guide that fits a model.

    Args:
        model: The model.
        kind: "marginal", "joint", "exact", "full-covariance", "flow", or another name in `GUIDES`.
            The model's default if None.
        encoder: The guide's encoder. `Encoder` with its defaults if None; ignored by a guide
            without an encoder.

    Returns:
        An untrained guide.

    Raises:
        IncompatiblePairError: The guide does not fit the model, or is unknown. The message lists
            those that fit.
    """
    fitting = fitting_guides(model)
    if not fitting:
        raise IncompatiblePairError(f"no guide in vae4counts.guides.GUIDES fits {model.title}")
    chosen = fitting[0] if kind is None else kind
    if chosen not in fitting:
        raise IncompatiblePairError(
            f"guide {kind!r} does not fit {model.title}: these do: {', '.join(fitting)}"
        )
    guide = GUIDES[chosen].for_model(model, encoder)
    guide.attach(model)
    return guide
