"""What can be written down of something that is under way: JSON values, and tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class State:
    """All that is needed to continue.

    Attributes:
        values: JSON values.
        tensors: Tensors; they may be those in use, which change with the next step.
    """

    values: dict[str, Any]
    tensors: dict[str, Tensor]


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the named tensors of several parts in one dictionary, as ``part.name``."""
    return {f"{key}.{name}": v for key, own in parts.items() for name, v in own.items()}


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors of one of the parts that `joined` put together."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
