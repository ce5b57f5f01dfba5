"""Where half precision ends."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(outputs: Tensor) -> Tensor:
    """A network's outputs in float32 or wider, whatever the network computes in."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
