"""Refined posteriors of a data set, kept and saved."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vae4counts.data import Counts
from vae4counts.data.progress.work import observation_bar
from vae4counts.guides import Guide
from vae4counts.guides.local import LocalGuide
from vae4counts.inference.parallel.matmul import fast_products
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.posterior.refinement import refine, site_blocks
from vae4counts.models import Model

# The buffers of a `LocalGuide`.
PARTS = ("log_weights", "loc", "scale_tril")


class RefinedPosteriors:
    """The refined posteriors of a data set's observations, each found when it is first asked for.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        counts: The observations.
        fingerprint: What tells these observations from others.
        seed: Seed of all draws.
        progress: Whether to show a progress bar.
    """

    def __init__(
        self,
        model: Model,
        guide: Guide,
        counts: Counts,
        fingerprint: str,
        seed: int,
        *,
        progress: bool = True,
    ) -> None:
        self._model, self._guide, self._counts = model, guide, counts
        self._fingerprint, self._seed, self._progress = fingerprint, seed, progress
        self._is_known = torch.zeros(len(counts), dtype=torch.bool, device=counts.device)
        self._parts: dict[str, Tensor] = {}

    def guide(self, rows: np.ndarray | None = None) -> Guide:
        """Return a guide of observations that is made of their refined posteriors.

        Args:
            rows: Their positions; all if None. In the guide they are counted from 0.

        Returns:
            A `LocalGuide`; the guide itself for a model that leaves nothing to it.
        """
        if self._model.is_exact:
            return self._guide
        every = torch.arange(len(self._counts), device=self._counts.device)
        chosen = every if rows is None else torch.as_tensor(rows, device=every.device)
        with own_randomness(self._counts.device, self._seed), fast_products():
            self._find(chosen[~self._is_known[chosen]])
            blocks = site_blocks(self._model, self._guide, self._counts.batch(chosen[:1]))
        return LocalGuide(blocks, **self._parts).of(chosen)

    def save(self, path: str | Path) -> None:
        """Write all that have been found to a file."""
        parts = {name: part.cpu() for name, part in self._parts.items()}
        save_file({"is_known": self._is_known.cpu(), **parts}, path, {"of": self._digest()})

    def load(self, path: str | Path) -> None:
        """Read what `save` wrote.

        Raises:
            ValueError: The file is no such file, or of another pair or other observations.
        """
        try:
            with safe_open(path, "pt") as file:
                digest = (file.metadata() or {}).get("of")
                parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} does not hold refined posteriors: {error}") from error
        if digest != self._digest():
            raise ValueError(f"{path} holds posteriors of another run, or of other observations")
        device = self._counts.device
        self._is_known = parts.pop("is_known").to(device)
        self._parts = {name: part.to(device) for name, part in parts.items()}

    def _find(self, rows: Tensor) -> None:
        if not len(rows):
            return
        with observation_bar("Refining posteriors", len(rows), visible=self._progress) as advance:
            counts = self._counts.subset(rows)
            found = refine(self._model, self._guide, counts, advance=advance)
        for name in PARTS:
            new = getattr(found, name)
            self._parts.setdefault(name, new.new_zeros((len(self._counts), *new.shape[1:])))
            self._parts[name][rows] = new
        self._is_known[rows] = True

    def _digest(self) -> str:
        """A digest of the parameters and the observations."""
        digest = hashlib.sha256(self._fingerprint.encode())
        state = (*self._model.state_dict().values(), *self._guide.state_dict().values())
        for value in (*state, *self._counts.covariates.values()):
            digest.update(value.cpu().numpy().tobytes())
        return digest.hexdigest()
