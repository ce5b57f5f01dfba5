"""What goes into an AnnData of loadings and topics."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vae4counts.inference.interpretation.loadings import loadings
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.interpretation.topics import topic_features, topic_weights


def parts(pair: PairOnData, names: pd.Index, *, num_samples: int = 10) -> dict[str, np.ndarray]:
    """Return the loadings or the topics of a model that has such, by slot of an AnnData.

    Args:
        pair: A pair and data.
        names: Names of the AnnData's features; values are NaN for those that the model lacks.
        num_samples: Draws over which shares of topics are averaged.

    Returns:
        ``varm/loadings``, shape ``(G, L)``; ``varm/topics``, distributions over the features,
        shape ``(G, K)``, and ``obsm/topics``, shares of the topics, shape ``(N, K)``.
    """
    found = {}
    table = loadings(pair.model, pair.features)
    if table is not None:
        found["varm/loadings"] = table.reindex(names).to_numpy()
    if pair.model.pure_topics() is not None:
        found["varm/topics"] = topic_features(pair).reindex(names).to_numpy()
        found["obsm/topics"] = topic_weights(pair, num_samples=num_samples).to_numpy()
    return found
