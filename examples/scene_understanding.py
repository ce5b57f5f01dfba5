# %% [markdown]
# # Pictures as counts: scenes, and what goes with a fork and a cake
#
# COCO's annotations say which objects are in a picture, and how many of each. A GMVAE sees only
# these counts, no pixels. Its components should be **scenes** (a meal, a street), and as a model of
# whole pictures it can be asked: *if there are a fork and a cake, what else is there?*

# %%
import os

import pandas as pd
import torch
from anndata import AnnData
from example_data import made_scenes, pictures

from vae4counts.guides import guide_for
from vae4counts.inference import fit, plots
from vae4counts.inference.interpretation import strongest_features
from vae4counts.models import GMVAE
from vae4counts.models.likelihoods import NegativeBinomial
from vae4counts.models.priors import GaussianMixture

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"

adata, what = pictures()
truth_known = "scene" in adata.obs
print(what)

# %% [markdown]
# A picture shows only a few of the kinds of objects: the counts are sparse.

# %%
print(f"{(adata.X != 0).mean():.1%} of all counts are above zero")
adata[:5, ["person", "chair", "car", "fork", "cake"]].to_df()

# %% [markdown]
# ## Fit
#
# The number of objects in a picture is part of what the model explains, so that it has no library
# size (`library=None`). Batches have 64 pictures.

# %%
torch.manual_seed(0)
model = GMVAE(
    adata.n_vars,
    prior=GaussianMixture(n_latent=6, n_components=9 if truth_known else 15),
    likelihood=NegativeBinomial(),
    library=None,
)
run = fit(
    model,
    guide_for(model),
    adata,
    label="scene" if truth_known else None,
    epochs=8 if QUICK else 100,
    batch_size=64,
    progress=False,
)
found = run.evaluate(adata)
print(f"held out: log-likelihood {found.iw_log_likelihood:.2f} nats per picture")
if truth_known:
    print(f"components against true scenes: ARI {found.ari:.2f}, NMI {found.nmi:.2f}")

# %% [markdown]
# ## Scenes as components
#
# How common each component is, and the objects that are most increased in it compared with the
# other components.

# %%
view = run.interpret(adata)
contrasts = view.component_contrasts()
top = strongest_features(contrasts, 5)
scenes = view.component_table()[["weight"]].round(2)
scenes["objects"] = top.groupby("component")["feature"].agg(", ".join)
scenes.sort_values("weight", ascending=False)

# %% [markdown]
# In the made data the true scenes are known. Each row (a true scene) has most of its pictures in
# one column (a component), but one component also collects some pictures of every scene.

# %% mystnb={"image": {"alt": "Heat map: numbers of pictures, scenes by components"}}
if truth_known:
    plots.component_heatmap(view.component_labels("scene"))

# %% [markdown]
# ## What is seen together
#
# In the component where forks are most increased: how many times more often than by chance are two
# objects in the same picture? *By chance* means with the frequencies of all pictures, and objects
# independent of each other.

# %% mystnb={"image": {"alt": "Heat map: how much likelier pairs of objects are than chance"}}
meal = contrasts.loc["fork"].idxmax()
_ = plots.cooccurrence_heatmap(view.cooccurrence(meal, n=10), title=f"Component {meal}: lift")

# %% [markdown]
# ## What else is in a picture with a fork and a cake?
#
# The model is asked for the probability of every other object, given that there are one or more
# of both. The other objects are unknown, not absent. `base` is the probability without this
# knowledge, `lift` the factor by which the knowledge changes it.

# %%
answer = view.expected_given(["fork", "cake"])
answer.head(8).round(2)

# %% [markdown]
# Is the answer right? It can be compared with the pictures themselves, by counting those with a
# fork and a cake, though there may be few; and for made data with the truth: 200,000 new pictures.
#
# The model finds which seven objects go with the two, and which do not. Most of its long bars are
# shorter than the truth, wine glasses above all, and its short bars are longer, as it takes some of
# these pictures for meals.


# %% mystnb={"image": {"alt": "Bars: objects beside a fork and a cake, model and pictures"}}
def shares_given(pictures: AnnData, given: list[str]) -> pd.Series:
    """How many of the pictures with the given objects have each of the others, counted."""
    there = pictures.to_df() > 0
    return there[there[given].all(axis=1)].drop(columns=given).mean()


n_seen = int((adata.to_df()[["fork", "cake"]] > 0).all(axis=1).sum())
bars = {
    "model": answer["probability"],
    f"{n_seen} pictures counted": shares_given(adata, ["fork", "cake"]),
}
if truth_known:
    bars["truth"] = shares_given(made_scenes(200_000, seed=1), ["fork", "cake"])
shown = pd.DataFrame(bars).loc[answer.index[:10][::-1]]
ax = shown.plot.barh(figsize=(7, 5), color=["#0072B2", "#E69F00", "#999999"], width=0.8)
ax.set(xlabel="probability that there is one or more", ylabel="", title="With a fork and a cake")
_ = ax.legend(loc="lower right", frameon=False)

# %% [markdown]
# A fork alone suggests a meal. A cake as well suggests a party: more wine glasses and more people.

# %%
questions = {"nothing": answer["base"]}
for given in (["fork"], ["fork", "cake"]):
    questions[" and ".join(given)] = view.expected_given(given)["probability"]
pd.DataFrame(questions).reindex(["wine glass", "person", "bowl", "car"]).round(2)
