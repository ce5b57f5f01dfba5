"""Seeded, shuffled mini-batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from vae4counts.data.counts.batch import Batch
from vae4counts.data.counts.batch_parts import Share
from vae4counts.data.counts.columns import CovariateNames
from vae4counts.data.counts.file import CountFile, counts_of
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.counts.tables import Counts, Tables
from vae4counts.data.counts.values import ValueMatrix

if TYPE_CHECKING:
    from anndata import AnnData


class CountLoader:
    """A data set in mini-batches, with each observation once an epoch.

    The order is a pure function of the seed and the epoch's number (and, for counts on disk, of
    the batch size): an epoch can be repeated, or training resumed in the middle of one, and no
    other random state is read or changed.

    Args:
        counts: The data; an AnnData is converted by `counts_of`.
        batch_size: Observations in a batch. The last one of an epoch may be smaller.
        shuffle: Whether each epoch has a random order of its own. Otherwise all epochs keep the
            order of the data.
        seed: Seed of the orders; 0 or more.
        layer: The layer of the AnnData that holds the raw counts; None for ``X``.
        covariates: Columns of ``obs`` of the AnnData to put into batches, see `counts_of`.
        share: What this process takes of every batch, where several processes share them.

    Raises:
        DataError: The AnnData does not hold raw counts.
        UnknownName: The AnnData has no such layer.
        ValueError: ``batch_size`` is below 1, ``seed`` is negative, or a layer is named although
            the counts are not an AnnData.
    """

    def __init__(
        self,
        counts: Counts | AnnData,
        *,
        batch_size: int = 128,
        shuffle: bool = True,
        seed: int = 0,
        layer: str | None = None,
        covariates: CovariateNames = (),
        share: Share = Share(),  # noqa: B008 (it is frozen)
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {batch_size}.")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, not {seed}.")
        if not isinstance(counts, (CountMatrix, CountFile, ValueMatrix, Tables)):
            counts = counts_of(counts, layer=layer, covariates=covariates)
        elif layer is not None or covariates:
            raise ValueError(
                f"layer= and covariates= are of an AnnData; a {type(counts).__name__} has its own."
            )
        self.counts = counts
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.share = share

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self.counts) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Return the batches of one epoch, on the device of the counts.

        Args:
            number: Which epoch, from 0; the same number always gives the same batches.
            start: The batch to start with, from 0; those before it are not read.
        """
        if start >= len(self):
            return iter(())
        random = np.random.default_rng([self.seed, number]) if self.shuffle else None
        return self.counts.batches(self.batch_size, random, start, self.share)
