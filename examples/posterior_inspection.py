# %% [markdown]
# # Looking at a posterior
#
# A fit gives a distribution of everything that was not observed. Here we draw from it, pass the
# draws to [ArviZ](https://www.arviz.org), and compare with the data: would this model make data
# like these?

# %%
import os
import warnings

import arviz as az
import numpy as np
import torch
from example_data import cells
from matplotlib import pyplot as plt

from vae4counts.data import top_features
from vae4counts.guides import guide_for
from vae4counts.inference import compare, fit
from vae4counts.inference.plots import checks as check_plots
from vae4counts.models import GMVAE
from vae4counts.models.likelihoods import NegativeBinomial, Poisson
from vae4counts.models.priors import GaussianMixture

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"
warnings.filterwarnings("ignore", message="for over 10 %")  # the column bad_k says it
# some genes have no counts in the few cells below, which does not matter here
warnings.filterwarnings("ignore", message=".*features have no counts at all")

adata, what = cells()
adata = top_features(adata, 200)
print(f"{what}, of which the 200 genes of the highest deviance")

# %%
runs = {}
for name, likelihood in (("negative binomial", NegativeBinomial()), ("poisson", Poisson())):
    torch.manual_seed(0)
    model = GMVAE(adata.n_vars, GaussianMixture(n_latent=5, n_components=8), likelihood)
    runs[name] = fit(
        model, guide_for(model), adata, epochs=8 if QUICK else None, batch_size=64, progress=False
    )
run = runs["negative binomial"]

# %% [markdown]
# ## Draws, for ArviZ
#
# Posterior and prior of the latents, the log-likelihood and more, as xarray datasets with named
# dimensions. Six cells are enough to look at.

# %%
few = adata[run.split.test[:6]].copy()
draws = run.posterior(few, num_samples=500, sites=["z", "component", "counts"])
for group in ("posterior", "prior", "posterior_predictive", "log_likelihood", "sample_stats"):
    variables = {name: dict(x.sizes) for name, x in draws[group].data_vars.items()}
    print(group, variables)

# %% [markdown]
# One cell's latents. (The draws are independent, so that ArviZ's diagnostics of the convergence of
# chains have no meaning here: `kind="stats"` leaves them out.)

# %%
one = few.obs_names[0]
az.summary(draws, var_names=["z"], coords={"obs": [one]}, kind="stats")

# %% [markdown]
# What the model has learnt from the cell's counts: its posterior (blue) against the prior that all
# cells share (grey). The posteriors are narrow peaks on broad hills.

# %% mystnb={"image": {"alt": "Histograms of four latents: narrow posterior, wide prior"}}
_, axes = plt.subplots(1, 5, figsize=(12, 2.6), layout="constrained", sharey=True)
for latent, ax in enumerate(axes):
    for group, colour in (("prior", "#999999"), ("posterior", "#0072B2")):
        z = draws[group]["z"].sel(obs=one, latent=latent).to_numpy().ravel()
        ax.hist(z, bins=30, density=True, color=colour, alpha=0.7, label=group)
    ax.set(xlabel=f"z{latent}", yticks=[])
_ = axes[0].legend(frameon=False)

# %% [markdown]
# How sure the model is of a cell's component: the mean of the responsibilities over the draws. Each
# row adds up to one.

# %%
shares = draws["sample_stats"]["responsibilities"].mean(("chain", "draw"))
shares.to_pandas().round(2)

# %% [markdown]
# ## Can the draws be trusted?
#
# The guide is one network for all cells, and errs. Three kinds of draws, side by side: from the
# guide ("amortised"), from a posterior that is refined for each cell, and from chains of
# Hamiltonian Monte Carlo, which are exact in the long run.
#
# Importance weights show how good the first two are. If one were exact, all its weights would be
# equal, and the effective number of draws 500.

# %%
kinds = {
    "amortised": draws,
    "refined": run.posterior(few, num_samples=500, refine=True),
    "HMC": run.posterior(few, num_samples=50 if QUICK else 250, method="hmc"),
}
for kind in ("amortised", "refined"):
    log_weight = kinds[kind]["sample_stats"]["log_weight"].to_numpy()[0]
    weight = np.exp(log_weight - log_weight.max(axis=0))
    effective = weight.sum(axis=0) ** 2 / (weight**2).sum(axis=0)
    print(f"effective draws of 500, cell by cell, {kind}:", effective.round().astype(int))

