r"""Effect handlers for guides that sample the component, as `JointGuide` does.

Its objective is, for each observation,

.. math:: \sum_y q(y | x) \, E_{q(z | x, y)} [\log p(x | z) + \log p(z | y) - \log q(z | x, y)]
          - KL(q(y | x) \,\|\, p(y)),

and it fails if ``q(y | x)`` no longer depends on ``x`` (the last term is smallest then) or leaves
out components.
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
    """A handler that meets a site twice per step: first in the guide, then in the model."""

    needs = "guides that sample the component, guide_for(model, 'joint')"
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
        """Handle the guide's site; nothing unless overridden."""

    def _in_model(self, message: dict[str, Any]) -> None:
        """Handle the model's site; nothing unless overridden."""


class FreeNats(_PairOfSites):
    """Free nats for the divergence of ``q(component | x)`` from the prior.

    ``KL(q(y | x) || p(y))``, averaged over a batch, counts only above a threshold (Kingma et al.
    2016): below it has no gradient, so that training does not begin by making ``y`` independent of
    ``x``. There the posterior takes the place of ``p(y)``, and the term is 0.

    Args:
        nats: The threshold in nats, above 0; the divergence is at most ``log K`` on average.

    Raises:
        ValueError: ``nats`` is not above 0.
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
    r"""A penalty that draws the batch's mean of ``q(component | x)`` towards equal shares.

    Adds ``weight * KL(mean_i q(y | x_i) || uniform)`` for each observation to minus the ELBO. The
    objective is then no longer a bound on the evidence: keep the weight small.

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
    r"""The KL term of ``z`` in closed form instead of from the draw of ``z``.

    ``log p(z | y) - log q(z | x, y)`` is replaced by its expectation over ``z``,
    ``-KL(q(z | x, y) || p(z | y))``, one for each component that the guide enumerates. The loss
    is the same in expectation, with less noise. Written as
    ``pyro.factor(..., has_rsample=False)`` it has the same loss but a wrong gradient: the factor is
    then multiplied by the score of the draws, although it does not depend on them.

    It is for guides that sample everything that ``z`` depends on: where the model sums the
    component of a mixture out, the closed form would be that of another bound.
    """

    site = "z"

    def fits(self, model: Model, guide: Guide) -> bool:
        """Whether the guide samples ``z`` and everything that it depends on."""
        return "z" in guide.sites and {site.name for site in model.latents} == set(guide.sites)

    def _in_guide(self, message: dict[str, Any]) -> None:
        message["scale"] = message["scale"] * 0.0  # drawn as before, without a density

    def _in_model(self, message: dict[str, Any]) -> None:
        message["fn"] = _MinusDivergence(self.posterior, message["fn"])


class _MinusDivergence(TorchDistribution):
    """A prior whose log-density is replaced by ``-KL(posterior || prior)``."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch declares it so)

    def __init__(self, posterior: Any, prior: Any) -> None:
        self.divergence = kl_divergence(posterior, prior)
        super().__init__(self.divergence.shape, prior.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:  # noqa: ARG002
        """Return minus the divergence, whatever the value."""
        return -self.divergence
