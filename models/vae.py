"""Variational autoencoders for counts: the generative half."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from vae4counts.data.counts.batch import COUNTS
from vae4counts.models.covariates import Covariates
from vae4counts.models.labels import Labels
from vae4counts.models.library import Library
from vae4counts.models.likelihoods import Likelihood, NegativeBinomial, Poisson
from vae4counts.models.modality import Modality
from vae4counts.models.multi import MultiVAE, check_kinds
from vae4counts.models.priors import Prior, StandardNormal


class VAE(MultiVAE):
    r"""A variational autoencoder for counts: a `MultiVAE` of one table, ``"counts"``.

    .. math:: z \sim p(z), \qquad
              x \mid z \sim \mathrm{likelihood}(\mathrm{decoder}(z, c), \mathrm{library})

    with the covariates ``c`` of each observation, if there are any.

    With its defaults it is scVI's model (Lopez et al. 2018) with an observed library size; with
    ``decoder="linear"``, LDVAE (Svensson et al. 2020); with a `GaussianMixture` prior, scVAE's
    GMVAE (Grønbech et al. 2020); with a `TopicPrior`, a topic model (Srivastava & Sutton 2017).

    Args:
        n_features: Number ``G`` of features.
        prior: p(z). `StandardNormal` if None; with labels a `GaussianMixture` of a component for
            each class.
        likelihood: p(x | outputs, library). `NegativeBinomial` with a dispersion per feature if
            None.
        decoder: See `Modality`.
        library: See `Modality`. "default" is that of the class: "latent" for `CountVAE`, else that
            of `Modality`.
        covariates: See `MultiVAE`.
        labels: See `MultiVAE`.

    Raises:
        ValueError: As `Modality` and `MultiVAE`.
    """

    # the defaults of a subclass
    default_prior: ClassVar[type[Prior]] = StandardNormal
    default_likelihood: ClassVar[type[Likelihood]] = NegativeBinomial
    default_library: ClassVar[str] = "default"
    needs_mixture: ClassVar[bool] = False

    def __init__(
        self,
        n_features: int,
        prior: Prior | None = None,
        likelihood: Likelihood | None = None,
        decoder: str | nn.Module | None = None,
        library: str | Library | None = "default",
        covariates: Covariates | None = None,
        labels: Labels | None = None,
    ) -> None:
        check_kinds(prior=(prior, Prior), likelihood=(likelihood, Likelihood))
        if prior is None and labels is None:
            prior = self.default_prior()
        if self.needs_mixture and prior is not None and prior.mixture is None:
            raise ValueError(
                f"a {type(self).__name__} needs a mixture prior, not {type(prior).__name__}"
            )
        if likelihood is None:
            likelihood = self.default_likelihood()
        if library == "default" and likelihood.support.counts:
            library = self.default_library
        counts = Modality(n_features, likelihood, decoder, library)
        super().__init__({COUNTS: counts}, prior, covariates, labels)

    @property
    def counts(self) -> Modality:
        """The only modality."""
        return self._modalities[COUNTS]

    @property
    def likelihood(self) -> Likelihood:
        """p(x | outputs, library)."""
        return self.counts.likelihood

    @property
    def decoder(self) -> nn.Module:
        """The decoder."""
        return self.counts.decoder

    @property
    def library(self) -> Library:
        """The library size."""
        return self.counts.library


class CountVAE(VAE):
    """The seed project's variant: Poisson counts and a latent library size by default."""

    default_likelihood = Poisson
    default_library = "latent"
