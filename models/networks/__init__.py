"""Networks: a linear layer for sparse input, a multilayer perceptron, decoders."""

from .batch_norm import BatchNorm
from .decoders import DECODERS, Decoder, LinearDecoder, MLPDecoder, TopicDecoder
from .mlp import ACTIVATIONS, MLP, NORMS, check_layers
from .sparse_linear import SparseLinear

__all__ = [
    "ACTIVATIONS",
    "DECODERS",
    "MLP",
    "NORMS",
    "BatchNorm",
    "Decoder",
    "LinearDecoder",
    "MLPDecoder",
    "SparseLinear",
    "TopicDecoder",
    "check_layers",
]
