"""The ELBO of the validation observations."""

from __future__ import annotations

import torch

from vae4counts.data import CountLoader, Counts
from vae4counts.guides import Guide
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.parallel.shared_noise import whole_noise
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS, draw
from vae4counts.models import Model

MAX_BATCH_SIZE = 1024


def validation_parts(model: Model, guide: Guide, counts: Counts) -> dict[str, float]:
    """Return each site's share of the ELBO, means per observation in nats, by one draw each.

    The draws are the same at every call, so that the values of two epochs can be compared.
    """
    model.eval()
    guide.eval()
    processes = Processes.here()
    totals: dict[str, float] = {}
    batch_size = max(1, min(MAX_BATCH_SIZE, CHUNK_NUMBERS // model.numbers_per_draw))
    with own_randomness(counts.device, seed=0):
        loader = CountLoader(counts, batch_size=batch_size, shuffle=False, share=processes.share)
        for batch in loader:
            with whole_noise(batch):
                parts = draw(model, guide, batch, 1).elbo_parts()
            for name, part in parts.items():
                own = part[: batch.whole.n_rows].sum().item()
                totals[name] = totals.get(name, 0.0) + own
    sums = torch.tensor(list(totals.values()), dtype=torch.float64, device=counts.device)
    means = processes.sum(sums) / len(counts)
    return dict(zip(totals, means.tolist(), strict=True))
