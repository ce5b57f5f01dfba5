"""The colours of a run's classes and components on data, the same in all pictures and in scanpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.colors import is_color_like, to_hex

from vae4counts.data import class_name, classes_of
from vae4counts.inference.interpretation.components import by_label
from vae4counts.inference.plots.colours import class_colours, component_colours

if TYPE_CHECKING:
    from vae4counts.inference.run.on_data import RunOnData


def known_classes(on: RunOnData) -> pd.Series | None:
    """Return the class of each observation; None where the data lack the label's column.

    The categories are those of the column, in its order, whichever of them occur.
    """
    if on.label is None or on.label not in on.adata.obs:
        return None
    column = on.adata.obs[on.label]
    texts = classes_of(column)
    texts = texts.where(~texts.isin(on.run.ignored_labels(on.label)))
    if not texts.notna().any():
        return None
    is_ordered = isinstance(column.dtype, pd.CategoricalDtype)
    names = (
        map(class_name, column.cat.categories) if is_ordered else sorted(texts.dropna().unique())
    )
    known = pd.Categorical(texts, categories=list(dict.fromkeys(names)))
    return pd.Series(known, name=on.label)


def colours_of_classes(on: RunOnData) -> dict[str, str]:
    """Return the colour of each class: the data's own in ``uns``, where scanpy keeps them, or ours.

    Returns:
        Colours by the names of the classes; none without known classes.
    """
    known = known_classes(on)
    if known is None:
        return {}
    names = list(known.cat.categories)
    own = on.adata.uns.get(f"{on.label}_colors")
    if own is not None and len(own) == len(names) and all(map(is_color_like, own)):
        return {name: to_hex(colour) for name, colour in zip(names, own, strict=True)}
    return class_colours(names)


def colours_of_components(on: RunOnData, components: pd.Categorical) -> dict[str, str]:
    """Return the colour of each component, see `component_colours`.

    Args:
        on: The run on data.
        components: The component of each observation.
    """
    known, names = known_classes(on), list(components.categories)
    counts = None if known is None else by_label(known, components)
    return component_colours(names, counts, colours_of_classes(on))


def colours_for_scanpy(on: RunOnData, components: pd.Categorical | None) -> dict[str, np.ndarray]:
    """Return the colours to write into ``uns`` where scanpy looks for them, by slot.

    The column of known classes, which is the user's own, gets colours only if it has none.

    Args:
        on: The run on data.
        components: The component of each observation; None for a model without.
    """
    found, key = {}, f"{on.label}_colors"
    of_classes = colours_of_classes(on)
    # of numbers scanpy draws a scale
    has_scale = of_classes and pd.api.types.is_numeric_dtype(on.adata.obs[on.label])
    if of_classes and key not in on.adata.uns and not has_scale:
        found[f"uns/{key}"] = np.array([*of_classes.values()])
    if components is not None:
        of_components = colours_of_components(on, components)
        found["uns/component_colors"] = np.array([*of_components.values()])
    return found
