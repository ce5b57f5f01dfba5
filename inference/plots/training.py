"""Training: the ELBO and its parts over the epochs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vae4counts.inference.plots.style import BLUE, SKY, VERMILLION, axes


def training_history(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the ELBO over the epochs, and its parts.

    The validation ELBO is its reconstruction minus the Kullback-Leibler divergences of the
    latents, which are the band between the two lines.

    Args:
        history: A run's history.
        ax: Where to draw; new axes if None.
    """
    ax = axes(ax)
    epochs = np.arange(1, len(history) + 1)
    elbo, reconstruction = history["validation_elbo"], history["validation_reconstruction"]
    ax.fill_between(epochs, elbo, reconstruction, color=SKY, alpha=0.35, linewidth=0)
    ax.plot(epochs, reconstruction, color=SKY, label="reconstruction, validation")
    ax.plot(epochs, elbo, color=BLUE, linewidth=2, label="ELBO, validation")
    ax.plot(
        epochs,
        history["train_elbo"],
        color=VERMILLION,
        linestyle="--",
        linewidth=1.2,
        label="objective, training (KL warmed up)",
    )
    starts = np.flatnonzero(history["phase"].ne(history["phase"].shift()))[1:]
    for start in starts:
        ax.axvline(start + 0.5, color="grey", linestyle=":", label="components spread")
    # the first epochs would flatten all others
    values = history[["train_elbo", "validation_elbo", "validation_reconstruction"]].to_numpy()
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, 0.1), finite.max()
    margin = 0.1 * max(high - low, 1e-6)
    ax.set_ylim(low - margin, high + margin)
    last = int(np.flatnonzero(np.isfinite(elbo) & np.isfinite(reconstruction))[-1])
    divergence = reconstruction.iloc[last] - elbo.iloc[last]
    middle = (reconstruction.iloc[last] + elbo.iloc[last]) / 2
    ax.annotate(
        f"KL {divergence:.1f}",
        (epochs[last], middle),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
    )
    ax.set(xlabel="epoch", ylabel="nats per observation", title="Training")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right", fontsize="small")
    return ax
