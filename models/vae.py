"""Variational autoencoders for counts: the generative half."""

from __future__ import annotations

import copy

import pyro
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.base import CountModel, mean_counts, observations
from vae4counts.models.library import LIBRARIES, Library
from vae4counts.models.likelihoods import Likelihood, NegativeBinomial
from vae4counts.models.networks import DECODERS, Decoder
from vae4counts.models.priors import Prior, StandardNormal

EXAMPLES = {"prior": "GaussianMixture(n_latent=10)", "likelihood": "NegativeBinomial()"}


class VAE(CountModel):
    r"""A variational autoencoder for counts.

    .. math:: z \sim p(z), \qquad
              x \mid z \sim \mathrm{likelihood}(\mathrm{decoder}(z), \mathrm{library}).

    With its defaults it is scVI's model (Lopez et al. 2018) with an observed library size; with
    ``decoder="linear"``, LDVAE (Svensson et al. 2020); with a `GaussianMixture` prior, scVAE's
    GMVAE (Grønbech et al. 2020).

    Args:
        n_features: Number ``G`` of features.
        prior: p(z). `StandardNormal` if None.
        likelihood: p(x | outputs, library). `NegativeBinomial` with a dispersion per feature if
            None.
        decoder: "mlp", "linear", a `Decoder`, or any module that maps ``(*batch, L)`` to
            ``(*batch, likelihood.outputs_per_feature * G)``.
        library: "observed", "latent" (log-normal, fitted to the data), or None for a decoder
            that gives the expected counts without a library size; or a `Library`.

    Raises:
        ValueError: An unknown name, a decoder of the wrong output size, or a likelihood given
            the total with a library that is not observed.
    """

    def __init__(
        self,
        n_features: int,
        prior: Prior | None = None,
        likelihood: Likelihood | None = None,
        decoder: str | nn.Module = "mlp",
        library: str | Library | None = "observed",
    ) -> None:
        super().__init__()
        for name, part, kind in (("prior", prior, Prior), ("likelihood", likelihood, Likelihood)):
            if part is not None and not isinstance(part, kind):
                raise ValueError(f"{name} is {part!r}: give an object such as {EXAMPLES[name]}")
        self.n_features = n_features
        self.prior = StandardNormal() if prior is None else prior
        self.prior.build(n_features)
        self.likelihood = NegativeBinomial() if likelihood is None else likelihood
        self.likelihood.build(n_features)
        self.outputs_per_draw = self.likelihood.outputs_per_feature * n_features
        self.decoder = self._make_decoder(decoder)
        self.library = self._make_library(library)

    def forward(self, batch: Batch) -> Tensor:
        """See `CountModel.forward`."""
        self.prior.hyperprior()
        with observations(batch):
            library = self.library(batch)
            z = self.prior()
            counts = self.likelihood(self.decoder(z), library)
            return pyro.sample("counts", counts, obs=batch.counts)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Starts the decoder's bias at the mean counts, so that z explains departures from them."""
        if isinstance(self.decoder, Decoder):
            mean = mean_counts(batch)
            smoothed = mean + 0.1 * mean.mean().clamp_min(1e-3) / self.n_features
            self.decoder.output.bias.copy_(self.likelihood.initial_outputs(smoothed))

    def with_prior(self, prior: Prior) -> VAE:
        """The same model, sharing every other parameter, under another prior of that dimension."""
        twin = copy.copy(self)
        twin._modules = {**self._modules, "prior": prior}
        return twin

    def _make_decoder(self, decoder: str | nn.Module) -> nn.Module:
        n_latent = self.prior.n_latent
        n_outputs = self.outputs_per_draw
        if isinstance(decoder, str):
            if decoder not in DECODERS:
                raise ValueError(f"decoder is {decoder!r}: it must be one of {', '.join(DECODERS)}")
            decoder = DECODERS[decoder]()
        if isinstance(decoder, Decoder):
            decoder.build(n_latent, n_outputs)
            return decoder
        with torch.no_grad():
            given = decoder(torch.zeros(2, n_latent)).shape[-1]
        if given != n_outputs:
            raise ValueError(
                f"the decoder gives {given} outputs: {type(self.likelihood).__name__} needs "
                f"{self.likelihood.outputs_per_feature} for each of {self.n_features} features"
            )
        return decoder

    def _make_library(self, library: str | Library | None) -> Library:
        if not isinstance(library, Library):
            if library not in LIBRARIES:
                raise ValueError(f"library is {library!r}: it must be 'observed', 'latent' or None")
            library = LIBRARIES[library]()
        if self.likelihood.library_is_total and not isinstance(library, LIBRARIES["observed"]):
            raise ValueError(
                f"{type(self.likelihood).__name__} models counts given their total: "
                "it needs library='observed'"
            )
        return library
