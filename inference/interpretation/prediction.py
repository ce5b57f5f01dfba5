"""Predictions of one table from others: proteins from RNA, words from objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae4counts.data import CountLoader
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.posterior.cross_modal import check_tables, require_subsets
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS, chunks, draw
from vae4counts.inference.posterior.sizes import check_size
from vae4counts.inference.posterior.tables import presence


@dataclass(frozen=True)
class Prediction:
    """What some tables say of another.

    Attributes:
        mean: Expected values, observations x features.
        quantiles: The same tables of quantiles of the values, by quantile: of new values, not of
            their expectation.
        draws: Values drawn given the tables, shape ``(S, N, G)``; None unless asked for.
        effective_draws: The share of the draws that each observation's answer rests on, see
            `effective_share`.
    """

    mean: pd.DataFrame
    quantiles: dict[float, pd.DataFrame]
    draws: np.ndarray | None
    effective_draws: pd.Series

    def __repr__(self) -> str:
        size = f"{len(self.mean):,} observations x {self.mean.shape[1]:,} features"
        return f"{type(self).__name__}({size})"


@torch.no_grad()
def predict(
    pair: PairOnData,
    of: str,
    given: Sequence[str] | None = None,
    *,
    quantiles: Sequence[float] = (),
    num_samples: int = 100,
    library_size: float | None = None,
    keep_draws: bool = False,
) -> Prediction:
    r"""Predict one table of each observation from others.

    .. math:: E[x_b \mid x_a] \approx \sum_s w_s\, E[x_b \mid z_s], \qquad
              w_s \propto \frac{p(x_a, z_s)}{q(z_s \mid x_a)}, \qquad z_s \sim q(z \mid x_a),

    so that errors of the guide are corrected by importance weights. The table itself is never
    looked at, except for library sizes that the model is given. A latent library size is drawn
    beside ``z``: other tables say nothing of it, so that it has its prior. Covariates have each
    observation's own values. An observation that has none of the tables given has no prediction
    (NaN).

    Args:
        pair: A pair and data.
        of: The table that is predicted.
        given: The tables that it is predicted from; all others if None.
        quantiles: Which quantiles of the values to return, each between 0 and 1.
        num_samples: Number ``S`` of draws for each observation.
        library_size: Total of the predicted counts. None: where library sizes are observed, an
            observation's own where it is known, and the geometric mean of the others. Ignored by a
            table without library sizes.
        keep_draws: Whether to return draws of the values.

    Raises:
        DataError: Nothing is given, or the table itself.
        NotInModelError: The model has no latent space, or posteriors are refined.
        TooLargeError: The draws would take over 4 GiB.
        UnknownName: The model has no such table.
        ValueError: A quantile is out of range, or there is no draw.
    """
    model = pair.model
    given = [name for name in model.tables if name != of] if given is None else given
    given = check_tables(model, of, given)
    require_subsets(pair.guide)
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}: it must be 1 or more")
    for q in quantiles:
        if not 0 <= q <= 1:
            raise ValueError(f"quantile {q}: it must be between 0 and 1")
    columns, n = pair.table_columns(of), len(pair.counts)
    kept = num_samples if keep_draws else 1 + len(quantiles)
    check_size(
        4.0 * kept * n * len(columns),
        f"{num_samples} draws of {n:,} observations x {len(columns):,} features",
        "use fewer draws, or none",
    )
    sizes = pair.library_sizes()[:, [list(model.tables).index(of)]]
    if library_size is not None:
        sizes = torch.full_like(sizes, library_size)
    latent = model.latent_libraries.get(of) if library_size is None else None
    means, levels, values, effective = [], [], [], []
    rows = max(1, CHUNK_NUMBERS // (num_samples * len(columns)))
    for batch in CountLoader(pair.counts, batch_size=min(128, rows), shuffle=False):
        known = batch.only(given)
        draws = [draw(model, pair.guide, known, size) for size in chunks(num_samples, model, batch)]
        z = torch.cat([each.values["z"] for each in draws])  # noqa: PD011 (a field of Draws)
        weights = torch.cat([each.log_weights for each in draws]).softmax(0).float()
        library = sizes[batch.index].expand(*z.shape[:2], 1)
        if latent is not None:
            drawn_sizes = [each.values[latent.site] for each in draws]  # noqa: PD011
            library = torch.cat(drawn_sizes).unsqueeze(-1)
        expected = model.given_latents(of, z, library, batch.covariates)
        means.append(torch.einsum("sb,sbg->bg", weights, expected.mean).cpu().numpy())
        effective.append((1 / weights.square().sum(0) / num_samples).cpu().numpy())
        unknown = ~np.any(list(presence(known).values()), axis=0)
        means[-1][unknown] = effective[-1][unknown] = np.nan
        if quantiles or keep_draws:
            again, sized = _resampled(torch.cat([z, library], -1), weights).tensor_split([-1], -1)
            drawn = model.given_latents(of, again, sized, batch.covariates).sample()
            drawn[:, torch.from_numpy(unknown)] = torch.nan
            levels.append([drawn.float().quantile(q, 0).cpu().numpy() for q in quantiles])
            values += [drawn.cpu().numpy()] if keep_draws else []
    names = [pair.features[j] for j in columns]

    def table(parts: Sequence[np.ndarray]) -> pd.DataFrame:
        return pd.DataFrame(np.concatenate(parts), index=pair.obs.index, columns=names)

    return Prediction(
        mean=table(means),
        quantiles={q: table([part[i] for part in levels]) for i, q in enumerate(quantiles)},
        draws=np.concatenate(values, axis=1) if keep_draws else None,
        effective_draws=pd.Series(np.concatenate(effective), index=pair.obs.index),
    )


def _resampled(draws: Tensor, weights: Tensor) -> Tensor:
    """Draw as many of some draws ``(S, B, D)``, with probabilities ``(S, B)``."""
    chosen = torch.multinomial(weights.T, len(draws), replacement=True).T
    return draws.gather(0, chosen.unsqueeze(-1).expand_as(draws))
