"""The guide of several tables: a product of experts, one for each modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch, Table, spread
from vae4counts.guides.base import sampled_sites
from vae4counts.guides.encoder import Encoder
from vae4counts.guides.gaussian import GaussianGuide
from vae4counts.guides.heads import GaussianHead, LibraryHead
from vae4counts.models.base import Model, observations
from vae4counts.models.config import Configured
from vae4counts.models.covariates import Columns, Covariates
from vae4counts.models.library import LatentLibrary, library_site

EXPERTS = "experts"
"""The key of the `Opinions` in what `ProductGuide` says of its site ``"z"``."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """A Gaussian in natural parameters, as a factor of a product; of no weight where it is zero.

    Attributes:
        precision: ``1 / s^2``, shape ``(B, L)``.
        shift: ``m / s^2``, shape ``(B, L)``.
        present: Which observations it is about, shape ``(B,)``; None for all.
    """

    precision: Tensor
    shift: Tensor
    present: Tensor | None = None

    def only(self, rows: Tensor) -> Opinion:
        """Return the opinion about some observations, none about the others.

        Args:
            rows: Which, shape ``(B,)``, of truth values.
        """
        kept = rows.unsqueeze(-1)
        return Opinion(self.precision * kept, self.shift * kept, rows)


@dataclass(frozen=True, slots=True)
class Opinions:
    """What the experts of a `ProductGuide` say of a batch.

    Attributes:
        prior: What is said of an observation without any modality.
        tables: The opinions by the tables that they are read off.
        together: What is said, beyond these, of an observation that has all modalities; None if
            the batch does not hold all.
        features: What the opinions are read off, by table, shape ``(B, H)`` each.
    """

    prior: Opinion
    tables: Mapping[str, Opinion]
    together: Opinion | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)

    def posterior(self, names: Iterable[str] | None = None) -> dist.Normal:
        """Return q(z | some tables), of batch shape ``(B, L)``; given all of them if None."""
        if names is not None:
            return product([self.prior, *(self.tables[name] for name in names)])
        further = [] if self.together is None else [self.together]
        return product([self.prior, *self.tables.values(), *further])


def product(opinions: Iterable[Opinion]) -> dist.Normal:
    """Return the normalised product of Gaussians, one at least of which has weight everywhere."""
    precision, shift = torch.zeros(()), torch.zeros(())
    for each in opinions:
        precision, shift = precision + each.precision, shift + each.shift
    return dist.Normal(shift / precision, precision.rsqrt())


class Expert(Configured, nn.Module):
    """What one modality says of the latents: an encoder and a Gaussian head.

    Args:
        n_features: Number ``G`` of features.
        encoder: The encoder. `Encoder` with its defaults if None.
        latent_library: Whether the modality's library size is latent.
    """

    def __init__(
        self, n_features: int, encoder: Encoder | None = None, latent_library: bool = False
    ) -> None:
        super().__init__()
        self.n_features, self.latent_library = n_features, latent_library
        self.encoder = Encoder() if encoder is None else encoder

    def build(self, name: str, n_latent: int) -> None:
        """Make the layers. Called once, by the guide.

        Args:
            name: The table that it reads.
            n_latent: Dimension ``L`` of the latents.

        Raises:
            ValueError: The expert is part of another guide.
        """
        self.claim()
        self.name = name
        self.encoder.build(self.n_features)
        width = self.encoder.hidden[-1]
        self.head = GaussianHead(width, n_latent)
        self.library_head = LibraryHead(width) if self.latent_library else None

    def own_part(self, batch: Batch) -> Batch:
        """See `Configured.own_part`: the observations that have this modality."""
        return batch.of_table(self.name)

    def forward(self, batch: Batch) -> tuple[Tensor, Opinion]:
        """Return features of a batch, ``(B, H)``, and the Gaussians that are read off them.

        Where this modality is absent, features and the weight of the Gaussian are zero.
        """
        own, rows = batch.of_table(self.name), batch.tables[self.name].rows
        features = self.encoder(own.counts, own.covariates)
        opinion = opinion_of(self.head, features)
        if rows is None:
            return features, opinion
        features, precision, shift = (
            spread(part, rows, len(batch)) for part in (features, opinion.precision, opinion.shift)
        )
        present = batch.tables[self.name].present(len(batch))
        return features, Opinion(precision, shift, present)

    def library(
        self, features: Tensor | None, batch: Batch, prior: LatentLibrary
    ) -> dist.TorchDistribution:
        """Return q(library size | this modality), of batch shape ``(B,)``.

        Where this modality is absent it is the prior, which is then the posterior too.

        Args:
            features: What `forward` returns; None if no observation has this modality.
            batch: The observations.
            prior: The model's latent library size.
        """
        head = cast(LibraryHead, self.library_head)
        table = batch.tables.get(self.name)
        if features is None or table is None:
            return dist.LogNormal(*(part.expand(len(batch)) for part in prior.log_moments(batch)))
        totals = cast(Tensor, table.library)
        if table.rows is None:
            return dist.LogNormal(*head.log_moments(features, totals))
        rows, prior_moments = table.rows, prior.log_moments(batch)
        own = head.log_moments(features[rows], totals)
        return dist.LogNormal(
            *(
                whole.expand(len(batch)).index_copy(0, rows, part)
                for whole, part in zip(prior_moments, own, strict=True)
            )
        )


def opinion_of(head: GaussianHead, features: Tensor) -> Opinion:
    """Return Gaussians that are read off features ``(B, H)``, in natural parameters."""
    loc, scale = head(features)
    precision = scale.pow(-2)
    return Opinion(precision, loc * precision)


class ProductGuide(GaussianGuide):
    r"""A product of Gaussian experts, one for each modality (Wu & Goodman 2018).

    .. math:: q(z \mid x) \propto N(z; 0, \sigma^2) \prod_m N(z; \mu_m(x_m), \sigma_m(x_m)^2)

    over the modalities that an observation has, so that any subset of them can be encoded. The
    first factor, with a learnt ``sigma`` for each latent, is all that is left without any. A
    mixture's component is summed out, as by `AmortisedGuide`. A latent library size is read off
    the expert of its table alone, and has the model's prior where an observation lacks the table.

    Args:
        experts: The experts by the names of the tables that they read.
        n_latent: Dimension ``L`` of the latents.

    Raises:
        ValueError: There is no expert, or they see different covariates.
    """

    def __init__(self, experts: Mapping[str, Expert], n_latent: int) -> None:
        super().__init__()
        if not experts:
            raise ValueError("there is no expert: name one or more")
        seen = {tuple(each.encoder.covariates.names) for each in experts.values()} - {()}
        if len(seen) > 1:
            listed = " and ".join(", ".join(names) for names in sorted(seen))
            raise ValueError(
                f"the experts see different covariates ({listed}): give all encoders the same"
            )
        self.n_latent = n_latent
        self.experts = nn.ModuleDict(dict(experts))
        for name, expert in self._experts.items():
            expert.build(name, n_latent)
        self.log_precision = nn.Parameter(torch.zeros(n_latent))
        widths = [expert.encoder.hidden[-1] for expert in self._experts.values()]
        self.together = GaussianHead(sum(widths), n_latent) if len(widths) > 1 else None
        # the model's, in a dictionary, so that they are not registered as modules of the guide too
        self._libraries: Mapping[str, LatentLibrary] = {}

    @classmethod
    def fits(cls, model: Model) -> bool:
        """See `Guide.fits`: a model of several tables that leaves ``z``, maybe library sizes."""
        has_one = model.n_latent is not None and len(model.tables) > 1
        libraries = model.latent_libraries.values()
        sites = {"z", *(own.site for own in libraries if isinstance(own, LatentLibrary))}
        return has_one and sampled_sites(model) == sites

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> ProductGuide:
        """See `Guide.for_model`: each expert's encoder has the given one's settings.

        Without one, each table's values are scaled as suits them.
        """
        inputs = model.encoder_inputs
        experts = {
            name: Expert(
                size,
                (encoder or Encoder()).anew().suited_to(inputs[name]),
                latent_library=name in model.latent_libraries,
            )
            for name, size in model.table_sizes.items()
        }
        return cls(experts, cast(int, model.n_latent))

    @property
    def sites(self) -> Sequence[str]:
        """See `Guide.sites`."""
        return (*map(library_site, self._with_library), "z")

    def attach(self, model: Model) -> None:
        """See `Guide.attach`: take the priors of latent library sizes as well."""
        super().attach(model)
        self._libraries = cast(dict[str, LatentLibrary], dict(model.latent_libraries))

    @property
    def covariates(self) -> Covariates:
        """See `Guide.covariates`: those of the first encoder that sees any."""
        seen = (expert.encoder.covariates for expert in self._experts.values())
        return next(filter(bool, seen), Covariates())

    def learn_covariates(self, columns: Columns) -> None:
        """See `Guide.learn_covariates`: each encoder has its own copy."""
        for expert in self._experts.values():
            expert.encoder.covariates.learn(columns)

    def made_for(self, model: Model) -> Iterable[tuple[str, object, object]]:
        """See `Guide.made_for`."""
        sizes = {name: expert.n_features for name, expert in self._experts.items()}
        yield "n_features", sizes, dict(model.table_sizes)
        yield "n_latent", self.n_latent, model.n_latent
        yield "latent_library", list(self._with_library), list(model.latent_libraries)

    def posterior(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """See `GaussianGuide.posterior`."""
        parts = counts.split([expert.n_features for expert in self._experts.values()], -1)
        tables = dict(zip(self._experts, map(Table, parts), strict=True))
        nothing = torch.arange(len(counts), device=counts.device)
        z = self.opinions(Batch(tables, nothing, len(counts))).posterior()
        return z.loc, z.scale

    @property
    def flips(self) -> bool:
        """See `Guide.flips`."""
        return True

    def flip(self, signs: Tensor) -> None:
        """See `Guide.flip`."""
        for expert in self._experts.values():
            expert.head.flip(signs)
        if self.together is not None:
            self.together.flip(signs)

    def forward(self, batch: Batch) -> Tensor:
        """See `Guide.forward`. Tables that the batch does not hold are left out.

        Raises:
            RuntimeError: A library size is latent, of which no model has shared the prior yet.
        """
        found = self.opinions(batch)
        libraries = self._library_posteriors(found, batch)
        # for what trains the experts on subsets of the modalities
        infer: Any = {EXPERTS: found}
        with observations(batch):
            for name, library in libraries.items():
                pyro.sample(library_site(name), library)
            return pyro.sample("z", found.posterior().to_event(1), infer=infer)

    def opinions(self, batch: Batch) -> Opinions:
        """Return what the experts say of a batch."""
        said = {name: expert(batch) for name, expert in self._experts.items() if batch.holds(name)}
        tables = {name: opinion for name, (_, opinion) in said.items()}
        features = {name: own for name, (own, _) in said.items()}
        prior = self.prior_opinion(len(batch))
        if self.together is None or len(said) < len(self._experts):
            return Opinions(prior, tables, features=features)
        together = opinion_of(self.together, torch.cat(list(features.values()), -1))
        present = [each.present for each in tables.values() if each.present is not None]
        if present:
            together = together.only(torch.stack(present).all(0))
        return Opinions(prior, tables, together, features)

    def prior_opinion(self, n: int) -> Opinion:
        """Return what is said of ``n`` observations without any modality."""
        precision = self.log_precision.exp().expand(n, -1)
        return Opinion(precision, torch.zeros_like(precision))

    def _library_posteriors(
        self, found: Opinions, batch: Batch
    ) -> dict[str, dist.TorchDistribution]:
        """The distribution of each library size that is latent, by table."""
        if self._with_library.keys() - self._libraries:
            raise RuntimeError(
                "the guide does not know the priors of library sizes yet: make it with "
                "guide_for(model), or call guide.attach(model) first"
            )
        return {
            name: expert.library(found.features.get(name), batch, self._libraries[name])
            for name, expert in self._with_library.items()
        }

    @property
    def _with_library(self) -> Mapping[str, Expert]:
        """The experts of the tables whose library size is latent."""
        return {name: expert for name, expert in self._experts.items() if expert.latent_library}

    @property
    def _experts(self) -> Mapping[str, Expert]:
        return cast(Mapping[str, Expert], self.experts)
