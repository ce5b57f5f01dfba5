"""The base class of guides whose q(z | x) has means and standard deviations in closed form."""

from __future__ import annotations

import abc

from torch import Tensor

from vae4counts.guides.base import Guide, IncompatiblePairError
from vae4counts.models.base import Model


class GaussianGuide(Guide, abc.ABC):
    """A guide whose q(z | x) has means and standard deviations in closed form.

    So a prior can be made of it, such as `VampPrior`.
    """

    @abc.abstractmethod
    def posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations of q(z | x), each ``(B, L)``.

        Args:
            counts: CSR or dense, shape ``(B, G)``: of the features of all tables.
        """

    def attach(self, model: Model) -> None:
        """See `Guide.attach`: give q(z | x) to a prior that is made of it, such as `VampPrior`.

        Raises:
            IncompatiblePairError: It is, and the guide sees covariates, which its pseudo-inputs do
                not have.
        """
        mixture = model.mixture_prior
        needed = mixture is not None and mixture.needs_posterior
        if needed and self.covariates:
            raise IncompatiblePairError(
                f"{model.title} is made of the guide's q(z | x) at counts alone: give it a guide "
                "whose encoder sees no covariates"
            )
        model.share_posterior(self.settled_posterior)

    def settled_posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return `posterior` in evaluation mode: without dropout and by the running moments.

        A prior that is made of it is then one density for all observations of a batch.
        """
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            return self.posterior(counts)
        finally:
            for module, training in modes:
                module.training = training
