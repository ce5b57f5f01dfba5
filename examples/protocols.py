# %% [markdown]
# # The same cells, measured in several ways
#
# Five cell lines, three protocols. What differs between the protocols is as large as what differs
# between the lines, so a model that knows nothing of protocols finds protocols. Here we tell it,
# ask what it would have counted by another protocol, take it to a protocol that it has never seen,
# and give it the lines of a few cells. The cells are drawn from a known truth, in the manner of
# Tian et al. (2019), so that you can see whether the model finds it.

# %%
import os

import numpy as np
import pandas as pd
from example_data import made_protocols
from matplotlib import pyplot as plt

from vae4counts.guides import guide_for
from vae4counts.inference import fit, plots
from vae4counts.models import GMVAE, Covariates, Labels
from vae4counts.models.priors import GaussianMixture

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"
adata = made_protocols()
# one split for all fits, so that all are measured on cells that none has seen
names, shares = ["train", "validation", "test"], [0.8, 0.1, 0.1]
adata.obs["part"] = np.random.default_rng(1).choice(names, adata.n_obs, p=shares)


def fitted(cells, **told):
    """Fit a mixture of five components to cells, of which it is told something."""
    model = GMVAE(cells.n_vars, GaussianMixture(n_latent=10, n_components=5), **told)
    options = {"epochs": 6 if QUICK else None, "label": "cell_line", "split": "part"}
    options["progress"] = False
    return fit(model, guide_for(model), cells, **options)


pd.crosstab(adata.obs["protocol"], adata.obs["cell_line"])

# %% [markdown]
# ## Told and not told
#
# `Covariates.of` declares a column of `obs`. The decoder gets it beside the latents; the guide does
# not see it. How well the protocols are mixed in the latent space is measured beside the ELBO:
# iLISI is 1 where every neighbourhood holds all protocols, and 0 where it holds one.

# %%
runs = {
    "not told": fitted(adata),
    "told the protocol": fitted(adata, covariates=Covariates.of(adata, ["protocol"])),
}
figures = {}
for name, run in runs.items():
    result = run.evaluate(adata, batch="protocol")
    figures[name] = {
        "log-likelihood (nats)": result.iw_log_likelihood,
        "ARI against the lines": result.ari,
        "mixing of protocols (iLISI)": result.ilisi,
        "batch silhouette": result.batch_silhouette,
    }
pd.DataFrame(figures).T.round(3)

# %% mystnb={"image": {"alt": "Four maps: not told and told, by protocol and by cell line"}}
_, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
for row, (name, run) in zip(axes, runs.items(), strict=True):
    latents, _ = run.on(adata).summary()
    plane, _ = plots.two_dimensions(latents, seed=0)
    for ax, column in zip(row, ("protocol", "cell_line"), strict=True):
        for label, rows in adata.obs.groupby(column, observed=True).indices.items():
            ax.scatter(*plane[rows].T, s=3, label=label)
        ax.set(title=f"{name}, by {column}", xticks=[], yticks=[])
        ax.legend(markerscale=4, frameon=False, fontsize=7)

# %% [markdown]
# ## What if
#
# The gene "unseen" is expressed everywhere, but the protocol "drops" does not see it. A method that
# aligns the batches at any price would give it to these cells as well; here the answer depends on
# the question, and is right for each.

# %%
inside = runs["told the protocol"].interpret(adata)
rates = {
    f"as if by {protocol}": inside.holding({"protocol": protocol}).denoised(["unseen"])["unseen"]
    for protocol in ("plates", "drops")
}
pd.DataFrame(rates).groupby(adata.obs["protocol"], observed=True).mean().round(1)

# %% [markdown]
# What the protocol does to each gene, in the same cells under both, and what is true of it:

# %%
table = inside.level_expression("protocol", "plates", "drops")
raw = pd.DataFrame({"fold change (log2)": table["lfc_mean"], "p(changed)": table["proba_de"]})
raw.head(8).round(2)

# %% [markdown]
# ## A protocol that the model has never seen
#
# We hold "old plates" back, fit the rest, and take the run to the new cells: `adapt` trains only
# what belongs to the new level, in seconds, and leaves everything else bit for bit as it was. (The
# new protocol has only three of the lines.)

# %%
is_new = (adata.obs["protocol"] == "old plates").to_numpy()
old, new = adata[~is_new].copy(), adata[is_new].copy()
base = fitted(old, covariates=Covariates.of(old, ["protocol"]))
adapted = base.adapt(new, split="part", progress=False)
held_out = new[adapted.split.test].copy()
whole = runs["told the protocol"]
pd.Series(
    {
        "adapted: log-likelihood of new cells (nats)": adapted.evaluate(held_out).iw_log_likelihood,
        "fitted to all from the start": whole.evaluate(held_out).iw_log_likelihood,
        "adapted: seconds": adapted.metrics["seconds"],
        "fitted to all: seconds": whole.metrics["seconds"],
    }
).round(1)

# %% [markdown]
# ## The lines of a few cells
#
# With labels, the component *is* the class: labelled cells have the others masked out of the
# enumeration, unlabelled ones sum over all of them, and prediction is Bayes' rule. We show the line
# of one cell in ten. (`obs["predicted_label_probability"]` says how sure a prediction is.)

# %%
shown = np.random.default_rng(2).random(adata.n_obs) < 0.1
adata.obs["partial"] = adata.obs["cell_line"].astype(object).where(shown)
labelled = fitted(
    adata,
    covariates=Covariates.of(adata, ["protocol"]),
    labels=Labels.of(adata, "partial"),
)
labelled.annotate(adata)
hidden = adata.obs[~shown]
right = hidden["predicted_label"].astype(str) == hidden["cell_line"].astype(str)
print(f"{right.mean():.1%} of {len(right)} hidden lines are predicted right")
pd.crosstab(hidden["cell_line"], hidden["predicted_label"])
