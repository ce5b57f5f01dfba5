"""Variational autoencoders for counts: the generative half."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import pyro
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import COUNTS, Batch
from vae4counts.models.base import Latent, Model, Posterior, observations
from vae4counts.models.covariates import At, Covariates
from vae4counts.models.labels import Labels
from vae4counts.models.library import LIBRARIES, Library
from vae4counts.models.likelihoods import Likelihood, NegativeBinomial, Poisson
from vae4counts.models.networks import DECODERS, Decoder
from vae4counts.models.priors import GaussianMixture, MixturePrior, Prior, StandardNormal

EXAMPLES = {
    "prior": "GaussianMixture(n_latent=10)",
    "likelihood": "NegativeBinomial()",
    "covariates": "Covariates.of(adata, ['batch'])",
    "labels": "Labels.of(adata, 'cell_type')",
}


class VAE(Model):
    r"""A variational autoencoder for counts.

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
        decoder: "mlp", "linear", "topics", a `Decoder`, or any module that maps ``(*batch, L)`` to
            ``(*batch, likelihood.outputs_per_feature * G)``. With covariates its input is
            ``(*batch, L + C)``, the design beside ``z``. The one that goes with the prior if None:
            "topics" for a `TopicPrior`, "mlp" for the others.
        library: "observed", "latent" (log-normal, fitted to the data), or None for a decoder
            that gives the expected counts without a library size; or a `Library`. "default" is
            that of the class: "observed", and "latent" for `CountVAE`.
        covariates: What is known about each observation, see `Covariates.of`; of which the model
            makes its own copy. None for none.
        labels: Classes that are known of some observations, see `Labels.of`: the components of a
            mixture prior, of which there may be more. None for none.

    Raises:
        ValueError: An unknown name, a decoder of the wrong output size, a likelihood that is
            conditioned on the total with a library size that is not observed, or labels without a
            prior that has a component for each class.
    """

    # the defaults of a subclass
    default_prior: ClassVar[type[Prior]] = StandardNormal
    default_likelihood: ClassVar[type[Likelihood]] = NegativeBinomial
    default_library: ClassVar[str] = "observed"
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
        super().__init__()
        for name, part, kind in (
            ("prior", prior, Prior),
            ("likelihood", likelihood, Likelihood),
            ("covariates", covariates, Covariates),
            ("labels", labels, Labels),
        ):
            if part is not None and not isinstance(part, kind):
                raise ValueError(f"{name} is {part!r}: give an object such as {EXAMPLES[name]}")
        self.n_features = n_features
        if covariates is not None:
            self.covariates = covariates.anew()
        self.labels = labels
        if prior is None and labels is not None:
            prior = GaussianMixture(n_components=len(labels.classes))
        self.prior = self.default_prior() if prior is None else prior
        if self.needs_mixture and self.prior.mixture is None:
            raise ValueError(
                f"a {type(self).__name__} needs a mixture prior, not {type(self.prior).__name__}"
            )
        if labels is not None:
            self._check_labels(labels)
        self.prior.build(n_features)
        self.likelihood = self.default_likelihood() if likelihood is None else likelihood
        self.likelihood.build(n_features, self.covariates.n_levels)
        self.numbers_per_draw = self.likelihood.outputs_per_feature * n_features
        self.decoder = self._make_decoder(decoder)
        self.library = self._make_library(library)
        self.n_latent = self.prior.n_latent
        self.rotation_invariant = self.prior.rotation_invariant
        self.given_library = self.library.given
        self.given_total = self.likelihood.library_is_total
        self.scales_with_library = self.library.scales
        self.lumped_from = self.likelihood.lumped_from

    def forward(self, batch: Batch) -> Tensor:
        """See `Model.forward`."""
        self.prior.hyperprior()
        with observations(batch):
            library = self.library(batch)
            with self._known_components(batch):
                z = self.prior()
            outputs = self.decoder(self.covariates.beside(z, batch.covariates))
            counts = self.likelihood.given(batch.covariates)(outputs, library)
            return pyro.sample(COUNTS, counts, obs=batch.counts)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start the decoder at the mean counts, or at whatever `Decoder.start` chooses."""
        if isinstance(self.decoder, Decoder):
            self.decoder.start(batch, self._initial_outputs)

    @property
    def latents(self) -> Sequence[Latent]:
        """See `Model.latents`."""
        return (*self.library.latents, *self.prior.latents)

    @property
    def title(self) -> str:
        """See `Model.title`."""
        return f"{type(self).__name__} with {type(self.prior).__name__}"

    def state_probabilities(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Model.state_probabilities`: counts depend on the component through ``z`` alone."""
        mixture = self.prior.mixture
        return {} if mixture is None else {"component": mixture.responsibilities(latents["z"])}

    @property
    def mixture_prior(self) -> MixturePrior | None:
        """See `Model.mixture_prior`."""
        return self.prior.mixture

    def rates(self, z: Tensor, library: Tensor | float | None, at: At | None = None) -> Tensor:
        """Return ``library * softmax(decoder(z))``, or ``exp(decoder(z))`` without a library size.

        A zero-inflated likelihood gives the rates of its base, without the extra zeros, as in scVI
        (Lopez et al. 2018); a likelihood without rates (a categorical one) gives its mean. See
        `Model.rates`.
        """
        if not self.library.scales:
            library = None
        elif not isinstance(library, Tensor) and library is not None:
            library = z.new_full((*z.shape[:-1], 1), library)
        return self.averaged(z, at, lambda likelihood, outputs: likelihood.rates(outputs, library))

    def averaged(
        self, z: Tensor, at: At | None, of: Callable[[Likelihood, Tensor], Tensor]
    ) -> Tensor:
        """Average a function of the likelihood and the decoder's outputs over covariates.

        Args:
            z: Latents, shape ``(*batch, L)``.
            at: Values at which covariates are held, see `Covariates.held`.
            of: The function.
        """
        total = torch.zeros(())
        for share, columns in self.covariates.held(at, z.device):
            outputs = self.decoder(self.covariates.beside(z, columns))
            total = total + share * of(self.likelihood.given(columns), outputs)
        return total

    def loadings(self) -> Tensor | None:
        """See `Model.loadings`.

        Each column is centred in a model with a library size, where adding a constant to all
        features changes nothing.
        """
        weight = self.decoder.loadings() if isinstance(self.decoder, Decoder) else None
        if weight is None or not self.likelihood.reads_rates:
            return None
        weight = weight[: self.n_features].detach().clone()
        return weight - weight.mean(0) if self.library.scales else weight

    def pure_topics(self) -> Tensor | None:
        """See `Model.pure_topics`: those of a `TopicDecoder`."""
        return self.decoder.pure_topics() if isinstance(self.decoder, Decoder) else None

    def topic_shares(self, z: Tensor) -> Tensor:
        """See `Model.topic_shares`."""
        if not isinstance(self.decoder, Decoder) or self.pure_topics() is None:
            return super().topic_shares(z)
        return self.decoder.topic_shares(z, self.n_features)

    @property
    def flips(self) -> bool:
        """See `Model.flips`: for a linear decoder and a prior that can flip."""
        return self.loadings() is not None and self.prior.flips

    def flip(self, signs: Tensor) -> None:
        """See `Model.flip`."""
        if not isinstance(self.decoder, Decoder) or not self.flips:
            super().flip(signs)
        else:
            self.decoder.flip(signs)
            self.prior.flip(signs)

    def plain_twin(self) -> VAE | None:
        """See `Model.plain_twin`: the same model with a simpler prior, if this one asks for it."""
        plain = self.prior.plain()
        return None if plain is None else self.with_prior(plain)

    def start_from_latents(self, z: Tensor, seed: int, known: Tensor | None = None) -> None:
        """See `Model.start_from_latents`."""
        if known is None:
            self.prior.start_from_latents(z, seed)
        else:
            self.prior.start_at_classes(z, seed, known)

    def share_posterior(self, posterior: Posterior) -> None:
        """See `Model.share_posterior`."""
        self.prior.share_posterior(posterior)

    def with_prior(self, prior: Prior) -> VAE:
        """Return the same model with another prior, sharing all other parameters."""
        twin = copy.copy(self)
        twin._modules = {**self._modules, "prior": prior}
        twin.rotation_invariant = prior.rotation_invariant
        return twin

    def _initial_outputs(self, mean: Tensor) -> Tensor:
        """Return decoder outputs that give mean counts, shape ``(G,)``, all made positive."""
        smoothed = mean + 0.1 * mean.mean().clamp_min(1e-3) / self.n_features
        return self.likelihood.initial_outputs(smoothed)

    def _known_components(self, batch: Batch) -> AbstractContextManager[object]:
        return nullcontext() if self.labels is None else self.labels.given(batch.covariates)

    def _check_labels(self, labels: Labels) -> None:
        mixture, n = self.prior.mixture, len(labels.classes)
        if mixture is None:
            raise ValueError(
                f"labels need a mixture prior, whose components are the classes, not "
                f"{type(self.prior).__name__}"
            )
        if mixture.n_components < max(n, 2):
            raise ValueError(
                f"n_components is {mixture.n_components}, but there must be 2 or more, and one for "
                f"each of {n} classes of {labels.column!r}: {', '.join(labels.classes)}"
            )
        if labels.column in self.covariates.names:
            raise ValueError(
                f"{labels.column!r} is a covariate and the label: a covariate is always known"
            )

    def _make_decoder(self, decoder: str | nn.Module | None) -> nn.Module:
        decoder = self.prior.default_decoder if decoder is None else decoder
        n_latent = self.prior.n_latent
        n_outputs = self.numbers_per_draw
        if isinstance(decoder, str):
            if decoder not in DECODERS:
                raise ValueError(f"decoder is {decoder!r}: it must be one of {', '.join(DECODERS)}")
            decoder = DECODERS[decoder]()
        if isinstance(decoder, Decoder):
            decoder.build(n_latent, n_outputs, self.covariates.width)
            return decoder
        with torch.no_grad():
            given = decoder(torch.zeros(2, n_latent + self.covariates.width)).shape[-1]
        if given != n_outputs:
            raise ValueError(
                f"the decoder gives {given} outputs: {type(self.likelihood).__name__} needs "
                f"{self.likelihood.outputs_per_feature} for each of {self.n_features} features"
            )
        return decoder

    def _make_library(self, library: str | Library | None) -> Library:
        if library == "default":
            library = self.default_library
        if not isinstance(library, Library):
            if library not in LIBRARIES:
                raise ValueError(f"library is {library!r}: it must be 'observed', 'latent' or None")
            library = LIBRARIES[library]()
        if self.likelihood.library_is_total and not library.given:
            raise ValueError(
                f"{type(self.likelihood).__name__} models counts given their total: "
                "it needs library='observed'"
            )
        library.build(self.covariates.n_levels)
        return library


class CountVAE(VAE):
    """The seed project's variant: Poisson counts and a latent library size by default."""

    default_likelihood = Poisson
    default_library = "latent"
