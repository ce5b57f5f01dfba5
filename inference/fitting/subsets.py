"""Training of the experts of a product guide on subsets of the modalities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from vae4counts.guides import Guide
from vae4counts.guides.product import EXPERTS, Opinion, product
from vae4counts.inference.fitting.handlers import Handler
from vae4counts.models import Model


class SubsetExperts(Handler):
    r"""A penalty that fits q(z | some modalities) to draws from q(z | all of them).

    Adds, for each observation,

    .. math:: - \frac{1}{|\mathcal{A}|} \sum_{A \in \mathcal{A}} \log q(z \mid x_A),
              \qquad z \sim q(z \mid x),

    to minus the ELBO, where ``A`` runs over each modality alone and all but one. No gradient goes
    through ``z``: the term reaches the guide's experts alone, and the joint ELBO stays the model's
    only objective. (To train a model on random subsets of its modalities bounds its ELBO away from
    the joint one, Daunhawer et al. 2022.)

    It does nothing for a model of one table, or a guide that is no product of experts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loss: Tensor | float = 0.0

    def fits(self, model: Model, guide: Guide) -> bool:  # noqa: ARG002
        """Whether the model has several tables."""
        return len(model.tables) > 1

    needs = "models of several tables"

    def _pyro_post_sample(self, message: dict[str, Any]) -> None:
        experts = message["infer"].get(EXPERTS)
        if experts is not None:
            (plate,) = (f for f in message["cond_indep_stack"] if f.name == "observations")
            self.loss = plate.full_size * divergence(experts, message["value"].detach())

    def penalty(self) -> Tensor | float:
        """See `Handler.penalty`."""
        return self.loss


def divergence(experts: Mapping[str | None, Opinion], z: Tensor) -> Tensor | float:
    """Return the mean over observations of ``-log q(z | x_A)``, averaged over subsets.

    An observation takes part in a subset if it has some of its modalities and lacks others of it.

    Args:
        experts: The opinions of the experts by table; that of the prior under None.
        z: Draws from their product, shape ``(B, L)``.
    """
    tables = [name for name in experts if name is not None]
    everyone = torch.ones(len(z), dtype=torch.bool, device=z.device)
    has = {
        name: everyone if (present := experts[name].present) is None else present for name in tables
    }
    losses = []
    for chosen in subsets(tables):
        inside = torch.stack([has[name] for name in tables if name in chosen]).any(0)
        outside = torch.stack([has[name] for name in tables if name not in chosen]).any(0)
        log_q = product([experts[None], *(experts[name] for name in chosen)]).log_prob(z).sum(-1)
        losses.append(-(log_q * (inside & outside)).mean())
    return torch.stack(losses).mean() if losses else 0.0


def subsets(tables: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield each of several tables alone, and all but each."""
    if len(tables) > 1:
        yield from ((name,) for name in tables)
    if len(tables) > 2:
        yield from (tuple(other for other in tables if other != name) for name in tables)
