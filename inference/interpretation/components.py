"""The mixture's view: what its components are, and which features and labels go with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy.special import entr

from vae4counts.data import DataError
from vae4counts.inference.interpretation.fitted import Fitted, NotInModelError
from vae4counts.inference.interpretation.prior_draws import (
    component_weights,
    presence,
    prior_draws,
)
from vae4counts.inference.posterior.annotation import assigned
from vae4counts.inference.posterior.diagnosis import overlaps


def component_table(fitted: Fitted, *, num_samples: int = 10) -> pd.DataFrame:
    """How large the components are, by the model and in data.

    Args:
        fitted: A pair and data.
        num_samples: Draws over which responsibilities are averaged.

    Returns:
        A row a component: ``weight`` (its prior probability), ``share`` (mean responsibility),
        ``observations`` (that are most likely of it), ``entropy`` (mean entropy of the
        responsibilities of those, in nats: 0 where all are sure; NaN where there are none).

    Raises:
        NotInModelError: The model is no mixture.
    """
    shares = fitted.responsibilities(num_samples)
    which = shares.argmax(1)
    numbers = np.bincount(which, minlength=shares.shape[1])
    doubt = np.bincount(which, entr(shares).sum(1), minlength=shares.shape[1])
    return pd.DataFrame(
        {
            "weight": component_weights(fitted.model).double().cpu().numpy(),
            "share": shares.mean(0),
            "observations": numbers,
            "entropy": np.divide(
                doubt, numbers, out=np.full(len(numbers), np.nan), where=numbers > 0
            ),
        },
        index=_names(shares.shape[1]),
    )


def component_overlaps(fitted: Fitted) -> pd.DataFrame:
    """How much each two components overlap: 0 for Gaussians apart, 1 for equal ones (`overlaps`).

    Args:
        fitted: A pair and data.

    Returns:
        Components x components, with 1 on the diagonal.

    Raises:
        NotInModelError: The model has no mixture of Gaussians for a prior.
    """
    prior = fitted.model.mixture_prior
    if prior is None:
        raise NotInModelError(
            f"this {type(fitted.model).__name__} has no components in a latent space"
        )
    with torch.no_grad():
        overlap = overlaps(*prior.components()).cpu().numpy()
    names = _names(len(overlap))
    return pd.DataFrame(overlap, index=names, columns=names)


def by_label(labels: pd.Series, components: pd.Series | pd.Categorical) -> pd.DataFrame:
    """Counts observations, labels x components.

    Args:
        labels: A known class for each observation.
        components: The component of each.

    Returns:
        Components in the order of their numbers; labels in that of their main component.

    Raises:
        DataError: Not as many labels as components.
    """
    if len(labels) != len(components):
        raise DataError(f"there are {len(labels)} labels for {len(components)} observations")
    rows = pd.Series(np.asarray(labels).astype(str), name=labels.name)
    numbers = pd.Series(np.asarray(components).astype(int), name="component")
    table = pd.crosstab(rows, numbers).rename(columns=str)
    return table.iloc[np.argsort(table.to_numpy().argmax(axis=1), kind="stable")]


def component_labels(fitted: Fitted, labels: pd.Series, *, num_samples: int = 10) -> pd.DataFrame:
    """See `by_label`, for the observations' most likely components."""
    return by_label(labels, assigned(fitted.responsibilities(num_samples)))


def component_profiles(
    fitted: Fitted, *, library_size: float = 1e4, num_samples: int = 256
) -> pd.DataFrame:
    """Expected counts of each feature, given the component: ``E[x_j | component, library]``.

    The mean over draws of ``z`` from the component's prior, by the model alone.

    Args:
        fitted: A pair and data.
        library_size: Library size in counts (of no effect in a model without).
        num_samples: Draws from each component.

    Returns:
        Features x components.

    Raises:
        NotInModelError: The model is no mixture of counts.
    """
    weights = component_weights(fitted.model)
    library = torch.full((num_samples,), library_size, device=weights.device)
    profiles = np.zeros((len(fitted.features), len(weights)))
    for k in range(len(weights)):
        fixed = {"component": k, "library": library_size}
        for counts in prior_draws(fitted.model, library, fixed):
            profiles[:, k] += counts.mean.double().sum(0).cpu().numpy() / num_samples
    index = pd.Index(fitted.features, name="feature")
    return pd.DataFrame(profiles, index=index, columns=_names(len(weights)))


