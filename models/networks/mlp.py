"""The multilayer perceptron of encoders and decoders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from vae4counts.models.networks.batch_norm import BatchNorm

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "softplus": nn.Softplus,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

NORMS: dict[str, type[nn.Module]] = {
    "layer": nn.LayerNorm,
    "batch": BatchNorm,
    "rms": nn.RMSNorm,
    "none": nn.Identity,
}


def choose(name: str, choices: dict[str, type[nn.Module]], what: str) -> type[nn.Module]:
    """Look a name up.

    Raises:
        ValueError: It is not among the choices, which are listed.
    """
    if name not in choices:
        raise ValueError(f"{what} is {name!r}: it must be one of {', '.join(choices)}")
    return choices[name]


def check_widths(hidden: Sequence[int]) -> None:
    """Check the widths of hidden layers.

    Raises:
        ValueError: There is no hidden layer, or one has no unit.
    """
    if not hidden or min(hidden) < 1:
        raise ValueError(f"hidden is {hidden}: give the width of at least one hidden layer")


def check_layers(hidden: Sequence[int], norm: str, activation: str) -> None:
    """Check the arguments that encoders and decoders share.

    Raises:
        ValueError: There is no hidden layer, or a name is unknown.
    """
    if len(hidden) == 0:
        raise ValueError("hidden is empty: give the width of at least one hidden layer")
    choose(norm, NORMS, "norm")
    choose(activation, ACTIVATIONS, "activation")


class MLP(nn.Sequential):
    """Hidden layers: normalisation, activation and dropout after each linear map.

    Args:
        first: The first linear map, given separately because an encoder's takes sparse input.
        sizes: Widths of the hidden layers; ``sizes[0]`` is the output width of ``first``.
        norm: One of "layer", "batch", "rms", "none".
        activation: One of "softplus", "relu", "gelu", "silu".
        dropout: Fraction of units dropped in training.

    Raises:
        ValueError: An unknown name; the message lists the known ones.
    """

    def __init__(
        self, first: nn.Module, sizes: Sequence[int], norm: str, activation: str, dropout: float
    ) -> None:
        normalise = choose(norm, NORMS, "norm")
        activate = choose(activation, ACTIVATIONS, "activation")
        layers: list[nn.Module] = []
        for i, size in enumerate(sizes):
            linear = first if i == 0 else nn.Linear(sizes[i - 1], size)
            if normalise is BatchNorm:
                # it subtracts the mean: a bias would get rounding errors as its gradient, and
                # Adam would follow them
                linear.register_parameter("bias", None)
            layers += [linear, normalise(size), activate()]
            layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers)
