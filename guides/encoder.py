"""The encoder: from counts to the features that a guide's heads read."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vae4counts.guides.inputs import INPUTS, InputLayer, InputScaling
from vae4counts.models.config import Configured
from vae4counts.models.covariates import NO_COLUMNS, Columns, Covariates
from vae4counts.models.networks import MLP, check_layers


class Encoder(Configured, nn.Module):
    """A multilayer perceptron on scaled counts, whose first layer computes with non-zeros only.

    Args:
        hidden: Widths of the hidden layers.
        inputs: How the values are scaled: "identity", "log1p", "counts-per-scale",
            "log1p-counts-per-scale", "standardised", or an `InputScaling`. None for what suits the
            model's likelihood: "log1p" for counts, "standardised" for real numbers.
        norm: One of "layer", "batch", "rms", "none".
        activation: One of "softplus", "relu", "gelu", "silu".
        dropout: Fraction of units dropped in training.
        covariates: Covariates that the encoder sees beside the counts, see `Covariates.of`; of
            which it makes its own copy. By default none, also where the model has some: then
            observations of a new batch can be encoded at once.

    Raises:
        ValueError: An unknown name (the message lists the known ones), or no hidden layer.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        inputs: str | InputScaling | None = None,
        norm: str = "batch",
        activation: str = "softplus",
        dropout: float = 0.1,
        covariates: Covariates | None = None,
    ) -> None:
        super().__init__()
        check_layers(hidden, norm, activation)
        if isinstance(inputs, str):
            inputs = _scaling(inputs)
        self.hidden, self.inputs = tuple(hidden), inputs
        self.norm, self.activation, self.dropout = norm, activation, dropout
        self.covariates = Covariates() if covariates is None else covariates.anew()

    def suited_to(self, inputs: str) -> Encoder:
        """Return the encoder, its scaling now that of a name in `INPUTS` unless it has one."""
        self.inputs = self.inputs or _scaling(inputs)
        return self

    def build(self, n_features: int) -> None:
        """Make the layers. Called once, by the guide.

        Raises:
            ValueError: The encoder is part of another guide.
        """
        self.claim()
        self.inputs = self.inputs or _scaling("log1p")
        self.inputs.build(n_features)
        first = InputLayer(self.inputs, n_features, self.hidden[0], self.covariates.width)
        self.layers = MLP(first, self.hidden, self.norm, self.activation, self.dropout)

    def forward(self, counts: Tensor, covariates: Columns = NO_COLUMNS) -> Tensor:
        """Map observations to features, shape ``(B, hidden[-1])``.

        Args:
            counts: CSR or dense, shape ``(B, G)``.
            covariates: Values of the covariates that the encoder sees, shape ``(B,)`` each.
        """
        first, *others = self.layers
        hidden = first(counts, self.covariates(covariates) if self.covariates else None)
        for layer in others:
            hidden = layer(hidden)
        return hidden


def _scaling(name: str) -> InputScaling:
    if name not in INPUTS:
        raise ValueError(f"inputs is {name!r}: it must be one of {', '.join(INPUTS)}")
    return INPUTS[name]()
