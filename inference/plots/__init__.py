"""Figures: one function a figure, drawn on given axes and returned."""

from .colours import class_colours, component_colours
from .heatmaps import (
    component_heatmap,
    cooccurrence_heatmap,
    gains_heatmap,
    latent_shares_heatmap,
    top_features_heatmap,
    topic_heatmap,
)
from .latent import MOST_POINTS, latent_space, traversal
from .layout import best_directions, two_dimensions
from .mixture import (
    component_overlaps,
    component_stability,
    component_weights,
    how_many_groups,
)
from .posteriors import pareto_shapes
from .style import MARKERS, PALETTE, class_styles
from .training import training_history
from .trees import feature_tree
from .volcano import volcano

__all__ = [
    "MARKERS",
    "MOST_POINTS",
    "PALETTE",
    "best_directions",
    "class_colours",
    "class_styles",
    "component_colours",
    "component_heatmap",
    "component_overlaps",
    "component_stability",
    "component_weights",
    "cooccurrence_heatmap",
    "feature_tree",
    "gains_heatmap",
    "how_many_groups",
    "latent_shares_heatmap",
    "latent_space",
    "pareto_shapes",
    "top_features_heatmap",
    "topic_heatmap",
    "training_history",
    "traversal",
    "two_dimensions",
    "volcano",
]
