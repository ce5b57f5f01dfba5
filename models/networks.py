"""The networks: a linear layer that takes sparse input, a multilayer perceptron, two decoders."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from vae4counts.models.config import Configured
from vae4counts.models.derivatives import first_order

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}


# Moments are averages over about so many of the last rows (momentum 0.1 at 128 rows a batch).
ROWS_REMEMBERED = 1152


class BatchNorm(nn.Module):
    """Batch normalisation whose running moments weigh rows, not batches (Ioffe & Szegedy 2015).

    A short last batch changes them by as much as its few rows can tell, and the first batches are
    not averaged with moments of nothing. A batch of one row, which has no variance, is normalised
    by the running moments.

    Args:
        n_units: Width ``H``.
    """

    running_mean: Tensor
    running_var: Tensor
    rows_seen: Tensor

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.eps = 1e-5
        self.weight = nn.Parameter(torch.ones(n_units))
        self.bias = nn.Parameter(torch.zeros(n_units))
        self.register_buffer("running_mean", torch.zeros(n_units))
        self.register_buffer("running_var", torch.ones(n_units))
        self.register_buffer("rows_seen", torch.zeros((), dtype=torch.long))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalises ``(B, H)``."""
        learns = self.training and len(inputs) > 1
        return nn.functional.batch_norm(
            inputs,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=learns,
            momentum=self.remember(len(inputs)) if learns else 0.0,
            eps=self.eps,
        )

    def remember(self, rows: int) -> float:
        """Counts rows of training, and says what weight their moments have in the running ones."""
        self.rows_seen += rows
        return rows / min(int(self.rows_seen), rows + ROWS_REMEMBERED)

    def extra_repr(self) -> str:
        """The layer's width."""
        return str(len(self.weight))


NORMS: dict[str, type[nn.Module]] = {
    "layer": nn.LayerNorm,
    "batch": BatchNorm,
    "rms": nn.RMSNorm,
    "none": nn.Identity,
}


def choose(name: str, choices: dict[str, type[nn.Module]], what: str) -> type[nn.Module]:
    """Looks a name up.

    Raises:
        ValueError: It is not among the choices; they are listed.
    """
    if name not in choices:
        raise ValueError(f"{what} is {name!r}: it must be one of {', '.join(choices)}")
    return choices[name]


def check_layers(hidden: Sequence[int], norm: str, activation: str) -> None:
    """Checks the arguments that encoders and decoders share.

    Raises:
        ValueError: There is no hidden layer, or a name is unknown.
    """
    if len(hidden) == 0:
        raise ValueError("hidden is empty: it must give the width of at least one hidden layer")
    choose(norm, NORMS, "norm")
    choose(activation, ACTIVATIONS, "activation")


