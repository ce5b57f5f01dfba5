"""The parts of a model and its guide, chosen by name on the command line."""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from vae4counts.data.text import reason_of
from vae4counts.guides.registry import GUIDES
from vae4counts.inference.cli.modality_options import Chosen
from vae4counts.inference.fitting.options import Options, option
from vae4counts.models.joint.registry import JOINT_MODELS
from vae4counts.models.likelihoods.registry import LIKELIHOODS
from vae4counts.models.priors.registry import PRIORS
from vae4counts.models.registry import Registry

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.guides import Guide
    from vae4counts.models import Covariates, Labels, Model
    from vae4counts.models.likelihoods import Likelihood

Part = TypeVar("Part")
LATENT_MODELS: Registry[Any] = Registry(
    "vae4counts.models",
    {"gmvae": "gmvae.GMVAE", "vae": "vae.VAE", "count-mixture": "mixtures.CountMixture"},
)
MODELS: Mapping[str, Any] = ChainMap(JOINT_MODELS, LATENT_MODELS)
NO_LIBRARY = "none"
DEFAULT_LIKELIHOOD = "negative-binomial"
# Sizes by the name of the constructor's argument, where it is not that of the option.
FLAGS = {
    "n_latent": "--latents",
    "n_components": "--components",
    "n_states": "--states",
    "labels": "--known-labels",
    "covariates": "--categorical and --continuous",
    "by": "--dispersion-by",
}


