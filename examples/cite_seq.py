# %% [markdown]
# # RNA and proteins of the same cells
#
# CITE-seq counts the RNA of a cell and the proteins on its surface. A `MultiVAE` explains both by
# one latent space. Proteins have a background: antibodies that float around, and are counted in
# every cell. Here a fifth of the cells had no antibodies (we hide their proteins), as where old and
# new experiments come together: their proteins are *absent*, not zero, and the model predicts them.
# Unless you bring your own, the cells are drawn from a known truth.

# %%
import os
import warnings

import numpy as np
import pandas as pd
from example_data import cells_with_proteins
from matplotlib import pyplot as plt

from vae4counts.data import MultiData, modalities_of
from vae4counts.guides import guide_for
from vae4counts.inference import fit, plots
from vae4counts.models import GMVAE, Modality, MultiVAE
from vae4counts.models.likelihoods import NegativeBinomialBackground
from vae4counts.models.priors import GaussianMixture

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"

adata, what = cells_with_proteins()
print(what)
whole = modalities_of(adata, modalities={"rna": "X", "protein": "obsm/protein"})
hidden = np.random.default_rng(7).random(adata.n_obs) < 0.2
data = MultiData({"rna": whole["rna"], "protein": whole["protein"][~hidden]}, adata.obs)
data

# %% [markdown]
# ## One model of both
#
# Cells without proteins are neither decoded nor scored for them: the model learns RNA from all
# cells, and proteins from those that have them. The guide is a product of experts, one for each
# table, so that it encodes a cell by whatever it has. How many proteins are counted in a cell is
# part of what is explained (`library=None`), or it would have to be known of the hidden ones.

# %%
EPOCHS = 6 if QUICK else 40
model = MultiVAE(
    {
        "rna": Modality(whole["rna"].n_vars),
        "protein": Modality(whole["protein"].n_vars, NegativeBinomialBackground(), library=None),
    },
    prior=GaussianMixture(n_latent=8, n_components=8),
)
run = fit(model, guide_for(model), data, label="celltype", epochs=EPOCHS, progress=False)
alone = GMVAE(adata.n_vars, GaussianMixture(n_latent=8, n_components=8))
rna_run = fit(alone, guide_for(alone), adata, label="celltype", epochs=EPOCHS, progress=False)
found, of_rna = run.evaluate(data), rna_run.evaluate(adata)
pd.DataFrame(
    {"ARI": [found.ari, of_rna.ari], "NMI": [found.nmi, of_rna.nmi]},
    index=["RNA and proteins", "RNA alone"],
).round(2)

# %% [markdown]
# ## Proteins that were never measured
#
# For the cells whose proteins we hid: what is expected, given the RNA, beside what was counted.
# The quantiles are of new counts, not of their expectation, so that nine in ten of the counts
# should be between those of 5 % and 95 %.

# %%
view = run.interpret(data)
predicted = view.predict("protein", given=["rna"], quantiles=[0.05, 0.95])
names = adata.obs_names[hidden]
counted = whole["protein"].to_df().loc[names]
# a protein and its gene may have one name, which the model tells apart
own = counted.columns
expected = predicted.mean.loc[names].set_axis(own, axis=1)
low, high = (predicted.quantiles[q].loc[names].set_axis(own, axis=1) for q in (0.05, 0.95))
pd.DataFrame(
    {
        "correlation of logarithms": np.log1p(expected).corrwith(np.log1p(counted)),
        "counts between the quantiles": ((counted >= low) & (counted <= high)).mean(),
    }
).round(2)

# %% mystnb={"image": {"alt": "Expected against counted proteins of hidden cells, log axes"}}
shown = list(counted.columns[:6])
figure, axes = plt.subplots(2, 3, figsize=(9, 6), sharex=True, sharey=True, layout="constrained")
for ax, name in zip(axes.flat, shown, strict=True):
    ax.loglog(expected[name] + 1, counted[name] + 1, ".", markersize=3, alpha=0.5)
    ax.set(title=name)
figure.supxlabel("expected + 1")
_ = figure.supylabel("counted + 1")

# %% [markdown]
# ## What each table says
#
# `information` is what a table says of the latents beyond the other, in nats; the entropies say how
# sure the component is given both tables, and given one alone.

# %%
view.modality_table().round(2)

# %% mystnb={"image": {"alt": "Heat map: each latent's share in RNA and in proteins"}}
_ = plots.latent_shares_heatmap(view.latent_shares())

# %% [markdown]
# In nats, for cells that training has not seen: how well do the proteins follow from the RNA? Given
# another cell's RNA (`shuffled`) they are worse than given nothing (`marginal`). Two estimates of
# the same should agree; a warning tells where draws of the latents given the RNA are far from those
# given both.

# %%
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "log p.* is not known well")
    nats = run.conditional_log_likelihoods(data, "protein", ["rna"])
means = nats[["log_likelihood", "by_difference", "marginal", "shuffled"]].mean()
means["bad k"] = (nats["pareto_k"] > 0.7).mean()
means.round(2)

# %% [markdown]
# ## Components are of both
#
# The genes and the proteins that each component raises most.

# %%
contrasts = view.component_contrasts()
top = {
    name: contrasts.loc[features].apply(lambda column: ", ".join(column.nlargest(3).index))
    for name, features in run.table_features.items()
}
pd.DataFrame(top).assign(weight=view.component_table()["weight"].round(2))

# %% [markdown]
# ## Is it a model of the proteins?
#
# Replicates of the counts by the model, beside the counts: for one table at a time.

# %%
checks = run.check(data, 100, table="protein")
checks.table.round(2)