def component_contrasts(fitted: Fitted, *, num_samples: int = 256) -> pd.DataFrame:
    """Log2 fold change of each feature in each component against the rest.

    The rest is the mean of the other components' expected counts, by their weights. To both sides
    is added the rate of one count in all the component's observations together, below which data
    have nothing to say.

    Args:
        fitted: A pair and data.
        num_samples: See `component_profiles`.

    Returns:
        Features x components; `strongest_features` lists the top features of each.

    Raises:
        NotInModelError: The model is no mixture of counts, or has one component only.
    """
    profiles = component_profiles(fitted, library_size=1.0, num_samples=num_samples)
    weights = component_weights(fitted.model).double().cpu().numpy()
    if len(weights) == 1:
        raise NotInModelError("the only component has nothing to be compared with")
    means = profiles.to_numpy()
    contrasts = np.empty_like(means)
    for k, weight in enumerate(weights):
        others = np.delete(weights, k)
        rest = np.delete(means, k, axis=1) @ (others / others.sum())
        one = fitted.one_count(np.full(len(fitted.counts), weight))
        contrasts[:, k] = np.log2(means[:, k] + one) - np.log2(rest + one)
    return pd.DataFrame(contrasts, index=profiles.index, columns=profiles.columns)


def cooccurrence(
    fitted: Fitted,
    component: int | str,
    features: list[str] | None = None,
    *,
    n: int = 12,
    num_samples: int = 4096,
) -> pd.DataFrame:
    r"""How much more often two features are there together in a component than by chance.

    .. math:: \mathrm{lift}_{ij \mid k} =
              \frac{P(x_i > 0, x_j > 0 \mid k)}{P(x_i > 0)\, P(x_j > 0)}

    by the model, with the library sizes of the data. Chance is all components together, features
    independent: for pictures, lift says which pairs of things make the scene.

    Args:
        fitted: A pair and data.
        component: The component.
        features: Names of features; if None, the ``n`` whose probability the component raises
            most.
        n: See ``features``.
        num_samples: Draws from the prior.

    Returns:
        Features x features; NaN on the diagonal.

    Raises:
        DataError: No such component, or an unknown feature.
        NotInModelError: The model is no mixture, or its features are not independent given ``z``.
    """
    total = len(component_weights(fitted.model))
    if str(component) not in _names(total):
        raise DataError(f"there is no component {component!r}: they are 0 to {total - 1}")
    everything = torch.arange(len(fitted.features), device=fitted.counts.device)
    library = fitted.counts.library[torch.randint(len(fitted.counts), (num_samples,))]
    anywhere = _presence(fitted, library, everything, {})
    fixed: dict[str, float] = {"component": int(component)}
    given = _presence(fitted, library, everything, fixed)
    if features is None:
        columns = np.argsort(-(given - anywhere), kind="stable")[:n]
    else:
        columns = fitted.columns(features)
    chosen = everything[torch.as_tensor(columns)]
    joint = np.zeros((len(columns), len(columns)))
    for counts in prior_draws(fitted.model, library, fixed):
        there = presence(counts, chosen).double()
        joint += (there.T @ there).cpu().numpy() / num_samples
    lift = joint / np.outer(anywhere[columns], anywhere[columns])
    np.fill_diagonal(lift, np.nan)
    names = [fitted.features[j] for j in columns]
    return pd.DataFrame(lift, index=names, columns=names)


def _presence(
    fitted: Fitted, library: torch.Tensor, columns: torch.Tensor, fixed: dict[str, float]
) -> np.ndarray:
    """Probability that each feature is there, averaged over draws from the prior, ``(F,)``."""
    there = np.zeros(len(columns))
    for counts in prior_draws(fitted.model, library, fixed):
        there += presence(counts, columns).double().sum(0).cpu().numpy() / len(library)
    return there


def _names(n: int) -> pd.Index:
    return pd.Index([str(k) for k in range(n)], name="component")