# %% [markdown]
# Chains have diagnostics of their own: `r_hat` near 1 says that the four of them agree, and `ess`
# how many independent draws they are worth.

# %%
az.summary(kinds["HMC"], var_names=["z"], coords={"obs": [one]}, kind="diagnostics")

# %% [markdown]
# One cell's latents by all three. Where refined draws lie on the chains' and amortised ones do not,
# the guide is at fault: use `refine=True`. Where refined draws differ from the chains' as well, the
# posterior is no Gaussian: use the chains.

# %% mystnb={"image": {"alt": "Histograms of one cell's latents by all three posteriors"}}
_, axes = plt.subplots(1, 5, figsize=(12, 2.6), layout="constrained", sharey=True)
colours = {"amortised": "#E69F00", "refined": "#0072B2", "HMC": "#000000"}
for latent, ax in enumerate(axes):
    for kind, found in kinds.items():
        z = found["posterior"]["z"].sel(obs=one, latent=latent).to_numpy().ravel()
        ax.hist(z, bins=30, density=True, histtype="step", color=colours[kind], label=kind)
    ax.set(xlabel=f"z{latent}", yticks=[])
_ = axes[0].legend(frameon=False, fontsize="small")

# %% [markdown]
# ## Would the model make such data?
#
# `check` draws 200 data sets of the size of the test set from the model and compares them with the
# held-out cells. `discrepancy` is about 1 if the data are like those that the model makes;
# `p_value` is the share of these data sets that are at least as far off.

# %%
checks = {name: run.check(adata) for name, run in runs.items()}
checks["negative binomial"].table.round(2)

# %% [markdown]
# The Poisson model fails: the p-values of the variance over the mean and of the maximum are close
# to the smallest that 200 data sets allow (0.005).

# %%
checks["poisson"].table.round(2)

# %% [markdown]
# A figure of the check that is most informative for counts: the variance over the mean of each
# gene, which is 1 for Poisson counts of one rate. Bars are the range of the model's data sets.
#
# On the right, the most common genes (far right) vary more than Poisson counts can, even with
# latents: the triangles are above their bars. On the left they are within. Triangles low in either
# figure are genes that vary less than the model expects.

# %% mystnb={"image": {"alt": "Variance over mean of genes: data and two models' ranges"}}
_, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained", sharey=True)
for ax, (name, result) in zip(axes, checks.items(), strict=True):
    check_plots.mean_variance(result, ax=ax)
    ax.set_title(f"{name}\n{ax.get_title()}")

# %% [markdown]
# The share of zeros of each gene. Poisson counts (right) have fewer zeros than the data: more
# points are below the line.

# %% mystnb={"image": {"alt": "Shares of zeros of genes: data and two models"}}
_, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained", sharey=True)
for ax, (name, result) in zip(axes, checks.items(), strict=True):
    check_plots.zeros(result, ax=ax)
    ax.set_title(f"{name}\n{ax.get_title()}")

# %% [markdown]
# ## Which of the two explains held-out cells better?
#
# Log-likelihoods per cell by Pareto-smoothed importance sampling from refined posteriors, with the
# standard error of the difference. `bad_k` is the share of cells whose estimate is too low by an
# unknown amount, because their weights are too uneven even so.

# %%
compare(runs, adata).round(2)

# %% [markdown]
# ## Summaries for large data
#
# Draws of counts for 100,000 cells would not fit into memory. `predictive` keeps only summaries:
# here of the genes, over all cells.

# %%
summary = run.predictive(adata, num_samples=20).features
summary["observed mean"] = np.asarray(adata.X.mean(axis=0)).ravel()
summary["observed zeros"] = 1 - np.asarray((adata.X > 0).mean(axis=0)).ravel()
shown = ["observed mean", "mean", "observed zeros", "zeros", "q0.05", "q0.95"]
summary.sort_values("mean", ascending=False)[shown].head(8).round(2)
