r"""Effect handlers for guides that sample the component, as `JointGuide` does.

Its objective is, for each observation,

.. math:: \sum_y q(y | x) \, E_{q(z | x, y)} [\log p(x | z) + \log p(z | y) - \log q(z | x, y)]
          - KL(q(y | x) \,\|\, p(y)),

and its failure is that ``q(y | x)`` stops to hang on ``x`` (the last term is smallest then) or
leaves out components.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import kl_divergence

from vae4counts.guides import Guide
from vae4counts.inference.fitting.handlers import Handler
from vae4counts.models import Model


class _PairOfSites(Handler):
    """A handler that meets a site twice a step: in the guide first, and then in the model."""

    site: str

    def fits(self, model: Model, guide: Guide) -> bool:  # noqa: ARG002
        """Whether the guide samples the component."""
        return "component" in guide.sites

    def __enter__(self) -> Any:
        self.posterior: Any = None
        return super().__enter__()

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        if message["name"] == self.site:
            if self.posterior is None:
                self.posterior = message["fn"]
                self._in_guide(message)
            else:
                self._in_model(message)

    def _in_guide(self, message: dict[str, Any]) -> None:
        """What to do with the guide's site; nothing unless overridden."""

    def _in_model(self, message: dict[str, Any]) -> None:
        """What to do with the model's site; nothing unless overridden."""


class FreeNats(_PairOfSites):
    """Asks nothing for the first nats that ``q(component | x)`` departs from the prior by.

    ``KL(q(y | x) || p(y))``, averaged over a batch, counts from some nats on (Kingma et al. 2016):
    below that it has no gradient, so that training does not begin by making ``y`` forget ``x``.
    There ``p(y)`` is taken to be the posterior itself, and the term is 0.

    Args:
        nats: How many, above 0; no more than ``log K`` can be of use.

    Raises:
        ValueError: They are not above 0.
    """

    site = "component"

    def __init__(self, nats: float) -> None:
        super().__init__()
        if nats <= 0:
            raise ValueError(f"nats is {nats}: it must be above 0")
        self.nats = nats

    def _in_model(self, message: dict[str, Any]) -> None:
        with torch.no_grad():
            departure = kl_divergence(self.posterior, message["fn"]).mean()
        if departure < self.nats:
            message["fn"] = self.posterior


class Balance(_PairOfSites):
    r"""Draws the batch's mean of ``q(component | x)`` towards all components in equal shares.

    Adds ``weight * KL(mean_i q(y | x_i) || uniform)`` for each observation to minus the ELBO. It
    is no part of a bound on the evidence: take it away (or leave it small) for the last word.

    Args:
        weight: Its weight, above 0.

    Raises:
        ValueError: The weight is not above 0.
    """

    site = "component"

    def __init__(self, weight: float) -> None:
        super().__init__()
        if weight <= 0:
            raise ValueError(f"weight is {weight}: it must be above 0")
        self.weight = weight
        self.n_observations = 0

    def _in_guide(self, message: dict[str, Any]) -> None:
        frames = [f for f in message["cond_indep_stack"] if f.name == "observations"]
        self.n_observations = frames[0].full_size

    def penalty(self) -> Tensor | float:
        """See `Handler.penalty`."""
        mean = self.posterior.probs.mean(0)
        departure = torch.xlogy(mean, mean * mean.shape[-1]).sum()
        return self.weight * self.n_observations * departure


class AnalyticKL(_PairOfSites):
    r"""Has the KL term of ``z`` computed in closed form instead of from the draw of ``z``.

    ``log p(z | y) - log q(z | x, y)`` is replaced by its expectation over ``z``,
    ``-KL(q(z | x, y) || p(z | y))``, one for each component that the guide enumerates. The loss
    is the same in expectation, with less noise. The same written as
    ``pyro.factor(..., has_rsample=False)`` has this loss and a wrong gradient: the factor is then
    multiplied with the score of the draws, though it holds for whatever is drawn.

    It is for guides that sample everything that ``z`` hangs on: of a mixture whose component is
    summed out by the model, the closed form would be that of another bound.
    """

    site = "z"

    def fits(self, model: Model, guide: Guide) -> bool:
        """Whether the guide samples all that ``z`` hangs on."""
        return {latent.name for latent in model.latents} == set(guide.sites)

    def _in_guide(self, message: dict[str, Any]) -> None:
        message["scale"] = message["scale"] * 0.0  # drawn as before, without a density

    def _in_model(self, message: dict[str, Any]) -> None:
        message["fn"] = _MinusDivergence(self.posterior, message["fn"])


class _MinusDivergence(TorchDistribution):
    """What stands for a prior whose log-density is replaced by ``-KL(posterior || prior)``."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch declares it so)

    def __init__(self, posterior: Any, prior: Any) -> None:
        self.divergence = kl_divergence(posterior, prior)
        super().__init__(self.divergence.shape, prior.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:  # noqa: ARG002
        """Minus the divergence, whatever the value."""
        return -self.divergence
