"""What can be written down of something that goes on: JSON values, and tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class State:
    """All that is needed to go on.

    Attributes:
        values: JSON values.
        tensors: Tensors; they may be those that are at work, and change with the next step.
    """

    values: dict[str, Any]
    tensors: dict[str, Tensor]


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Puts named tensors of several parts together, as ``part.name``."""
    return {f"{key}.{name}": v for key, own in parts.items() for name, v in own.items()}


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part of those that `joined` put together."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