class _SparseProduct(torch.autograd.Function):
    """``Y = X W`` for sparse ``X``; the gradient by ``W`` is ``X^T G``, none is taken by ``X``."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(counts)
        return _product(counts, weight)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        (counts,) = ctx.saved_tensors
        return None, _product(_transpose(counts), gradient.contiguous())


def _product(sparse: Tensor, dense: Tensor) -> Tensor:
    """A CSR matrix times a dense one, as weighted sums of rows.

    A bag of embeddings is the same sum, and three times faster than torch's sparse product on a
    CPU, which goes through the columns.
    """
    return nn.functional.embedding_bag(
        sparse.col_indices(),
        dense,
        sparse.crow_indices(),
        mode="sum",
        per_sample_weights=sparse.values(),
        include_last_offset=True,
    )


def _transpose(counts: Tensor) -> Tensor:
    """The transpose of a CSR matrix, in CSR."""
    if counts.device.type != "cpu":
        return counts.t().to_sparse_csr()
    # torch sorts the entries, SciPy counts them: ten times faster, and nothing is copied
    parts = (counts.values(), counts.col_indices(), counts.crow_indices())
    csc = csr_matrix(tuple(part.numpy() for part in parts), shape=counts.shape).tocsc()
    return torch.sparse_csr_tensor(
        torch.from_numpy(csc.indptr),
        torch.from_numpy(csc.indices),
        torch.from_numpy(csc.data),
        size=(counts.shape[1], counts.shape[0]),
        check_invariants=False,
    )


class SparseLinear(nn.Module):
    """A linear layer without bias whose input is a CSR (or dense) matrix.

    The weight has shape ``(n_inputs, n_outputs)``, so that the row of a feature is contiguous and
    the product costs one such row for every non-zero. It is never taken in half precision, which
    sparse products do not know and large counts do not bear.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_inputs)
        self.weight = nn.Parameter(torch.empty(n_inputs, n_outputs).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs @ weight``, shape ``(B, n_outputs)``."""
        with torch.autocast(inputs.device.type, enabled=False):
            if inputs.layout == torch.strided:
                return inputs @ self.weight
            return _SparseProduct.apply(inputs, self.weight)

    def extra_repr(self) -> str:
        """The layer's shape."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


class MLP(nn.Sequential):
    """Hidden layers: normalisation, activation and dropout after each linear map.

    Args:
        first: The first linear map, given apart because an encoder's takes sparse input.
        sizes: Widths of the hidden layers; ``sizes[0]`` is the width that ``first`` gives.
        norm: One of "layer", "batch", "rms", "none".
        activation: One of "relu", "gelu", "silu", "softplus".
        dropout: Share of units dropped in training.

    Raises:
        ValueError: An unknown name; the known ones are listed.
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
                # it takes the mean away: no gradient but rounding errors, which Adam follows
                linear.register_parameter("bias", None)
            layers += [linear, normalise(size), activate()]
            layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers)


class Decoder(Configured, nn.Module):
    """From latents to a likelihood's outputs."""

    def build(self, n_latent: int, n_outputs: int) -> None:
        """Makes the layers. Called once, by the model.

        Raises:
            ValueError: The decoder is another model's already, and would lose what it learnt.
        """
        self.claim()
        self.output = nn.Linear(self._build_hidden(n_latent), n_outputs)

    @abstractmethod
    def _build_hidden(self, n_latent: int) -> int:
        """Makes what comes before the output layer and tells its width."""

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Maps latents ``(*batch, n_latent)`` to outputs ``(*batch, n_outputs)``."""


class MLPDecoder(Decoder):
    """A multilayer perceptron.

    Args:
        hidden: Widths of the hidden layers.
        norm: One of "layer", "batch", "rms", "none".
        activation: One of "relu", "gelu", "silu", "softplus".
        dropout: Share of units dropped in training.

    Raises:
        ValueError: An unknown name, or no hidden layer.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        norm: str = "batch",
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_layers(hidden, norm, activation)
        self.hidden, self.norm = tuple(hidden), norm
        self.activation, self.dropout = activation, dropout

    def _build_hidden(self, n_latent: int) -> int:
        first = nn.Linear(n_latent, self.hidden[0])
        self.layers = MLP(first, self.hidden, self.norm, self.activation, self.dropout)
        return self.hidden[-1]

    def forward(self, z: Tensor) -> Tensor:
        """See `Decoder.forward`."""
        rows = z.reshape(-1, z.shape[-1])  # batch normalisation takes matrices
        return self.output(self.layers(rows)).view(*z.shape[:-1], -1)


class LinearDecoder(Decoder):
    """A linear map, whose weights are the factors' loadings (Svensson et al. 2020).

    The loading ``W_jl`` is the change of feature ``j``'s log-rate for one unit of latent ``l``, up
    to a constant that all features share in a model with a library size.
    """

    def _build_hidden(self, n_latent: int) -> int:
        return n_latent

    def forward(self, z: Tensor) -> Tensor:
        """See `Decoder.forward`."""
        return self.output(z)


DECODERS: dict[str, type[Decoder]] = {"mlp": MLPDecoder, "linear": LinearDecoder}
