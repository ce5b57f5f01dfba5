# %% [markdown]
# # All priors x all likelihoods on one data set
#
# Which model explains these counts best? Every prior of the registry is paired with every
# likelihood, fitted in the same way to the same observations, and ranked by the log-likelihood of
# observations that no fit has seen. A prior or a likelihood that is added to the registries
# appears here automatically.

# %%
import inspect
import os
import warnings

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from matplotlib import pyplot as plt

from vae4counts.data import load_digits
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import compare, fit
from vae4counts.inference.plots import MARKERS, PALETTE
from vae4counts.models import VAE
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.priors import PRIORS

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"
warnings.filterwarnings("ignore", message="for over 10 %")  # the column bad_k says it

# %% [markdown]
# ## Data
#
# Ink counts, 0 to 16, in the 61 pixels of small handwritten digits that have any ink (shipped with
# scikit-learn). They need no network and a fit takes seconds.

# %% mystnb={"image": {"alt": "Eight handwritten digits of 8 x 8 pixels"}}
adata = load_digits()
adata = adata[:: 6 if QUICK else 1].copy()
sc.pp.filter_genes(adata, min_counts=1)  # pixels with any ink
_, axes = plt.subplots(1, 8, figsize=(8, 1.2))
for ax, image in zip(axes, load_digits().X.toarray(), strict=False):
    ax.imshow(image.reshape(8, 8), cmap="gray_r")
    ax.axis("off")

# %% [markdown]
# ## Fits
#
# The sizes are the same for all. `Categorical` has to know that counts end at 16. Each constructor
# is given the sizes that it takes, by name; no part needs special treatment. Likelihoods of values
# that are not counts are left out. Some mixtures are hardly better than one Gaussian, which `fit`
# warns about: the ranks will show it.

# %%
warnings.filterwarnings("ignore", message="the mixture")
warnings.filterwarnings("ignore", message="the runs are not given")  # the column given says it
SIZES = {"n_latent": 8, "n_components": 10, "n_classes": 17}


def make(kind: type) -> object:
    """Make an object of a registry, with the sizes that its constructor takes."""
    takes = inspect.signature(kind).parameters
    return kind(**{name: size for name, size in SIZES.items() if name in takes})


runs = {}
for prior_name, prior in PRIORS.items():
    for likelihood_name, likelihood in LIKELIHOODS.items():
        if not likelihood.support.counts:
            continue
        torch.manual_seed(0)
        model = VAE(adata.n_vars, prior=make(prior), likelihood=make(likelihood))
        runs[prior_name, likelihood_name] = fit(
            model,
            guide_for(model, encoder=Encoder(dropout=0.0)),
            adata,
            epochs=2 if QUICK else 40,
            learning_rate=3e-3,
            progress=False,
        )
print(f"{len(runs)} fits, {sum(run.metrics['seconds'] for run in runs.values()):.0f} seconds")

# %% [markdown]
# ## Ranks
#
# Means per held-out image, in nats. `difference` is from the best, `difference_se` its standard
# error: differences of less than two standard errors are not significant. `bad_k` is the share of
# images whose estimate is too low by an unknown amount, because the guide does not fit them well
# enough: if it is large, do not rely on differences of a nat or less.

# %%
ranked = compare(
    {" / ".join(names): run for names, run in runs.items()},
    adata,
    num_samples=100 if QUICK else 500,
)
ranked.round(2)

# %% [markdown]
# The same as a figure, priors side by side. The likelihood matters far more than the prior.
# Categorical wins: ink is limited to 16, and a free probability for each of 17 values describes
# that best. The negative binomial comes after the Poisson, which it could imitate: its dispersion
# starts at 1 and has not shrunk enough in so few epochs.


# %% mystnb={"image": {"alt": "Likelihoods and priors by held-out log-likelihood, with errors"}}
def ranks_figure(ranked: pd.DataFrame) -> None:
    """Plot the difference from the best run, a row per likelihood, priors side by side."""
    _, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
    by_likelihood = list(dict.fromkeys(name.split(" / ")[1] for name in ranked.index))
    for i, prior in enumerate(PRIORS):
        rows = ranked.loc[[f"{prior} / {name}" for name in by_likelihood]]
        at = np.arange(len(rows)) + 0.2 * (i - (len(PRIORS) - 1) / 2)
        ax.errorbar(
            rows["difference"],
            at,
            xerr=2 * rows["difference_se"],
            fmt=MARKERS[i % len(MARKERS)],
            color=PALETTE[i % len(PALETTE)],
            label=prior,
        )
    ax.set_yticks(range(len(by_likelihood)), by_likelihood)
    ax.invert_yaxis()
    ax.set(xlabel="difference from the best (nats per image, with two standard errors)")
    ax.set_title("Held-out log-likelihood, against the best")
    ax.legend(title="prior", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


ranks_figure(ranked)

# %% [markdown]
# ## What is compared with what
#
# All of these models are *given* the total ink of an image. The multinomial matches it exactly,
# Poisson counts only on average. Knowing a total of $n$ is worth about $\log \sqrt{2 \pi n}$ nats,
# the negative log-probability of a Poisson count of $n$ with mean $n$. This is the only difference
# between the two, which are otherwise the same model:

# %%
total = np.asarray(adata.X.sum(axis=1)).ravel()
print(f"knowing the total is worth {0.5 * np.log(2 * np.pi * total).mean():.1f} nats")
for prior in PRIORS:
    if {"multinomial", "poisson"} <= set(LIKELIHOODS):
        values = ranked["log_likelihood"]
        ahead = values[f"{prior} / multinomial"] - values[f"{prior} / poisson"]
        print(f"{prior}: the multinomial is ahead by {ahead:.1f}")
