"""Training of the experts of a product guide on subsets of the modalities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vae4counts.guides.product import EXPERTS, Opinions
from vae4counts.inference.fitting.handlers import Handler

# Observations of which the term has half of its weight. It fits regressions to draws: few of them
# are learnt by heart, by encoders that the ELBO shares, and experts of subsets are then far off for
# others. At a tenth of the weight they are not; where there are thousands it does no harm.
HALF_WEIGHT = 1_000


class SubsetExperts(Handler):
    r"""A penalty that fits q(z | some modalities) to draws from q(z | all of them).

    Adds, for each observation,

    .. math:: - \frac{N}{N + 1000} \; \frac{1}{|\mathcal{A}|}
              \sum_{A \in \mathcal{A}} \log q(z \mid x_A), \qquad z \sim q(z \mid x),

    to minus the ELBO, where ``A`` runs over each modality alone and all but one, and ``N`` is the
    number of training observations: of few the term would learn too much. No gradient goes
    through ``z``: the term reaches the guide's experts alone, and the joint ELBO stays the model's
    only objective. (To train a model on random subsets of its modalities bounds its ELBO away from
    the joint one, Daunhawer et al. 2022.)

    It does nothing for a model of one table, or a guide that is no product of experts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loss: Tensor | float = 0.0

    def _pyro_post_sample(self, message: dict[str, Any]) -> None:
        # taken away, so that the model's site, which is replayed from the guide's, has none
        experts = message["infer"].pop(EXPERTS, None)
        if experts is not None:
            (plate,) = (f for f in message["cond_indep_stack"] if f.name == "observations")
            n = plate.full_size
            weight = n / (n + HALF_WEIGHT)
            self.loss = weight * n * divergence(experts, message["value"].detach())

    def penalty(self) -> Tensor | float:
        """See `Handler.penalty`."""
        return self.loss


def divergence(experts: Opinions, z: Tensor) -> Tensor | float:
    """Return the mean over observations of ``-log q(z | x_A)``, averaged over subsets.

    An observation takes part in a subset if it has some of its modalities and some others.

    Args:
        experts: What the experts say.
        z: Draws from their product, shape ``(B, L)``.
    """
    everyone = torch.ones(len(z), dtype=torch.bool, device=z.device)
    has = {
        name: everyone if each.present is None else each.present
        for name, each in experts.tables.items()
    }
    losses = []
    for chosen in subsets(list(has)):
        inside = torch.stack([has[name] for name in chosen]).any(0)
        outside = torch.stack([has[name] for name in has if name not in chosen]).any(0)
        log_q = experts.posterior(chosen).log_prob(z).sum(-1)
        losses.append(-(log_q * (inside & outside)).mean())
    return torch.stack(losses).mean() if losses else 0.0


def subsets(tables: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield each of several tables alone, and all but each."""
    if len(tables) > 1:
        yield from ((name,) for name in tables)
    if len(tables) > 2:
        yield from (tuple(other for other in tables if other != name) for name in tables)
