# %% [markdown]
# # Tumours: types and programmes in bulk RNA-seq
#
# Bulk RNA-seq counts millions of reads per sample, with few zeros and a wide range. The same kind
# of GMVAE as for single cells sorts tumours into types, finds the genes that mark them, and
# captures what varies *within* types in its latents.

# %%
import os

import numpy as np
import torch
from example_data import tumours
from matplotlib import pyplot as plt
from sklearn.linear_model import LinearRegression

from vae4counts.data import top_features
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import fit, plots
from vae4counts.inference.interpretation import strongest_features
from vae4counts.models import GMVAE
from vae4counts.models.likelihoods import NegativeBinomial
from vae4counts.models.priors import GaussianMixture

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"

adata, what = tumours()
truth_known = "proliferation" in adata.obs
print(what)

# %% [markdown]
# TCGA's counts are RSEM's *expected* counts, rounded: reads that fit several genes are divided
# among them. Samples differ in depth; the observed total of each (its library size) accounts for
# that.

# %%
adata = top_features(adata, 5000)
depth = np.asarray(adata.X.sum(axis=1)).ravel()
print(f"reads a sample, in millions: {np.quantile(depth, [0.05, 0.5, 0.95]).round(-5) / 1e6}")
print(f"{1 - (adata.X != 0).mean():.1%} of the counts are zero, the largest is {adata.X.max():,}")

# %% [markdown]
# ## Fit
#
# As many components as there are types (for your own data: as many as you are willing to look at),
# and a linear decoder.
#
# Millions of reads determine a sample's latents almost exactly, so that the guide has to be
# accurate. Its encoder therefore sees counts per 10,000, which do not depend on depth, and has no
# dropout. (With the default, meant for shallow counts, types share components in the made data.)

# %%
torch.manual_seed(0)
model = GMVAE(
    adata.n_vars,
    prior=GaussianMixture(n_latent=15, n_components=adata.obs["primary_disease"].nunique()),
    likelihood=NegativeBinomial(),
    decoder="linear",
)
run = fit(
    model,
    guide_for(model, encoder=Encoder(inputs="log1p-counts-per-scale", dropout=0.0)),
    adata,
    label="primary_disease",
    epochs=8 if QUICK else 150,
    batch_size=64,
    progress=False,
)
found = run.evaluate(adata)
print(f"{found.n} test samples: log-likelihood {found.iw_log_likelihood:.0f} nats per sample")
print(f"they use {found.components_used} components, ARI {found.ari:.2f}, NMI {found.nmi:.2f}")

# %% [markdown]
# ## Types of tumours
#
# The latent space by type: the types lie apart, although the model was not told of them.

# %% mystnb={"image": {"alt": "Map of the tumours, coloured and named by type"}}
run.annotate(adata)
shown = adata[np.random.default_rng(0).permutation(adata.n_obs)[: plots.MOST_POINTS]]
plane, names = plots.two_dimensions(shown.obsm["X_vae"])
_, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
_ = plots.latent_space(
    plane, shown.obs["primary_disease"], title="Tumour types", axis_names=names, ax=ax
)

# %% [markdown]
# Components against types, in numbers of samples. A row with one bright cell is a type that has its
# own component.

# %% mystnb={"image": {"alt": "Heat map: numbers of tumours, types by components"}}
view = run.interpret(adata)
_ = plots.component_heatmap(view.component_labels("primary_disease"))

# %% [markdown]
# ## Marker genes
#
# The genes that are most increased in each component compared with the others.

# %% mystnb={"image": {"alt": "Heat map: fold changes of two genes a component"}}
contrasts = view.component_contrasts()
_ = plots.top_features_heatmap(contrasts, n=2)

# %% [markdown]
# In the made data it is known which genes mark which type. How many of the ten genes that stand out
# most in a component are markers of the type of most of its samples?

# %%
if truth_known:
    main = view.component_labels("primary_disease").idxmax().str.removeprefix("tumour type ")
    top = strongest_features(contrasts[main.index], 10)
    marked = top["feature"].str.extract("(.)_marker")[0]
    print(f"{(marked == top['component'].map(main)).mean():.0%} are markers of that type")

# %% [markdown]
# ## What varies within types
#
# How fast cells divide differs between tumours of one type. In the made data it is a number for
# each sample, and 40 genes depend on it. The model has never seen this number: do the latents
# capture it?

# %% mystnb={"image": {"alt": "Proliferation read off the latents against the truth"}}
if truth_known:
    latents, truth = adata.obsm["X_vae"], adata.obs["proliferation"]
    train, test = run.split.train, run.split.test
    guess = LinearRegression().fit(latents[train], truth.iloc[train])
    r2 = guess.score(latents[test], truth.iloc[test])
    print(f"latents explain {r2:.0%} of the variance of proliferation in test samples")
    _, ax = plt.subplots(figsize=(4.5, 4), layout="constrained")
    ax.scatter(truth.iloc[test], guess.predict(latents[test]), s=12, color="#0072B2")
    ax.axline((0, 0), slope=1, color="#999999", linestyle=":")
    ax.set(xlabel="proliferation (truth)", ylabel="read off the latents", title="Test samples")

# %% [markdown]
# And which genes depend on it? The loadings along the direction in which the latents move as
# proliferation grows.

# %%
if truth_known:
    direction = LinearRegression().fit(truth.to_frame(), latents).coef_.ravel()
    most = (run.loadings() @ direction).nlargest(40)
    right = most.index.str.startswith("cycle_").sum()
    print(f"of the 40 genes that go up most with it, {right} are among the 40 that truly do")

# %% [markdown]
# For real tumours no such truth is known: there, look at `run.loadings()` and
# `view.traverse_latent(...)`.
