"""Digests by which a run recognises the data that it was fitted to."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae4counts.data import CountLoader, Counts, Member, Tables
from vae4counts.data.readers.as_anndata import unique_names

# What fingerprints begin with that tell counts apart, not only totals.
OF_COUNTS = "counts:"
OF_TABLES = "tables:"
# Read at once for a fingerprint, which does not depend on it.
FINGERPRINT_ROWS = 4096


def fingerprint(names: pd.Index, counts: Counts) -> str:
    """Return a digest of the observations' names and values, in order.

    Of the counts ``x_j`` of an observation it has the total and ``sum_j w_j x_j``, with random
    whole numbers ``w``: exact, however the counts are stored and in which pieces they are read. Of
    other values it has the same sum of their bits as whole numbers. Of several tables it also has
    their names, and which observations lack which.
    """
    if not isinstance(counts, Tables):
        digest = hashlib.sha256(by_totals(names, counts).encode())
        digest.update(_sums(counts).tobytes())
        return f"{OF_COUNTS}{digest.hexdigest()}"
    digest = _of_names(names)
    for table, member in counts.members.items():
        present = counts.present[table].cpu().numpy()
        rows = counts.positions[table]
        order = np.arange(len(member)) if rows is None else rows.cpu().numpy()[present]
        digest.update(f"\n{table}\n".encode(errors="surrogatepass"))
        digest.update(present.tobytes())
        digest.update(_sums(member)[order].tobytes())
    return f"{OF_TABLES}{digest.hexdigest()}"


def fingerprint_like(fitted: str, names: pd.Index, counts: Counts) -> str:
    """Return the fingerprint to compare with a fit's: one of 0.1.0 has names and totals alone."""
    is_of_totals = not fitted.startswith((OF_COUNTS, OF_TABLES)) and not isinstance(counts, Tables)
    return (by_totals if is_of_totals else fingerprint)(names, counts)


def by_totals(names: pd.Index, counts: Counts) -> str:
    """Return a digest of the observations' names and total counts, in order."""
    digest = _of_names(names)
    digest.update(counts.library.cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _of_names(names: pd.Index) -> hashlib._Hash:
    # repeated names are made unique, as they are when a file is loaded; and names may hold half of
    # a pair of surrogates, as those of files do
    return hashlib.sha256("\n".join(unique_names(names)).encode(errors="surrogatepass"))


def _sums(member: Member) -> np.ndarray:
    """Return the weighted sum of each row's values, as whole numbers of 64 bits."""
    weights = np.random.default_rng(0).integers(2**20, size=member.n_features)
    weight = torch.from_numpy(weights)
    batches = CountLoader(member, batch_size=FINGERPRINT_ROWS, shuffle=False)
    found = [_products(batch.counts.cpu(), weight) for batch in batches]
    return np.concatenate(found or [np.zeros(0)]).astype("<i8")


def _products(table: Tensor, weight: Tensor) -> np.ndarray:
    if table.layout == torch.strided:
        plain = torch.where(table.isnan(), torch.nan, table + 0.0)  # one NaN, and no -0
        return (plain.view(torch.int32).long() * weight).sum(1).numpy()
    lengths = table.crow_indices().diff()
    rows = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    products = table.values().long() * weight[table.col_indices().long()]
    return torch.zeros(len(lengths), dtype=torch.int64).index_add_(0, rows, products).numpy()
