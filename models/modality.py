"""One table of a model: its likelihood, decoder and library size."""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch, spread
from vae4counts.models.config import Configured
from vae4counts.models.covariates import Columns, Covariates
from vae4counts.models.library import LIBRARIES, LIBRARY, Library
from vae4counts.models.likelihoods import Likelihood, NegativeBinomial
from vae4counts.models.networks import DECODERS, Decoder
from vae4counts.models.priors import Prior
from vae4counts.models.sites import Observed


class Modality(Configured, nn.Module):
    r"""How a model describes one table of its observations.

    .. math:: x \mid z \sim \mathrm{likelihood}(\mathrm{decoder}(z, c), \mathrm{library})

    Observations without this modality are neither decoded nor scored.

    Args:
        n_features: Number ``G`` of features.
        likelihood: p(x | outputs, library). `NegativeBinomial` with a dispersion per feature if
            None.
        decoder: "mlp", "linear", "topics", a `Decoder`, or any module that maps ``(*batch, L)`` to
            ``(*batch, likelihood.outputs_per_feature * G)``. With covariates its input is
            ``(*batch, L + C)``, the design beside ``z``. The one that goes with the prior if None:
            "topics" for a `TopicPrior`, "mlp" for the others.
        library: "observed", "latent" (log-normal, fitted to the data), or None for a decoder
            that gives the expected values without a library size; or a `Library`. By default
            "observed" for counts, None for other values.

    Raises:
        ValueError: An unknown name, a decoder of the wrong output size, or a library size that does
            not go with the likelihood.
    """

    decoder: nn.Module

    def __init__(
        self,
        n_features: int,
        likelihood: Likelihood | None = None,
        decoder: str | nn.Module | None = None,
        library: str | Library | None = "default",
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.likelihood = NegativeBinomial() if likelihood is None else likelihood
        self.register_module("decoder", None if decoder is None else _decoder(decoder))
        self.library = _library(library, self.likelihood)

    def build(
        self, name: str, prior: Prior, covariates: Covariates, library_site: str = LIBRARY
    ) -> None:
        """Make the parameters. Called once, by the model.

        Args:
            name: The table's name, and that of the site that observes it.
            prior: The model's, which a decoder that is not named goes with.
            covariates: The model's.
            library_site: The name of the site of a latent library size.

        Raises:
            ValueError: The modality is part of another model, or the decoder's outputs are not what
                the likelihood needs.
        """
        self.claim()
        self.name, n_latent = name, prior.n_latent
        if self._modules["decoder"] is None:
            self.decoder = _decoder(prior.default_decoder)
        self.likelihood.build(self.n_features, covariates.n_levels)
        self.n_outputs = self.likelihood.outputs_per_feature * self.n_features
        if isinstance(self.decoder, Decoder):
            if self.decoder.needs_counts and not self.likelihood.support.counts:
                raise ValueError(
                    f"a {type(self.decoder).__name__} has parts of counts, which the values of "
                    f"{type(self.likelihood).__name__} are not: use another decoder"
                )
            self.decoder.build(n_latent, self.n_outputs, covariates.width)
        else:
            self._check_outputs(n_latent + covariates.width)
        self.library.claim()
        self.library.site = library_site
        self.library.build(covariates.n_levels)

    @property
    def observed(self) -> Observed:
        """See `Model.observed`."""
        likelihood = self.likelihood
        return Observed(
            holds_counts=likelihood.support.counts,
            given_library=self.library.given,
            given_total=likelihood.library_is_total,
            lumped_from=likelihood.lumped_from,
        )

    def own_part(self, batch: Batch) -> Batch:
        """See `Configured.own_part`: the observations that have this modality."""
        return batch.of_table(self.name)

    def _check_outputs(self, n_inputs: int) -> None:
        with torch.no_grad():
            given = self.decoder(torch.zeros(2, n_inputs)).shape[-1]
        if given != self.n_outputs:
            raise ValueError(
                f"the decoder gives {given} outputs: {type(self.likelihood).__name__} needs "
                f"{self.likelihood.outputs_per_feature} for each of {self.n_features} features"
            )

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start likelihood and decoder at the means of the features: ``z`` explains the rest."""
        outputs = self.likelihood.start(batch.counts)
        if isinstance(self.decoder, Decoder):
            self.decoder.output.bias.copy_(outputs)
            self.decoder.start(batch.counts, self.likelihood.smoothed_outputs)

    def own_sizes(self, batch: Batch) -> Tensor | None:
        """Return library sizes of the observations that have this modality, see `Library.forward`.

        A latent one is sampled for every observation, and for those without this modality too: by
        the prior, which is then all that is known of it.
        """
        table = batch.tables.get(self.name)
        if not self.library.latents:
            return None if table is None else self.library(batch.of_table(self.name))
        sizes = self.library(batch)
        if table is None or table.rows is None:
            return sizes
        return sizes.index_select(-2, table.rows)

    def forward(
        self, z: Tensor, library: Tensor | None, batch: Batch, design: Covariates
    ) -> Tensor:
        """Observe the table given latents, inside the observation plate.

        Args:
            z: Latents, shape ``(*batch, B, L)``.
            library: Library sizes of the observations that have this modality.
            batch: The observations.
            design: The model's covariates.

        Returns:
            The table's values.
        """
        rows = batch.tables[self.name].rows
        own = batch.of_table(self.name)
        inputs = design.beside(z if rows is None else z.index_select(-2, rows), own.covariates)
        given: Any = self.likelihood.given(own.covariates)(self.decoder(inputs), library)
        if rows is not None:
            given = OfRows(given, rows, len(batch))
        return pyro.sample(self.name, given, obs=batch.tables[self.name].values)

    def given_latents(
        self, z: Tensor, library: Tensor | None, columns: Columns, design: Covariates
    ) -> Any:
        """Return the distribution of values at given latents, see `Model.given_latents`.

        Args:
            z: Shape ``(*batch, L)``.
            library: Library sizes, shape ``(*batch, 1)``; ignored by a modality without.
            columns: Values of the covariates, broadcastable to ``(*batch,)``.
            design: The model's covariates.
        """
        outputs = self.decoder(design.beside(z, columns))
        return self.likelihood.given(columns)(outputs, library if self.library.scales else None)

    def rate_scores(
        self, z: Tensor, library: Tensor | None, batch: Batch, design: Covariates
    ) -> Tensor:
        """See `Model.rate_scores`: those of this table's features."""
        unit = self.likelihood.comparable_per_output
        if unit is None:
            return z.new_full((len(batch), self.n_features), torch.nan)
        table, own = batch.tables[self.name], batch.of_table(self.name)
        rows = torch.arange(len(batch), device=z.device) if table.rows is None else table.rows
        size = None if library is None else library[rows]
        with torch.no_grad():
            outputs = self.decoder(design.beside(z[rows], own.covariates))
        with torch.enable_grad():
            outputs.requires_grad_()
            log_p = self.likelihood.given(own.covariates)(outputs, size).log_prob(table.values)
            (scores,) = torch.autograd.grad(log_p.sum(), outputs)
        return spread(scores[:, : self.n_features] / unit, rows, len(batch))

    def flip(self, signs: Tensor) -> None:
        """Multiply the latents by signs, shape ``(L,)``; only for a decoder with loadings."""
        if isinstance(self.decoder, Decoder):
            self.decoder.flip(signs)

    @property
    def turns(self) -> bool:
        """See `Decoder.turns`; not by a decoder that is any other module."""
        return isinstance(self.decoder, Decoder) and self.decoder.turns

    def turn(self, axes: Tensor) -> None:
        """See `Decoder.turn`."""
        if isinstance(self.decoder, Decoder):
            self.decoder.turn(axes)

    def loadings(self) -> Tensor | None:
        """Return the loadings of a linear decoder, ``(G, L)``; None for others.

        Each column is centred where there is a library size: adding a constant to all features
        changes nothing then.
        """
        weight = self.decoder.loadings() if isinstance(self.decoder, Decoder) else None
        if weight is None or not self.likelihood.reads_rates:
            return None
        weight = weight[: self.n_features].detach().clone()
        return weight - weight.mean(0) if self.library.scales else weight


class OfRows(TorchDistribution):
    """A distribution of some rows of a batch, as a site of the plate over all of them.

    The other rows have a log-probability of 0, and draws of them are NaN.

    Args:
        base: The distribution of the rows, of batch shape ``(*batch, R)``.
        rows: Their positions, int64, shape ``(R,)``.
        n_rows: Number ``B`` of all rows.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch declares it so)

    def __init__(self, base: Any, rows: Tensor, n_rows: int) -> None:
        self.base, self.rows = base, rows
        shape = torch.Size((*base.batch_shape[:-1], n_rows))
        super().__init__(shape, base.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """That of the rows."""
        return self.base.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> OfRows:
        """Return the distribution in a larger batch shape."""
        *outer, n_rows = batch_shape
        return OfRows(self.base.expand(torch.Size((*outer, len(self.rows)))), self.rows, n_rows)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each row, in nats, shape ``(*batch, B)``.

        Args:
            value: The values of the ``R`` rows.
        """
        own = self.base.log_prob(value)
        return spread(own, self.rows, self.batch_shape[-1], axis=-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Draw values of all rows, shape ``(*sample_shape, *batch, B, *event)``."""
        own = self.base.sample(sample_shape)
        axis = -1 - len(self.event_shape)
        return spread(own, self.rows, self.batch_shape[-1], axis, fill=torch.nan)


def _decoder(decoder: str | nn.Module) -> nn.Module:
    if not isinstance(decoder, str):
        return decoder
    if decoder not in DECODERS:
        raise ValueError(f"decoder is {decoder!r}: it must be one of {', '.join(DECODERS)}")
    return DECODERS[decoder]()


def _library(library: str | Library | None, likelihood: Likelihood) -> Library:
    if library == "default":
        library = "observed" if likelihood.support.counts else None
    if not isinstance(library, Library):
        if library not in LIBRARIES:
            raise ValueError(f"library is {library!r}: it must be 'observed', 'latent' or None")
        library = LIBRARIES[library]()
    if likelihood.library_is_total and not library.given:
        raise ValueError(
            f"{type(likelihood).__name__} models counts given their total: "
            "it needs library='observed'"
        )
    if library.scales and not likelihood.support.counts:
        raise ValueError(
            f"{type(likelihood).__name__} has values that are not counts and have no total: "
            "it needs library=None"
        )
    return library
