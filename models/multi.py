"""Variational autoencoders of several tables: the generative half."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from vae4counts.data.counts.batch import Batch
from vae4counts.models.base import Model, Posterior, observations
from vae4counts.models.covariates import At, Columns, Covariates
from vae4counts.models.labels import Labels
from vae4counts.models.library import LIBRARY, Library, library_site
from vae4counts.models.modality import Modality
from vae4counts.models.networks import Decoder
from vae4counts.models.priors import GaussianMixture, MixturePrior, Prior, StandardNormal
from vae4counts.models.sites import OBSERVATIONS, Latent, Observed

LATENTS_PER_TABLE = 10
"""Of the priors that are made where none is given: what tables share, and what is their own."""

EXAMPLES = {
    "prior": "GaussianMixture(n_latent=10)",
    "likelihood": "NegativeBinomial()",
    "covariates": "Covariates.of(adata, ['batch'])",
    "labels": "Labels.of(adata, 'cell_type')",
}


class MultiVAE(Model):
    r"""A variational autoencoder of several tables of the same observations.

    .. math:: z \sim p(z), \qquad
              x_m \mid z \sim \mathrm{likelihood}_m(\mathrm{decoder}_m(z, c), \mathrm{library}_m)

    for each modality ``m``, with the covariates ``c`` of each observation, if there are any. One
    ``z``, and one component of a mixture prior, is behind all tables. What an observation does not
    have is left out: it is neither decoded nor scored. (A latent library size of a table that an
    observation lacks has its prior.)

    The features of all tables, one table after the other, are the model's ``G`` features.

    Args:
        modalities: The tables by name, which is that of the site that observes each.
        prior: p(z). `StandardNormal` if None, with 10 latents for each table; with labels a
            `GaussianMixture` of a component for each class.
        covariates: What is known about each observation, see `Covariates.of`; of which the model
            makes its own copy. None for none.
        labels: Classes that are known of some observations, see `Labels.of`: the components of a
            mixture prior, of which there may be more. None for none.

    Raises:
        ValueError: There is no modality, a name that a site cannot have, a prior made of counts
            for other values, or labels without a prior that has a component for each class.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        prior: Prior | None = None,
        covariates: Covariates | None = None,
        labels: Labels | None = None,
    ) -> None:
        super().__init__()
        check_kinds(
            prior=(prior, Prior), covariates=(covariates, Covariates), labels=(labels, Labels)
        )
        _check_names(modalities)
        self.n_features = sum(each.n_features for each in modalities.values())
        if covariates is not None:
            self.covariates = covariates.anew()
        self.labels = labels
        self.prior = _default_prior(len(modalities), labels) if prior is None else prior
        if labels is not None:
            self._check_labels(labels)
        self.prior.build(self.n_features)
        self.modalities = nn.ModuleDict(dict(modalities))
        for name, modality in self._modalities.items():
            site = LIBRARY if len(modalities) == 1 else library_site(name)
            modality.build(name, self.prior, self.covariates, site)
        self._check_sites()
        each = list(self._modalities.values())
        self.numbers_per_draw = sum(modality.n_outputs for modality in each)
        self.n_latent = self.prior.n_latent
        self.rotation_invariant = self.prior.rotation_invariant
        self.holds_counts = all(modality.likelihood.support.counts for modality in each)
        if self.prior.needs_posterior and not self.holds_counts:
            raise ValueError(
                f"a {type(self.prior).__name__} is made of inputs like counts, which not all "
                "values of this model are: use another prior"
            )
        self.given_library = any(modality.library.given for modality in each)
        self.scales_with_library = any(modality.library.scales for modality in each)

    def forward(self, batch: Batch) -> Tensor:
        """See `Model.forward`. Tables that the batch does not hold are left out."""
        self.prior.hyperprior()
        held = {name: modality for name, modality in self._modalities.items() if batch.holds(name)}
        values = torch.zeros(())
        with observations(batch):
            libraries = {name: m.own_sizes(batch) for name, m in self._modalities.items()}
            with self._known_components(batch):
                z = self.prior()
            for name, modality in held.items():
                values = modality(z, libraries[name], batch, self.covariates)
        return values

    @property
    def tables(self) -> Sequence[str]:
        """See `Model.tables`."""
        return tuple(self.modalities)

    @property
    def table_sizes(self) -> Mapping[str, int]:
        """See `Model.table_sizes`."""
        return {name: modality.n_features for name, modality in self._modalities.items()}

    def observed(self, table: str) -> Observed:
        """See `Model.observed`."""
        return self._modalities[table].observed

    @property
    def supports(self) -> Mapping[str, constraints.Constraint]:
        """See `Model.supports`."""
        return {name: each.likelihood.support.constraint for name, each in self._modalities.items()}

    @property
    def encoder_inputs(self) -> Mapping[str, str]:
        """See `Model.encoder_inputs`."""
        return {name: each.likelihood.inputs for name, each in self._modalities.items()}

    @property
    def latents(self) -> Sequence[Latent]:
        """See `Model.latents`."""
        sizes = [latent for each in self._modalities.values() for latent in each.library.latents]
        return (*sizes, *self.prior.latents)

    @property
    def latent_libraries(self) -> Mapping[str, Library]:
        """See `Model.latent_libraries`."""
        each = {name: modality.library for name, modality in self._modalities.items()}
        return {name: own for name, own in each.items() if own.latents}

    @property
    def library_sizes(self) -> Mapping[str, Tensor]:
        """See `Model.library_sizes`."""
        each = self._modalities.items()
        return {name: m.library.typical for name, m in each if m.library.scales}

    @property
    def title(self) -> str:
        """See `Model.title`."""
        return f"{type(self).__name__} with {type(self.prior).__name__}"

    def state_probabilities(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Model.state_probabilities`: tables depend on the component through ``z`` alone."""
        mixture = self.prior.mixture
        return {} if mixture is None else {"component": mixture.responsibilities(latents["z"])}

    @property
    def mixture_prior(self) -> MixturePrior | None:
        """See `Model.mixture_prior`."""
        return self.prior.mixture

    def rates(self, z: Tensor, library: Tensor | float | None, at: At | None = None) -> Tensor:
        """Return ``library * softmax(decoder(z))``, or ``exp(decoder(z))`` without a library size.

        A zero-inflated likelihood gives the rates of its base, without the extra zeros, as in scVI
        (Lopez et al. 2018); a likelihood without rates (a categorical one, or one of values that
        are not counts) gives its mean. See `Model.rates`.
        """
        return self.averaged(
            z, library, at, lambda likelihood, outputs, size: likelihood.rates(outputs, size)
        )

    def comparable(self, means: Tensor, added: Tensor | float = 0.0) -> Tensor:
        """See `Model.comparable` and, for the scale of each table, `Likelihood.comparable`."""
        sizes = list(self.table_sizes.values())
        offsets = torch.as_tensor(added).expand(self.n_features).split(sizes)
        parts = zip(self._modalities.values(), means.split(sizes, -1), offsets, strict=True)
        return torch.cat([each.likelihood.comparable(own, to) for each, own, to in parts], -1)

    def given_latents(self, table: str, z: Tensor, library: Tensor | None, columns: Columns) -> Any:
        """See `Model.given_latents`."""
        return self._modalities[table].given_latents(z, library, columns, self.covariates)

    def rate_scores(self, z: Tensor, library: Tensor | None, batch: Batch) -> Tensor:
        """See `Model.rate_scores`."""
        sizes = self._library_columns(z, library)
        return torch.cat(
            [
                each.rate_scores(z, size, batch, self.covariates)
                for each, size in zip(self._modalities.values(), sizes, strict=True)
            ],
            -1,
        )

    def averaged(
        self,
        z: Tensor,
        library: Tensor | float | None,
        at: At | None,
        of: Callable[[Any, Tensor, Tensor | None], Tensor],
    ) -> Tensor:
        """Average a function of likelihoods and decoders' outputs over covariates.

        Args:
            z: Latents, shape ``(*batch, L)``.
            library: See `Model.rates`.
            at: Values at which covariates are held, see `Covariates.held`.
            of: The function of a likelihood, its outputs and library sizes.

        Returns:
            Those of all tables, one after the other.
        """
        sizes = self._library_columns(z, library)
        total = torch.zeros(())
        for share, columns in self.covariates.held(at, z.device):
            inputs = self.covariates.beside(z, columns)
            parts = [
                of(each.likelihood.given(columns), each.decoder(inputs), size)
                for each, size in zip(self._modalities.values(), sizes, strict=True)
            ]
            total = total + share * (parts[0] if len(parts) == 1 else torch.cat(parts, -1))
        return total

    def loadings(self) -> Tensor | None:
        """See `Model.loadings`.

        Each column is centred in a table with a library size, where adding a constant to all
        features changes nothing.
        """
        parts = [modality.loadings() for modality in self._modalities.values()]
        if any(part is None for part in parts):
            return None
        return torch.cat(cast(list[Tensor], parts))

    def pure_topics(self) -> Tensor | None:
        """See `Model.pure_topics`: those of a `TopicDecoder` of the only table."""
        (decoder, _), *others = self._decoders
        return None if others or decoder is None else decoder.pure_topics()

    def topic_shares(self, z: Tensor) -> Tensor:
        """See `Model.topic_shares`."""
        (decoder, n_features), *_ = self._decoders
        if decoder is None or self.pure_topics() is None:
            return super().topic_shares(z)
        return decoder.topic_shares(z, n_features)

    @property
    def flips(self) -> bool:
        """See `Model.flips`: for linear decoders and a prior that can flip."""
        return self.loadings() is not None and self.prior.flips

    def flip(self, signs: Tensor) -> None:
        """See `Model.flip`."""
        if not self.flips:
            super().flip(signs)
        for modality in self._modalities.values():
            modality.flip(signs)
        self.prior.flip(signs)

    @property
    def turns(self) -> bool:
        """See `Model.turns`: to the prior all axes are alike, and all decoders can turn."""
        return self.rotation_invariant and all(each.turns for each in self._modalities.values())

    def turn(self, axes: Tensor) -> None:
        """See `Model.turn`."""
        if not self.turns:
            super().turn(axes)
        for modality in self._modalities.values():
            modality.turn(axes)

    def plain_twin(self) -> MultiVAE | None:
        """See `Model.plain_twin`: the same model with a simpler prior, if this one asks for it."""
        plain = self.prior.plain()
        return None if plain is None else self.with_prior(plain)

    def groups(self, z: Tensor, seed: int, known: Tensor | None = None) -> Tensor | None:
        """See `Model.groups`: those of the prior."""
        return self.prior.groups(z, seed, known)

    def start_at(self, z: Tensor, shares: Tensor) -> None:
        """See `Model.start_at`."""
        self.prior.start_at(z, shares)

    def share_posterior(self, posterior: Posterior) -> None:
        """See `Model.share_posterior`."""
        self.prior.share_posterior(posterior)

    def with_prior(self, prior: Prior) -> MultiVAE:
        """Return the same model with another prior, sharing all other parameters."""
        twin = copy.copy(self)
        twin._modules = {**self._modules, "prior": prior}
        twin.rotation_invariant = prior.rotation_invariant
        return twin

    @property
    def _modalities(self) -> Mapping[str, Modality]:
        return cast(Mapping[str, Modality], self.modalities)

    @property
    def _decoders(self) -> Sequence[tuple[Decoder | None, int]]:
        """The decoder of each table, None for any other module, and the number of features."""
        return [
            (each.decoder if isinstance(each.decoder, Decoder) else None, each.n_features)
            for each in self._modalities.values()
        ]

    def _library_columns(
        self, z: Tensor, library: Tensor | float | None
    ) -> Sequence[Tensor | None]:
        """The library sizes of each table, ``(*batch, 1)``; None for a table without."""
        scales = [modality.library.scales for modality in self._modalities.values()]
        if library is None:
            return [None] * len(scales)
        if not isinstance(library, Tensor):
            library = z.new_full((*z.shape[:-1], 1), library)
        columns = library.expand(*library.shape[:-1], len(scales)).split(1, -1)
        return [size if has_one else None for size, has_one in zip(columns, scales, strict=True)]

    def _known_components(self, batch: Batch) -> AbstractContextManager[object]:
        return nullcontext() if self.labels is None else self.labels.given(batch.covariates)

    def _check_sites(self) -> None:
        """Check that no latent has the name of a table, or of another latent."""
        taken = set(self.tables)
        for name in (latent.name for latent in self.latents):
            if name in taken:
                raise ValueError(
                    f"two sites of the model are called {name!r}, one of them a latent: rename the "
                    "modality"
                )
            taken.add(name)

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


def check_kinds(**parts: tuple[object, type]) -> None:
    """Check that parts are objects of their kinds, or None.

    Raises:
        ValueError: One is not; the message gives an example.
    """
    for name, (part, kind) in parts.items():
        if part is not None and not isinstance(part, kind):
            raise ValueError(f"{name} is {part!r}: give an object such as {EXAMPLES[name]}")


def _default_prior(n_tables: int, labels: Labels | None) -> Prior:
    n_latent = LATENTS_PER_TABLE * n_tables
    if labels is None:
        return StandardNormal(n_latent)
    return GaussianMixture(n_latent, n_components=len(labels.classes))


def _check_names(modalities: Mapping[str, Modality]) -> None:
    if not modalities:
        raise ValueError("there is no modality: name one or more")
    taken = {"z", "component", "library", "weights", OBSERVATIONS, "samples", "type"}
    taken |= set(dir(nn.ModuleDict()))
    for name, modality in modalities.items():
        if not isinstance(modality, Modality):
            raise ValueError(
                f"modality {name!r} is {modality!r}: give an object such as Modality(2000)"
            )
        if not name or "." in name or name in taken:
            raise ValueError(f"a modality cannot be called {name!r}, which is taken: rename it")
