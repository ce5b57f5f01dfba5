"""Training on random subsets of the tables, beside which ours is measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vae4counts.guides.product import EXPERTS, Opinions
from vae4counts.inference.fitting.handlers import Handler

# Of the observations, those that keep all tables.
WHOLE = 0.5


class DroppedTables(Handler):
    """Plain dropping of tables: half of the observations keep one of them, of a random choice.

    What is dropped is neither encoded nor scored, so that the objective is the mean of the joint
    ELBO and of the ELBOs of single tables (Wu & Goodman 2018). It takes the place of
    `SubsetExperts`, and is for observations that have all tables.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Tensor] = {}

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        experts = message["infer"].pop(EXPERTS, None)
        if experts is not None:
            message["fn"] = self._of_some(experts).posterior().to_event(1)
        elif message["name"] in self.kept:
            message["mask"] = self.kept[message["name"]]

    def _of_some(self, experts: Opinions) -> Opinions:
        """Choose what each observation keeps, and return what experts say of that."""
        n = len(experts.prior.precision)
        whole = torch.rand(n) < WHOLE
        only = torch.randint(len(experts.tables), (n,))
        self.kept = {name: whole | (only == i) for i, name in enumerate(experts.tables)}
        said = {name: each.only(self.kept[name]) for name, each in experts.tables.items()}
        together = experts.together
        return Opinions(experts.prior, said, together and together.only(whole))
