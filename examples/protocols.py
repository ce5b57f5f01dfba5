# %% [markdown]
# # The same cells, measured in several ways
#
# Five cell lines, three protocols. What differs between the protocols is larger than what differs
# between the lines, so a model that knows nothing of protocols finds protocols. Here we tell it, ask
# what it would have counted by another protocol, take it to a protocol that it has never seen, and
# give it the lines of a few cells.

# %%
import os
import warnings

import pandas as pd
from example_data import made_protocols
from matplotlib import pyplot as plt

from vae4counts.guides import guide_for
from vae4counts.inference import fit
from vae4counts.inference.plots import latent_map
from vae4counts.models import GMVAE, Covariates, Labels
from vae4counts.models.priors import GaussianMixture

QUICK = os.environ.get("VAE4COUNTS_QUICK") == "1"
EPOCHS = 6 if QUICK else None
adata = made_protocols()
pd.crosstab(adata.obs["protocol"], adata.obs["cell_line"])
