"""The topics of a topic model: their features, their shares in the data, their coherence."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch

from vae4counts.data import Batch
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.models import Model, NotInModelError

# Weights below this count as this where topics are compared on a logarithmic scale.
SMALLEST_WEIGHT = 1e-12


@torch.no_grad()
def topic_features(pair: PairOnData) -> pd.DataFrame:
    r"""Return each topic's distribution over the features.

    .. math:: \beta_{kj} = \frac{\text{rate of } j \text{ in topic } k}
              {\sum_{j'} \text{rate of } j' \text{ in topic } k}

    Args:
        pair: A pair and data.

    Returns:
        Features x topics, not negative; every column adds up to 1.

    Raises:
        NotInModelError: The model has no topics.
    """
    rates = pair.rates(_pure_topics(pair.model), 1.0).double()
    distributions = (rates / rates.sum(-1, keepdim=True)).T.cpu().numpy()
    index = pd.Index(pair.features, name="feature")
    return pd.DataFrame(distributions, index=index, columns=_names(distributions.shape[1]))


@torch.no_grad()
def topic_weights(pair: PairOnData, *, num_samples: int = 10) -> pd.DataFrame:
    """Return the share of each topic in each observation: posterior means.

    Args:
        pair: A pair and data.
        num_samples: Draws of ``z`` for each observation.

    Returns:
        Observations x topics, not negative; every row adds up to 1.

    Raises:
        NotInModelError: The model has no topics.
    """
    names = _names(len(_pure_topics(pair.model)))
    shares = [
        pair.model.topic_shares(z).unflatten(0, (-1, num_samples)).mean(1).cpu()
        for z, _ in pair.draws(torch.arange(len(pair.counts)), repeats=num_samples)
    ]
    return pd.DataFrame(torch.cat(shares).numpy(), index=pair.obs.index, columns=names)


def feature_topics(pair: PairOnData) -> pd.DataFrame:
    r"""Return from which topics the counts of each feature come, in all observations together.

    .. math:: \frac{\bar\theta_k \beta_{kj}}{\sum_{k'} \bar\theta_{k'} \beta_{k'j}}

    with the mean shares :math:`\bar\theta` of the topics in the data.

    Args:
        pair: A pair and data.

    Returns:
        Features x topics, not negative; every row adds up to 1.

    Raises:
        NotInModelError: The model has no topics.
    """
    joint = topic_features(pair) * topic_weights(pair).mean()
    return joint.div(joint.sum(axis=1), axis=0)


def topics(pair: PairOnData, n: int = 10, *, relevance: float = 0.6) -> pd.DataFrame:
    r"""List the features that stand out in each topic.

    They are ranked by their relevance (Sievert & Shirley 2014),

    .. math:: \lambda \log \beta_{kj} + (1 - \lambda) \log \mathrm{lift}_{kj}:

    with 1 by their weight, so that what is common everywhere comes first; with 0 by their lift, so
    that what is rare does.

    Args:
        pair: A pair and data.
        n: Number of features for each topic.
        relevance: The weight :math:`\lambda`, from 0 to 1.

    Returns:
        A row for each topic and feature: ``topic``, ``rank`` (from 1), ``feature``, ``weight`` (the
        share of the topic's counts that are of this feature) and ``lift`` (how many times that of
        the average observation, on a log2 scale).

    Raises:
        NotInModelError: The model has no topics.
        ValueError: The relevance is not from 0 to 1.
    """
    if not 0 <= relevance <= 1:
        raise ValueError(f"relevance is {relevance}: it must be from 0 to 1")
    weights, shares = topic_features(pair), topic_weights(pair).mean()
    logs = np.log2(weights.to_numpy().clip(SMALLEST_WEIGHT))
    average = np.log2((weights @ shares).to_numpy().clip(SMALLEST_WEIGHT))
    lifts = logs - average[:, None]
    ranking = relevance * logs + (1 - relevance) * lifts
    parts = []
    for k, name in enumerate(weights.columns):
        rows = np.argsort(-ranking[:, k], kind="stable")[:n]
        parts.append(
            pd.DataFrame(
                {
                    "topic": name,
                    "rank": np.arange(1, len(rows) + 1),
                    "feature": weights.index[rows],
                    "weight": weights.to_numpy()[rows, k],
                    "lift": lifts[rows, k],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def topic_table(pair: PairOnData, *, n: int = 10) -> pd.DataFrame:
    """Return how large the topics are, and whether what they hold together occurs together.

    Args:
        pair: A pair and data.
        n: Number of features of each topic, those with the largest weights, whose coherence is
            measured.

    Returns:
        A row a topic: ``name`` (its three most relevant features, see `topics`), ``share`` (its
        mean share in the observations), ``observations`` (the number of those in which it is the
        largest) and ``coherence`` (see `coherence`).

    Raises:
        NotInModelError: The model has no topics.
    """
    features, shares = topic_features(pair), topic_weights(pair).to_numpy()
    tops = np.argsort(-features.to_numpy(), axis=0, kind="stable")[:n].T
    listed = topics(pair, 3)
    names = listed["feature"].astype(str).groupby(listed["topic"], sort=False).agg(", ".join)
    return pd.DataFrame(
        {
            "name": names.to_numpy(),
            "share": shares.mean(0),
            "observations": np.bincount(shares.argmax(1), minlength=shares.shape[1]),
            "coherence": coherence(tops, pair.batches()),
        },
        index=features.columns,
    )


def coherence(tops: np.ndarray, batches: Iterable[Batch]) -> np.ndarray:
    r"""Return how far the features of each topic occur together in the same observations.

    .. math:: \frac{2}{n (n - 1)} \sum_{i < j}
              \frac{\log p_{ij} - \log p_i - \log p_j}{-\log p_{ij}}

    the mean of the normalised pointwise mutual information (NPMI; Bouma 2009, Lau et al. 2014) of
    all pairs: 1 for features that occur in the same observations alone, 0 for independent ones, -1
    for those that never occur together. ``p`` are shares of the observations in which features
    have a count above 0. A pair that occurs in all observations counts as independent.

    Args:
        tops: Positions of features of each topic, shape ``(K, n)``.
        batches: Observations.

    Returns:
        Shape ``(K,)``; NaN for topics of fewer than two features.
    """
    kept, places = np.unique(tops, return_inverse=True)
    both, total = np.zeros((len(kept), len(kept))), 0
    for batch in batches:
        columns = torch.as_tensor(kept, device=batch.counts.device)
        present = (batch.counts.to_dense()[:, columns] > 0).double()
        both += (present.T @ present).cpu().numpy()
        total += len(batch)
    together = both / max(total, 1)
    alone = together.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(together)
        information = (logs - np.log(alone)[:, None] - np.log(alone)) / -logs
    information[together == 0] = -1
    information[together == 1] = 0
    places = places.reshape(tops.shape)
    first, second = np.triu_indices(tops.shape[1], 1)
    if not len(first):
        return np.full(len(tops), np.nan)
    return information[places[:, first], places[:, second]].mean(1)


def _pure_topics(model: Model) -> torch.Tensor:
    latents = model.pure_topics()
    if latents is None:
        raise NotInModelError(f"{model.title} has no topics: they are those of TopicDecoder")
    return latents


def _names(n: int) -> pd.Index:
    return pd.Index([str(k) for k in range(n)], name="topic")
