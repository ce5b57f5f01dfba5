"""Which features a fit keeps, chosen on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vae4counts.inference.fitting.options import option

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class FeatureOptions:
    """How many features to keep, and which."""

    min_observations: int = option(
        0, "Keep features with counts in at least so many observations.", minimum=0
    )
    top_features: int | None = option(None, "Keep the features that vary most.", minimum=1)
    feature_method: str = option(
        "deviance", "How --top-features are chosen.", choices=("deviance", "seurat-v3")
    )

    def choose(self, adata: AnnData, layer: str | None) -> AnnData:
        """Return the data with the chosen features.

        Raises:
            DataError: Values that are not counts, or no feature is left.
            UnknownName: No such layer or method.
        """
        from vae4counts.data import frequent_features, top_features

        if self.min_observations:
            adata = frequent_features(adata, self.min_observations, layer)
        if self.top_features is not None:
            adata = top_features(adata, self.top_features, layer, self.feature_method)
        return adata
