# %% [markdown]
# # Tumours: types and programmes in bulk RNA-seq
#
# Bulk RNA-seq counts millions of reads a sample, with few zeros and a wide range. A GMVAE of the
# same form as for single cells sorts tumours into types, names the genes that mark them, and keeps
# what varies *within* types in its latents.

# %%
import os

import numpy as np
import torch
from example_data import tumours
from matplotlib import pyplot as plt
from sklearn.linear_model import LinearRegression

from vae4counts.data import top_features
from vae4counts.guides import guide_for
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
# TCGA's counts are RSEM's *expected* counts, rounded: reads that fit several genes are shared out.
# Samples differ in depth; the observed total of each (its library size) takes care of that.

# %%
adata = top_features(adata, 5000)
depth = np.asarray(adata.X.sum(axis=1)).ravel()
print(f"reads a sample, in millions: {np.quantile(depth, [0.05, 0.5, 0.95]).round(-5) / 1e6}")
print(f"{1 - (adata.X != 0).mean():.1%} of the counts are zero, the largest is {adata.X.max():,}")

# %% [markdown]
# ## Fit
#
# As many components as there are types (on data of one's own: as many as one is willing to look
# at), and a linear decoder.

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
    guide_for(model),
    adata,
    label="primary_disease",
    epochs=8 if QUICK else 150,
    batch_size=64,
    progress=False,
)
found = run.evaluate(adata)
print(f"{found.n} test samples: log-likelihood {found.iw_log_likelihood:.0f} nats per sample")
print(f"{found.components_used} components in use, ARI {found.ari:.2f}, NMI {found.nmi:.2f}")

# %% [markdown]
# ## Types of tumours
#
# The latent space by type. To see: types that lie apart, although the model was not told of them.

# %%
run.annotate(adata)
shown = adata[np.random.default_rng(0).permutation(adata.n_obs)[: plots.MOST_POINTS]]
plane, names = plots.two_dimensions(shown.obsm["X_vae"])
_, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
_ = plots.latent_space(
    plane, shown.obs["primary_disease"], title="Tumour types", axis_names=names, ax=ax
)

# %% [markdown]
# Components against types, in numbers of samples. To see: a row with one bright cell is a type that
# has a component of its own.

# %%
view = run.interpret(adata)
_ = plots.component_heatmap(view.component_labels("primary_disease"))

# %% [markdown]
# ## Marker genes
#
# The genes that each component has most more of than the others.

# %%
contrasts = view.component_contrasts()
_ = plots.top_features_heatmap(contrasts, n=2)

# %% [markdown]
# On made data it is known which genes are markers of which type. How many of the ten genes that
# stand out most in a component are markers of the type that most of its samples are of?

# %%
if truth_known:
    main = view.component_labels("primary_disease").idxmax().str.removeprefix("tumour type ")
    top = strongest_features(contrasts[main.index], 10)
    marked = top["feature"].str.extract("(.)_marker")[0]
    print(f"{(marked == top['component'].map(main)).mean():.0%} are markers of that type")

# %% [markdown]
# ## What varies within types
#
# How fast cells divide differs between tumours of one type. In the made data that is a number for
# each sample, and 40 genes go with it. The model has never seen the number: is it in the latents?

# %%
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
# Genes that go up and down together *within* types have correlated rates, whatever they are
# called. Shown is the correlation of the log-rates of a few genes, in samples of the largest type.

# %%
largest = adata.obs["primary_disease"].value_counts().idxmax()
inside = run.interpret(adata[adata.obs["primary_disease"] == largest].copy())
if truth_known:
    genes = [*(f"cycle_{i}" for i in range(1, 6)), *(f"gene_{i}" for i in range(1, 6))]
else:
    genes = list(contrasts.max(axis=1).nlargest(10).index)
inside.feature_correlation(genes).round(2)
