"""Differential expression: which features' rates differ between two groups of observations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import torch

from vae4counts.data import CountLoader, DataError, class_name, classes_of, find_column
from vae4counts.inference.interpretation.observation_groups import Mask, as_mask
from vae4counts.inference.interpretation.pair_on_data import PairOnData

Mode: TypeAlias = Literal["vanilla", "change"]
# Keeps Bayes factors finite where all pairs agree, as in scvi-tools.
PROBABILITY_OFFSET = 1e-8


@torch.no_grad()
def differential_expression(
    pair: PairOnData,
    first: np.ndarray,
    second: np.ndarray,
    *,
    mode: Mode = "change",
    delta: float = 0.5,
    fdr_target: float = 0.05,
    num_pairs: int = 5000,
) -> pd.DataFrame:
    r"""Compare the rates of two groups, feature by feature, by the posterior of both.

    Pairs of observations are drawn, one from each group, and the rates ``rho`` of each. In the
    "vanilla" mode (Lopez et al. 2018) the question is which is larger,

    .. math:: p_1 = P(\rho_a > \rho_b), \qquad \mathrm{bayes\_factor} = \log \frac{p_1}{1 - p_1},

    and in the "change" mode (Boyeau et al. 2019) whether the change matters,

    .. math:: p = \max\{P(\mathrm{lfc} \ge \delta), P(\mathrm{lfc} < -\delta)\}, \qquad
              \mathrm{lfc} = \log_2 \frac{\rho_a + \epsilon}{\rho_b + \epsilon},

    with the rate ``epsilon`` of one count in all observations of the smaller group together.
    Features are called changed, the likeliest first, as long as the posterior expected share of
    false discoveries, the mean of ``1 - p`` over all that are called, stays within the target.
    That share is the model's own estimate, and as good as the model: its weights are taken as
    they are, so noise that they have learnt counts as change. With a small ``delta`` more features
    are called than the target allows (in our simulations one false gene in 13, at scvi-tools'
    default of 0.25 and a target of 0.05; one in 97 at 0.5). Because up and down are separate
    questions, ``p`` is at most about a half where two groups are alike, however mixed each is.

    In a model with library sizes the rates are shares of a whole: where strong features rise, all
    others fall.

    Args:
        pair: A pair and data.
        first: Mask of the first group, shape ``(N,)``.
        second: Mask of the second.
        mode: "change" or "vanilla".
        delta: Smallest log2 fold change that matters ("change").
        fdr_target: Largest expected share of false discoveries ("change").
        num_pairs: Number of pairs.

    Returns:
        A row a feature, the likeliest changed first, columns named as in scvi-tools. For both
        modes ``bayes_factor`` (nats), ``scale1``, ``scale2`` (mean rates), ``raw_mean1``,
        ``raw_mean2`` (mean counts), ``non_zeros_proportion1``, ``non_zeros_proportion2``; for
        "change" ``proba_de``, ``proba_not_de``, ``lfc_mean``, ``lfc_std``, ``lfc_min``,
        ``lfc_max``, ``pseudocounts``, ``delta``, ``is_de_fdr_0.05``; for "vanilla" ``proba_m1``,
        ``proba_m2``.

    Raises:
        NotInModelError: The model has no latent space.
        ValueError: An unknown mode, or another argument is out of range.
    """
    _check(mode, delta, fdr_target, num_pairs)
    left, right = pair.rows(first, num_pairs), pair.rows(second, num_pairs)
    pairs = (
        (pair.rates(z1, 1.0), pair.rates(z2, 1.0))
        for (z1, _), (z2, _) in zip(pair.draws(left), pair.draws(right), strict=True)
    )
    return _compared(pair, pairs, first, second, mode, delta, fdr_target)


@torch.no_grad()
def level_expression(
    pair: PairOnData,
    covariate: str,
    level1: str,
    level2: str,
    *,
    among: Mask | None = None,
    mode: Mode = "change",
    delta: float = 0.5,
    fdr_target: float = 0.05,
    num_pairs: int = 5000,
) -> pd.DataFrame:
    r"""Compare the rates of the same latents at two levels of a covariate, feature by feature.

    .. math:: \rho_a = \mathrm{decoder}(z, c = \mathrm{level}_1), \qquad
              \rho_b = \mathrm{decoder}(z, c = \mathrm{level}_2), \qquad z \sim q(z \mid x_i)

    Where `differential_expression` compares different observations, this asks what the level
    changes in one and the same observation, by the model: a counterfactual. It is the effect of the
    level as far as the latents hold everything else that differs.

    Args:
        pair: A pair and data. Other covariates are held at ``pair.at``, or averaged over.
        covariate: The name of a categorical covariate of the model.
        level1: A level of it.
        level2: Another one.
        among: Mask of the observations whose latents are taken; all if None.
        mode: See `differential_expression`.
        delta: See `differential_expression`.
        fdr_target: See `differential_expression`.
        num_pairs: Number of draws of latents.

    Returns:
        As `differential_expression`; ``raw_mean1`` and the like are those of the observations that
        have the level, NaN if none has.

    Raises:
        DataError: The model has no such covariate or level, or ``among`` is no mask.
        NotInModelError: The model has no latent space.
        ValueError: See `differential_expression`.
    """
    _check(mode, delta, fdr_target, num_pairs)
    if covariate not in pair.model.covariates.n_levels:
        known = ", ".join(map(repr, pair.model.covariates.n_levels)) or "it has none"
        raise DataError(
            f"the model has no categorical covariate {covariate!r}. Its categorical covariates: "
            f"{known}."
        )
    pairs_at = [pair.with_value(covariate, level) for level in (level1, level2)]
    for each in pairs_at:
        pair.model.covariates.held(each.at, pair.counts.device)  # to find errors now
    everything = np.ones(len(pair.counts), dtype=bool)
    chosen = everything if among is None else as_mask(pair.obs, among, "among")
    levels = classes_of(find_column(pair.obs, covariate))
    masks = [chosen & (levels == class_name(level)).to_numpy() for level in (level1, level2)]
    pairs = (
        (pairs_at[0].rates(z, 1.0), pairs_at[1].rates(z, 1.0))
        for z, _ in pair.draws(pair.rows(chosen, num_pairs))
    )
    return _compared(pair, pairs, masks[0], masks[1], mode, delta, fdr_target)


def _compared(
    pair: PairOnData,
    rates: Iterable[tuple[torch.Tensor, torch.Tensor]],
    first: np.ndarray,
    second: np.ndarray,
    mode: Mode,
    delta: float,
    fdr_target: float,
) -> pd.DataFrame:
    """Make the table of pairs of rates; the masks are of the observations with raw counts."""
    observed = [mask for mask in (first, second) if mask.any()] or [first | True]
    pseudocounts = np.maximum.reduce([pair.one_count(mask) for mask in observed])
    pairs = _Pairs(pair, delta, pseudocounts)
    for one, other in rates:
        pairs.add(one, other)
    results = pairs.vanilla() if mode == "vanilla" else pairs.change()
    table = pd.DataFrame(
        results | _raw(pair, first, 1) | _raw(pair, second, 2),
        index=pd.Index(pair.features, name="feature"),
    )
    if mode == "vanilla":
        return table.sort_values("bayes_factor", ascending=False, kind="stable")
    table["pseudocounts"], table["delta"] = pseudocounts, delta
    table[f"is_de_fdr_{fdr_target}"] = discoveries(table["proba_de"].to_numpy(), fdr_target)
    order = [table["proba_de"], table["lfc_mean"].abs()]
    return table.iloc[np.lexsort([-column for column in reversed(order)])]


def _check(mode: str, delta: float, fdr_target: float, num_pairs: int) -> None:
    if mode not in get_args(Mode):
        raise ValueError(f"mode is {mode!r}: it must be one of {', '.join(get_args(Mode))}")
    if num_pairs < 2 or delta < 0 or not 0 < fdr_target < 1:
        raise ValueError("num_pairs must be 2 or more, delta 0 or more, fdr_target between 0 and 1")


def discoveries(probabilities: np.ndarray, target: float) -> np.ndarray:
    """Call as many discoveries as keep the expected share of false ones within a target.

    Args:
        probabilities: Posterior probability of each, shape ``(G,)``.
        target: Largest mean of ``1 - p`` over what is called.

    Returns:
        Boolean, shape ``(G,)``.
    """
    order = np.argsort(-probabilities, kind="stable")
    expected = np.cumsum(1 - probabilities[order]) / np.arange(1, len(order) + 1)
    called = np.zeros(len(order), dtype=bool)
    called[order[: int((expected <= target).sum())]] = True
    return called


def bayes_factor(probability: np.ndarray) -> np.ndarray:
    """Return ``log p / (1 - p)`` in nats, kept within about 18 of zero."""
    return np.log(probability + PROBABILITY_OFFSET) - np.log(1 - probability + PROBABILITY_OFFSET)


class _Pairs:
    """Running sums over pairs of rates, so that no more than a chunk of pairs is held."""

    def __init__(self, pair: PairOnData, delta: float, pseudocounts: np.ndarray) -> None:
        self.pair, self.delta, self.pseudocounts = pair, delta, pseudocounts
        self.n = 0
        zeros = torch.zeros(len(pair.features), dtype=torch.float64)
        self.scale1, self.scale2, self.larger = zeros.clone(), zeros.clone(), zeros.clone()
        self.up, self.down, self.sum = zeros.clone(), zeros.clone(), zeros.clone()
        self.squares, self.low, self.high = zeros.clone(), zeros + torch.inf, zeros - torch.inf

    def add(self, first: torch.Tensor, second: torch.Tensor) -> None:
        """Add pairs of rates, each of shape ``(B, G)``."""
        one, other = (self.pair.comparable(each, self.pseudocounts) for each in (first, second))
        change = one - other
        self.n += len(first)
        self.scale1 += first.sum(0, dtype=torch.float64).cpu()
        self.scale2 += second.sum(0, dtype=torch.float64).cpu()
        self.larger += (first > second).sum(0).cpu()
        self.up += (change >= self.delta).sum(0).cpu()
        self.down += (change < -self.delta).sum(0).cpu()
        self.sum += change.sum(0, dtype=torch.float64).cpu()
        self.squares += change.square().sum(0, dtype=torch.float64).cpu()
        self.low = torch.minimum(self.low, change.amin(0).cpu())
        self.high = torch.maximum(self.high, change.amax(0).cpu())

    def vanilla(self) -> dict[str, np.ndarray]:
        """Return the columns of the "vanilla" mode."""
        probability = (self.larger / self.n).numpy()
        return {
            "proba_m1": probability,
            "proba_m2": 1 - probability,
            "bayes_factor": bayes_factor(probability),
            **self._scales(),
        }

    def change(self) -> dict[str, np.ndarray]:
        """Return the columns of the "change" mode."""
        probability = (torch.maximum(self.up, self.down) / self.n).numpy()
        mean = self.sum / self.n
        variance = (self.squares / self.n - mean**2).clamp_min(0)
        return {
            "proba_de": probability,
            "proba_not_de": 1 - probability,
            "bayes_factor": bayes_factor(probability),
            **self._scales(),
            "lfc_mean": mean.numpy(),
            "lfc_std": variance.sqrt().numpy(),
            "lfc_min": self.low.numpy(),
            "lfc_max": self.high.numpy(),
        }

    def _scales(self) -> dict[str, np.ndarray]:
        return {"scale1": (self.scale1 / self.n).numpy(), "scale2": (self.scale2 / self.n).numpy()}


def _raw(pair: PairOnData, mask: np.ndarray, number: int) -> dict[str, np.ndarray]:
    """Mean values of a group and its share of non-zeros, per feature."""
    total, non_zeros, size = np.zeros((3, pair.counts.n_features))
    places = {name: pair.table_columns(name) for name in pair.model.tables}
    for batch in CountLoader(pair.counts.subset(np.flatnonzero(mask)), shuffle=False):
        for name, table in batch.tables.items():
            sums = _sums(table.values)
            for kept, found in zip((total, non_zeros, size), sums, strict=True):
                kept[places[name]] += found.double().cpu().numpy()
    size[size == 0] = np.nan
    return {
        f"raw_mean{number}": total / size,
        f"non_zeros_proportion{number}": non_zeros / size,
    }


def _sums(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Totals of the features, and in how many rows each is not zero, and in how many known."""
    if values.layout == torch.strided:
        known = ~values.isnan()
        return values.nansum(0), ((values != 0) & known).sum(0), known.sum(0)
    n_features, columns = values.shape[1], values.col_indices()
    return (
        torch.bincount(columns, values.values().double(), n_features),
        torch.bincount(columns, minlength=n_features),
        torch.full((n_features,), len(values)),
    )
