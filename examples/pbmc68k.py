# %% [markdown]
# # Blood cells: three layers of one model
#
# A Gaussian-mixture VAE (GMVAE) with a linear decoder is fitted to counts of transcripts in blood
# cells. It gives a **latent space** (where is a cell?), **components** (which cells go together?)
# and **loadings** (which genes make a direction?). The cell types are known, but the model never
# sees them: they serve only as a reference.

# %%
import os

import scanpy as sc
import torch
from example_data import cells
from matplotlib import pyplot as plt

from vae4counts.data import top_features
from vae4counts.guides import guide_for
from vae4counts.inference import fit, plots
from vae4counts.models import GMVAE
from vae4counts.models.likelihoods import NegativeBinomial
from vae4counts.models.priors import GaussianMixture

EPOCHS = 8 if os.environ.get("VAE4COUNTS_QUICK") == "1" else None  # None: as many as it takes

adata, what = cells()
print(what)

# %% [markdown]
# Raw counts are all that is needed: no normalisation, no logarithm. If there are many genes, those
# whose share of the counts varies most are kept.

# %%
adata = top_features(adata, 2000)
adata

# %% [markdown]
# ## Fit
#
# Ten components, ten latents, negative binomial counts. Prior, likelihood and decoder are objects:
# to swap one, change one argument.

# %%
torch.manual_seed(0)
model = GMVAE(
    adata.n_vars,
    prior=GaussianMixture(n_latent=10, n_components=10),
    likelihood=NegativeBinomial(dispersion="feature"),
    decoder="linear",
)
run = fit(model, guide_for(model), adata, label="celltype", epochs=EPOCHS, progress=False)

# %% [markdown]
# The blue line matters most: the evidence lower bound (ELBO) of cells that are held out. It
# should rise and then level off; the best epoch is kept. The band above it is what the latents
# cost (KL).

# %% mystnb={"image": {"alt": "ELBO and KL of training and held-out cells by epoch"}}
_ = plots.training_history(run.history)

# %% [markdown]
# Test cells, which played no part in training: log-likelihoods are nats per cell; the adjusted
# Rand index (ARI) and the normalised mutual information (NMI) say how well components agree with
# cell types (0: no better than chance; 1: identical).

# %%
found = run.evaluate(adata)
print(f"{found.n} test cells")
print(f"ELBO {found.elbo:.1f}, log-likelihood {found.iw_log_likelihood:.1f} nats per cell")
print(f"they use {found.components_used} components, ARI {found.ari:.2f}, NMI {found.nmi:.2f}")

# %% [markdown]
# ## Layer 1: the latent space, layer 2: the components
#
# `annotate` writes results where scanpy looks for them (`obsm["X_vae"]`, `obs["component"]`, ...),
# so that scanpy's functions work as they are: here its neighbours and its UMAP.
#
# Left: most cell types lie apart, although the model was not told of them; the kinds of T cells and
# the NK cells share an island. Right: the components divide the same islands; each has the colour
# of the type that most of its cells are of, or a shade of it.

# %% mystnb={"image": {"alt": "Two maps of the cells: by cell type, by component"}}
run.annotate(adata)
sc.pp.neighbors(adata, use_rep="X_vae", random_state=0)
sc.tl.umap(adata, random_state=0)

_, (left, right) = plt.subplots(
    1, 2, figsize=(13, 4.5), layout="constrained", width_ratios=(1.5, 1)
)
plots.latent_space(adata.obsm["X_umap"], adata.obs["celltype"], title="Cell types", ax=left)
components = adata.obs["component"]
colours = dict(zip(components.cat.categories, adata.uns["component_colors"], strict=True))
_ = plots.latent_space(
    adata.obsm["X_umap"], components, colours=colours, title="Components", ax=right
)

# %% [markdown]
# Components against cell types, in numbers of cells. Most types are in one or two components; types
# that are close (the T cells) share theirs, and a large type is divided.

# %% mystnb={"image": {"alt": "Heat map: numbers of cells, types by components"}}
view = run.interpret(adata)
_ = plots.component_heatmap(view.component_labels("celltype"))

# %% [markdown]
# ### What makes a component: its marker genes
#
# For each component, the genes that are most increased in it compared with the other components, as
# log2 fold changes of the model's expected counts. Read a column: purple genes are lower in it,
# orange ones higher. In the 700 cells, B cells have two components, and the genes show why: MS4A1
# and BANK1 mark B cells, but MZB1, IGJ and TNFRSF17 mark plasma cells, which make antibodies.

# %% mystnb={"image": {"alt": "Heat map: fold changes of three genes a component"}}
contrasts = view.component_contrasts()
_ = plots.top_features_heatmap(contrasts, n=3)

# %% [markdown]
# ## Which genes tell B cells from the rest?
#
# Differential expression asks the posterior: how likely is it that a gene's share differs by more
# than a factor of 1.4 (`delta=0.5`) between two groups, leaving aside the noise of the counts?
# Genes are called such that about 5 % of the calls are expected to be wrong.

# %% mystnb={"image": {"alt": "Volcano plot of B cells against the rest, genes named"}}
table = view.differential_expression("celltype", "CD19+ B")
_ = plots.volcano(table)

# %% [markdown]
# Textbook markers of B cells, if they are among the genes measured. CD79A, CD79B and MS4A1 are
# specific to B cells. CD74 and HLA-DRA are not called: dendritic cells and monocytes, more
# than half of the rest, have them too.

# %%
known = [gene for gene in ("CD79A", "CD79B", "MS4A1", "CD74", "HLA-DRA") if gene in table.index]
table.loc[known, ["lfc_mean", "proba_de", "bayes_factor", "is_de_fdr_0.05"]].round(2)

# %% [markdown]
# ## Layer 3: loadings
#
# The decoder is linear, so that each latent is a list of genes that go up (orange) and down
# (purple) with it, in nats per unit. Shown are the two genes at either end of each latent.

# %% mystnb={"image": {"alt": "Heat map: loadings of two genes at either end of a latent"}}
_ = plots.top_features_heatmap(
    run.loadings(), n=2, both_ends=True, title="Loadings", unit="nats per unit of z"
)

# %% [markdown]
# `run.save("runs/pbmc68k")` saves the run; `Run.load` loads it again.
