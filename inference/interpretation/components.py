"""The components of a mixture, and which features and labels go with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.special import entr

from vae4counts.data import DataError, classes_of
from vae4counts.inference.interpretation.feature_ranking import strongest_features
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.interpretation.prior_draws import (
    component_weights,
    expected_counts,
    prior_draws,
)
from vae4counts.inference.posterior.annotation import assigned
from vae4counts.inference.posterior.diagnosis import latents_and_shares, overlaps
from vae4counts.inference.posterior.stability import component_stability
from vae4counts.models import NotInModelError


def component_table(pair: PairOnData, *, num_samples: int = 10) -> pd.DataFrame:
    """Return how large the components are, by the model and in the data.

    Args:
        pair: A pair and data.
        num_samples: Draws over which responsibilities are averaged.

    Returns:
        A row a component: ``weight`` (its prior probability), ``share`` (mean responsibility),
        ``observations`` (the number of those whose most likely component it is), ``entropy`` (mean
        entropy of their responsibilities, in nats: 0 where all are certain; NaN without any); and
        of components in a latent space ``stability``, how well they are found again in resampled
        latents, from 0 to 1 (see `component_stability`).

    Raises:
        NotInModelError: The model is not a mixture.
    """
    shares = pair.responsibilities(num_samples)
    which = shares.argmax(1)
    numbers = np.bincount(which, minlength=shares.shape[1])
    doubt = np.bincount(which, entr(shares).sum(1), minlength=shares.shape[1])
    table = pd.DataFrame(
        {
            "weight": component_weights(pair).cpu().numpy(),
            "share": shares.mean(0),
            "observations": numbers,
            "entropy": np.divide(
                doubt, numbers, out=np.full(len(numbers), np.nan), where=numbers > 0
            ),
        },
        index=_names(shares.shape[1]),
    )
    if pair.model.n_latent is not None:
        points, of_points = latents_and_shares(pair.model, pair.guide, pair.batches())
        table["stability"] = component_stability(points.cpu().numpy(), of_points.cpu().numpy())
    return table


def component_names(pair: PairOnData, *, n: int = 3, num_samples: int = 256) -> pd.Series:
    """Name each component by the features that it raises most: see `component_contrasts`.

    Those of several tables take turns.

    Args:
        pair: A pair and data.
        n: Number of features in a name.
        num_samples: Draws of the latents from each component.

    Returns:
        A name for each component, such as ``"CD79A, MS4A1, CD74"``; the component's number where
        no feature is raised. Those of a model with labels have the names of its classes.

    Raises:
        NotInModelError: See `component_contrasts`.
    """
    contrasts = component_contrasts(pair, num_samples=num_samples)
    columns = (pair.table_columns(table) for table in pair.model.tables)
    tops = [strongest_features(contrasts.iloc[own], n) for own in columns]
    # the first of each table, then the second: a large one does not hide a small one
    top = pd.concat(tops).sort_values("rank", kind="stable")
    top = top[top["value"] > 0].groupby("component", sort=False).head(n)
    names = top["feature"].astype(str).groupby(top["component"].astype(str)).agg(", ".join)
    numbers = contrasts.columns.to_series()
    names = names.reindex(contrasts.columns).fillna(numbers).rename("name")
    if pair.model.labels is not None:
        classes = pair.model.labels.classes
        names.iloc[: len(classes)] = classes
    return names


def component_overlaps(pair: PairOnData) -> pd.DataFrame:
    """Return how much components overlap: 0 for distant Gaussians, 1 for equal ones (`overlaps`).

    Args:
        pair: A pair and data.

    Returns:
        Components x components, with 1 on the diagonal.

    Raises:
        NotInModelError: The prior of the model is not a mixture of Gaussians.
    """
    prior = pair.model.mixture_prior
    if prior is None:
        raise NotInModelError(f"{pair.model.title} has no components in a latent space")
    with torch.no_grad():
        overlap = overlaps(*prior.components()).cpu().numpy()
    names = _names(len(overlap))
    return pd.DataFrame(overlap, index=names, columns=names)


def by_label(labels: pd.Series, components: pd.Series | pd.Categorical) -> pd.DataFrame:
    """Count observations, labels x components.

    Args:
        labels: A known class for each observation.
        components: The component of each.

    Returns:
        Components in the order of their numbers; labels in that of their main component.
        Observations without a label are left out.

    Raises:
        DataError: Not as many labels as components.
    """
    if len(labels) != len(components):
        raise DataError(f"there are {len(labels)} labels for {len(components)} observations")
    rows = classes_of(labels).reset_index(drop=True)
    numbers = pd.Series(np.asarray(components).astype(int), name="component")
    table = pd.crosstab(rows, numbers).rename(columns=str)
    return table.iloc[np.argsort(table.to_numpy().argmax(axis=1), kind="stable")]


def component_labels(pair: PairOnData, labels: pd.Series, *, num_samples: int = 10) -> pd.DataFrame:
    """Count observations by label and most likely component: see `by_label`."""
    return by_label(labels, assigned(pair.responsibilities(num_samples)))


def component_profiles(
    pair: PairOnData, *, library_size: float = 1e4, num_samples: int = 256
) -> pd.DataFrame:
    """Return expected counts of each feature given the component: ``E[x_j | component, library]``.

    They are means over draws of the other latents from the prior, without any data.

    Args:
        pair: A pair and data.
        library_size: Library size in counts; ignored by a model without.
        num_samples: Draws from each component.

    Returns:
        Features x components.

    Raises:
        NotInModelError: The model is not a mixture of counts.
    """
    means = [
        _mean(pair, k, library_size, num_samples, lambda expected: expected)
        for k in range(len(component_weights(pair)))
    ]
    return _by_feature(pair, means)


def _mean(
    pair: PairOnData,
    component: int,
    library_size: float,
    num_samples: int,
    of: Callable[[torch.Tensor], torch.Tensor],
) -> np.ndarray:
    """Average a function of the expected counts ``(B, G)`` over draws given a component."""
    shape = num_samples, len(pair.model.tables)
    library = torch.full(shape, library_size, device=pair.counts.device)
    latent = {own.site: library_size for own in pair.model.latent_libraries.values()}
    fixed = {"component": component, **latent}
    sums, total = [], 0.0
    for counts, shares in prior_draws(pair, library, fixed):
        sums.append(shares @ of(expected_counts(counts).double()))
        total += shares.sum().item()
    return (torch.stack(sums).sum(0) / total).cpu().numpy()


def _by_feature(pair: PairOnData, columns: Sequence[np.ndarray]) -> pd.DataFrame:
    """A table of features x components."""
    index = pd.Index(pair.features, name="feature")
    return pd.DataFrame(np.stack(columns, axis=1), index=index, columns=_names(len(columns)))


def component_contrasts(pair: PairOnData, *, num_samples: int = 256) -> pd.DataFrame:
    """Return the log2 fold change of each feature in each component against the rest.

    The rest is the weighted mean of the other components' expected counts. The rate of one count
    in all the component's observations together, below which data say nothing, is added to both
    sides, which shrinks changes of rare features towards zero. `component_spreads` tells by how
    much they vary within a component.

    Args:
        pair: A pair and data.
        num_samples: See `component_profiles`.

    Returns:
        Features x components; `strongest_features` lists the top features of each.

    Raises:
        NotInModelError: The model is not a mixture of counts, or has only one component.
    """
    profiles = component_profiles(pair, library_size=1.0, num_samples=num_samples)
    weights = component_weights(pair).cpu().numpy()
    if len(weights) == 1:
        raise NotInModelError("the only component has nothing to be compared with")
    means = profiles.to_numpy()
    contrasts = np.empty_like(means)
    for k, weight in enumerate(weights):
        left = np.delete(weights, k)
        rest = np.delete(means, k, axis=1) @ (left / left.sum())
        one = pair.one_count(np.full(len(pair.counts), weight))
        sides = torch.from_numpy(np.stack([means[:, k], rest]))
        component, others = pair.comparable(sides, one).numpy()
        contrasts[:, k] = component - others
    return pd.DataFrame(contrasts, index=profiles.index, columns=profiles.columns)


def component_spreads(pair: PairOnData, *, num_samples: int = 256) -> pd.DataFrame:
    r"""Return by how much each feature's log2 fold change varies within each component.

    It is the standard deviation over draws of the latents given the component,

    .. math:: \mathrm{sd}_{z \sim p(z \mid k)} \log_2 (\rho_j(z) + \epsilon_k),

    with the rates ``rho`` and what `component_contrasts` adds to them: how far a member of the
    component is from the component's mean change. Zero for all in a mixture without latents.

    Args:
        pair: A pair and data.
        num_samples: See `component_profiles`.

    Returns:
        Features x components.

    Raises:
        NotInModelError: The model is not a mixture of counts.
    """
    spreads = []
    for k, weight in enumerate(component_weights(pair).cpu().numpy()):
        one = pair.one_count(np.full(len(pair.counts), weight))

        def powers(expected: torch.Tensor, one: np.ndarray = one) -> torch.Tensor:
            values = pair.comparable(expected, one)
            return torch.stack([values, values.square()])

        mean, square = _mean(pair, k, 1.0, num_samples, powers)
        spreads.append(np.sqrt(np.maximum(square - mean**2, 0)))
    return _by_feature(pair, spreads)


def cooccurrence(
    pair: PairOnData,
    component: int | str,
    features: list[str] | None = None,
    *,
    n: int = 12,
    num_samples: int = 4096,
) -> pd.DataFrame:
    r"""Return how much more often two features occur together in a component than by chance.

    .. math:: \mathrm{lift}_{ij \mid k} =
              \frac{P(x_i > 0, x_j > 0 \mid k)}{P(x_i > 0)\, P(x_j > 0)}

    by the model, with the library sizes of the data. By chance means in all components together,
    with independent features: in pictures, lift tells which pairs of things make the scene.

    Args:
        pair: A pair and data.
        component: The component.
        features: Names of features; if None, the ``n`` whose probability the component raises
            the most.
        n: See ``features``.
        num_samples: Draws from the prior.

    Returns:
        Features x features; NaN on the diagonal, and for features that never occur.

    Raises:
        DataError: No such component, or an unknown feature.
        NotInModelError: The model is not a mixture, or its counts given the latents have no
            marginals.
    """
    n_components = len(component_weights(pair))
    if str(component) not in _names(n_components):
        raise DataError(f"there is no component {component!r}: they are 0 to {n_components - 1}")
    everything = torch.arange(len(pair.features), device=pair.counts.device)
    library = pair.library_sizes()[torch.randint(len(pair.counts), (num_samples,))]
    anywhere = _presence(pair, library, everything, {})
    fixed: dict[str, float] = {"component": int(component)}
    given = _presence(pair, library, everything, fixed)
    if features is None:
        columns = np.argsort(-(given - anywhere), kind="stable")[:n]
    else:
        columns = pair.columns(features)
    chosen = everything[torch.as_tensor(columns)]
    joint, total = np.zeros((len(columns), len(columns))), 0.0
    for counts, weights in prior_draws(pair, library, fixed):
        joint += counts.presence_together(chosen, weights).cpu().numpy()
        total += weights.sum().item()
    chance = np.outer(anywhere[columns], anywhere[columns])
    lift = np.divide(joint / total, chance, where=chance > 0, out=np.full_like(joint, np.nan))
    np.fill_diagonal(lift, np.nan)
    names = [pair.features[j] for j in columns]
    return pd.DataFrame(lift, index=names, columns=names)


def _presence(
    pair: PairOnData, library: torch.Tensor, columns: torch.Tensor, fixed: dict[str, float]
) -> np.ndarray:
    """Probability that each feature is present, averaged over draws from the prior, ``(F,)``."""
    present, total = np.zeros(len(columns)), 0.0
    for counts, weights in prior_draws(pair, library, fixed):
        present += (weights @ counts.presence(columns).double()).cpu().numpy()
        total += weights.sum().item()
    return present / total


def _names(n: int) -> pd.Index:
    return pd.Index([str(k) for k in range(n)], name="component")