@dataclass(frozen=True)
class PairOptions(Options):
    """The model, its parts and its guide; what is None is left to the part's own default."""

    model: str = option(
        "gmvae",
        "gmvae clusters as it embeds; vae only embeds; count-mixture only clusters, without a "
        "network. The others are joint distributions of the counts, without latents of their own.",
        choices=tuple(MODELS),
    )
    likelihood: str | None = option(
        None,
        "Distribution of the counts; negative-binomial by default.",
        choices=tuple(LIKELIHOODS),
    )
    dispersion_by: str | None = option(
        None,
        "A --categorical column each level of which has a dispersion (and extra zeros) of its own.",
    )
    library: str | None = option(
        None,
        "What is known of each total count: observed, the default of most models, scales the "
        "expected counts; none has the model explain it, as joint distributions do; latent infers "
        "a size.",
        choices=("observed", "latent", NO_LIBRARY),
    )
    decoder: str | None = option(
        None,
        "mlp fits better; linear gives factors with loadings; topics gives parts that are not "
        "negative. By default topics for --prior topics, mlp for the others.",
    )
    prior: str | None = option(
        None,
        "By default gaussian-mixture for gmvae, standard-normal for vae.",
        choices=tuple(PRIORS),
    )
    guide: str | None = option(
        None, "By default the first that fits the model.", choices=tuple(GUIDES)
    )
    latents: int | None = option(
        None,
        "Dimensions of the latent space; by default 10, or 10 for each of several tables.",
        minimum=1,
    )
    components: int | None = option(
        None,
        "Components of the mixture; 10 by default, or as many as there are known labels.",
        minimum=1,
    )
    states: int | None = option(
        None,
        "States of each node of a tree, or of each count: 3 by default for chow-liu and "
        "discrete-flow, 8 for latent-tree.",
        minimum=1,
    )
    known_labels: str | None = option(
        None,
        "Column of obs with classes that are known of some observations, for training (a --label "
        "is not): each is a component of the mixture, and those of the others are predicted. "
        "More --components are for unknown classes.",
    )
    concentration: float | None = option(
        None,
        "Of a Dirichlet prior on the weights of a gaussian-mixture. With 0.1, say, and three "
        "times as many components as you expect, those that the data do not need stay empty.",
    )

    def labels(self, adata: AnnData, ignored: Sequence[str]) -> Labels | None:
        """Return the known labels of data, if a column is named.

        Args:
            adata: The data.
            ignored: Values of the column that are no class.

        Raises:
            DataError: No observation has a label.
            UnknownName: There is no such column.
        """
        from vae4counts.models import Labels

        named = self.known_labels
        return None if named is None else Labels.of(adata, named, ignored)

    def make(
        self, n_features: int, covariates: Covariates | None = None, labels: Labels | None = None
    ) -> tuple[Model, Guide]:
        """Make the model and its guide.

        Args:
            n_features: Number of features.
            covariates: What the model is told about the observations; None for nothing.
            labels: The known `labels` of the data.

        Raises:
            IncompatiblePairError: The guide does not fit the model.
            SettingsError: An option is out of range, or the part that it is for does not take it.
            UnknownName: There is no such part.
        """
        from vae4counts.guides import guide_for

        make_model = _pick("model", self.model, MODELS)
        parts: dict[str, Any] = {
            "decoder": self.decoder,
            "prior": self.prior,
            "covariates": covariates,
            "labels": labels,
        }
        if self.likelihood is not None or self.dispersion_by is not None:
            name = self.likelihood or DEFAULT_LIKELIHOOD
            parts["likelihood"] = self._likelihood(name, _pick("likelihood", name, LIKELIHOODS))
        if "prior" in inspect.signature(make_model).parameters:
            parts["prior"] = self._prior(make_model, labels)
        else:
            parts |= self._sizes(labels)
        parts = _said(parts) | self._library
        model = _make(make_model, f"model {self.model}", parts, n_features, among=MODELS)
        return model, guide_for(model, self.guide)

    def likelihoods(self, modalities: Mapping[str, Chosen]) -> dict[str, type[Likelihood]]:
        """Return the class of each modality's likelihood.

        Raises:
            UnknownName: There is no such likelihood.
        """
        default = self.likelihood or DEFAULT_LIKELIHOOD
        return {
            name: _pick("likelihood", each.likelihood or default, LIKELIHOODS)
            for name, each in modalities.items()
        }

    def make_several(
        self,
        sizes: Mapping[str, int],
        likelihoods: Mapping[str, type[Likelihood]],
        covariates: Covariates | None = None,
        labels: Labels | None = None,
    ) -> tuple[Model, Guide]:
        """Make a model of several tables and its guide.

        Args:
            sizes: Number of features of each table.
            likelihoods: The `likelihoods` of the tables.
            covariates: See `make`.
            labels: See `make`.

        Raises:
            SettingsError: The model is none that can have several tables; and see `make`.
        """
        from vae4counts.guides import guide_for
        from vae4counts.inference import SettingsError
        from vae4counts.models import Modality, MultiVAE
        from vae4counts.models.multi import LATENTS_PER_TABLE

        make_model = _pick("model", self.model, MODELS)
        with_prior = [
            name
            for name, kind in LATENT_MODELS.items()
            if "prior" in inspect.signature(kind).parameters
        ]
        if self.model not in with_prior:
            names = " and ".join(with_prior)
            raise SettingsError(f"the model {self.model} has one table; --modality is for {names}")
        modalities = {}
        for name, n_features in sizes.items():
            kind = likelihoods[name]
            parts: dict[str, Any] = _said({"decoder": self.decoder})
            parts["likelihood"] = self._likelihood(f"of {name}", kind)
            if kind.support.counts:  # other values have no totals
                parts |= self._library
            modalities[name] = _make(
                Modality, f"modality {name}", parts, n_features, among={"modality": Modality}
            )
        parts = _said({"covariates": covariates, "labels": labels})
        sized = replace(self, latents=self.latents or LATENTS_PER_TABLE * len(sizes))
        parts["prior"] = sized._prior(make_model, labels)
        model = _make(MultiVAE, f"model {self.model}", parts, modalities, among=MODELS)
        return model, guide_for(model, self.guide)

    def _likelihood(self, name: str, kind: type[Likelihood]) -> Likelihood:
        by = _said({"by": self.dispersion_by})
        return _make(kind, f"likelihood {name}", by, among=LIKELIHOODS)

    def _prior(self, make_model: Any, labels: Labels | None) -> Any:
        default = make_model.default_prior
        name = self.prior or next(name for name, kind in PRIORS.items() if kind is default)
        if labels is not None and self.prior is None:
            name = "gaussian-mixture"
        make_prior = _pick("prior", name, PRIORS)
        return _make(make_prior, f"prior {name}", _said(self._sizes(labels)), among=PRIORS)

    def _sizes(self, labels: Labels | None) -> dict[str, Any]:
        n_classes = None if labels is None else len(labels.classes)
        return {
            "n_latent": self.latents,
            "n_components": self.components or n_classes,
            "n_states": self.states,
            "concentration": self.concentration,
        }

    @property
    def _library(self) -> dict[str, str | None]:
        if self.library is None:
            return {}
        return {"library": None if self.library == NO_LIBRARY else self.library}


def _pick(what: str, name: str, registry: Mapping[str, Part]) -> Part:
    from vae4counts.data import UnknownName

    if name not in registry:
        raise UnknownName(what, name, registry)
    return registry[name]


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not left to the part's own default."""
    return {name: value for name, value in options.items() if value is not None}


def _make(
    kind: Callable[..., Part],
    what: str,
    given: dict[str, Any],
    *arguments: Any,
    among: Mapping[str, Any],
) -> Part:
    """Call a constructor with the options that were given, all of which it has to take."""
    from vae4counts.inference import SettingsError

    for name in given:
        if name not in inspect.signature(kind).parameters:
            others = [
                other
                for other, known in among.items()
                if name in inspect.signature(known).parameters
            ]
            advice = f": these do: {', '.join(others)}" if others else ""
            raise SettingsError(f"the {what} does not take {FLAGS.get(name, f'--{name}')}{advice}")
    try:
        return kind(*arguments, **given)
    except (ValueError, RuntimeError) as error:  # the latter where there is not enough memory
        raise SettingsError(reason_of(error)) from error
