# %% [markdown]
# # Words from objects, and back
#
# Two tables of the same pictures: how many of each object are in it, and how often each word is in
# its captions. A `MultiVAE` explains both by one latent space, so that it can be asked for one
# given the other: which words go with these objects? Which objects does a caption speak of? And how
# many nats does one gain from the other, for pictures that training has not seen?

# %%
import os
import warnings

import numpy as np
import pandas as pd
from example_data import captioned_pictures

from vae4counts.data import modalities_of
from vae4counts.guides import guide_for
from vae4counts.inference import fit, plots
from vae4counts.models import Modality, MultiVAE
from vae4counts.models.likelihoods import NegativeBinomial, Poisson
from vae4counts.models.priors import GaussianMixture

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"

adata, what = captioned_pictures()
print(what)
data = modalities_of(adata, modalities={"objects": "X", "words": "obsm/captions"})
data

# %% [markdown]
# ## One model of two tables
#
# Each table has a likelihood of its own. The number of objects is part of what the model explains
# (`library=None`); the number of words, which is a matter of who wrote, is given. A mixture prior
# has scenes as its components, which are behind both tables.

# %%
sizes = {name: table.n_vars for name, table in data.mod.items()}
model = MultiVAE(
    {
        "objects": Modality(sizes["objects"], NegativeBinomial(), library=None),
        "words": Modality(sizes["words"], Poisson()),
    },
    prior=GaussianMixture(n_latent=10, n_components=9),
)
run = fit(
    model,
    guide_for(model),
    data,
    label="scene" if "scene" in data.obs else None,
    epochs=6 if QUICK else 60,
    batch_size=128,
    progress=False,
)
found = run.evaluate(data)
print(f"held out: log-likelihood {found.iw_log_likelihood:.2f} nats per picture")
if found.ari is not None:
    print(f"components against true scenes: ARI {found.ari:.2f}")

# %% [markdown]
# ## Words, given objects
#
# For one picture that training has not seen: its objects, the words of its captions, and the words
# that the model expects when it is shown the objects alone.

# %%
view = run.interpret(data)
words = view.predict("words", given=["objects"], quantiles=[0.9])
objects = view.predict("objects", given=["words"])
picture = data.obs_names[run.split.test[2]]


def seen(table):
    """What was counted in the picture, the largest counts first."""
    own = data[table]
    values = np.asarray(own[picture].X.toarray()).ravel()
    counts = pd.Series(values, own.var_names)
    return counts[counts > 0].sort_values(ascending=False, kind="stable")


print("objects:", ", ".join(f"{n:.0f} {name}" for name, n in seen("objects").items()))
pd.DataFrame(
    {
        "counted": seen("words").reindex(data["words"].var_names, fill_value=0),
        "expected": words.mean.loc[picture].to_numpy(),
        "at most (9 in 10)": words.quantiles[0.9].loc[picture].to_numpy(),
    }
).nlargest(12, "expected").round(1)

# %% [markdown]
# And the objects, given the words alone:

# %%
pd.DataFrame(
    {
        "counted": seen("objects").reindex(data["objects"].var_names, fill_value=0),
        "expected": objects.mean.loc[picture].to_numpy(),
    }
).nlargest(8, "expected").round(2)

# %% [markdown]
# ## How much does one table say of the other?
#
# `log p(words | objects)` of the pictures held out, in nats. It is estimated in two ways, which
# should agree: by weighted draws of the latents given the objects, and as a difference of two
# log-likelihoods. It is above that of the words given nothing (`marginal`), and far above that
# given the objects of another picture (`shuffled`).
#
# Words say much that objects do not, so that draws of the latents given the objects alone are far
# from those given both: most weights have heavy tails (`bad k`), of which a warning tells. How far
# the two ways are from each other shows what that costs.

# %%
gains = {}
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "log p.* is not known well")
    for of, given in (("words", "objects"), ("objects", "words")):
        nats = run.conditional_log_likelihoods(data, of, [given])
        means = nats[["log_likelihood", "by_difference", "marginal", "shuffled"]].mean()
        means["bad k"] = (nats["pareto_k"] > 0.7).mean()
        gains[f"{of}, given {given}"] = means.round(2)
pd.DataFrame(gains).T

# %% [markdown]
# ## What is common, and what is a table's own
#
# How much of each table's variation is along each latent, and what each table says of a picture
# beyond the other.

# %% mystnb={"image": {"alt": "Heat map: each latent's share in objects and in words"}}
_ = plots.latent_shares_heatmap(view.latent_shares())

# %%
view.modality_table().round(2)

# %% [markdown]
# ## Components are of both
#
# Each component raises objects and words.

# %%
contrasts = view.component_contrasts()
top = {
    name: contrasts.loc[features].apply(lambda column: ", ".join(column.nlargest(3).index))
    for name, features in run.table_features.items()
}
shown = pd.DataFrame(top).assign(weight=view.component_table()["weight"].round(2))
shown.replace({"objects:": "", "words:": ""}, regex=True)

# %% [markdown]
# A question about both: if there are a fork and a cake, what else is there, and what is said?
# Names that both tables have are told apart as `objects:fork` and `words:fork`.

# %%
answer = view.expected_given(["objects:fork", "objects:cake"])
answer.head(8).round(2)
