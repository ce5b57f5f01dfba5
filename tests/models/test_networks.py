"""Networks: the sparse product and its gradient, normalisation, decoders of every kind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vae4counts.models import LinearDecoder, MLPDecoder
from vae4counts.models.networks import ACTIVATIONS, NORMS, BatchNorm, SparseLinear
from vae4counts.models.networks.batch_norm import FEWEST_ROWS


@pytest.fixture(params=["some zeros", "an empty row and column", "all zero", "one row"])
def matrix(request: pytest.FixtureRequest) -> Tensor:
    """A small float64 matrix, mostly zeros."""
    dense = torch.poisson(torch.full((6, 5), 0.7, dtype=torch.float64))
    if request.param == "an empty row and column":
        dense[2] = 0
        dense[:, 3] = 0
    if request.param == "all zero":
        dense.zero_()
    return dense[:1] if request.param == "one row" else dense


def test_sparse_product_equals_dense(matrix: Tensor) -> None:
    layer = SparseLinear(5, 3).double()
    torch.testing.assert_close(layer(matrix.to_sparse_csr()), matrix @ layer.weight)
    torch.testing.assert_close(layer(matrix), matrix @ layer.weight)


def test_sparse_product_takes_int32_indices(matrix: Tensor) -> None:
    csr = matrix.to_sparse_csr()
    rows, columns = csr.crow_indices().int(), csr.col_indices().int()
    small = torch.sparse_csr_tensor(rows, columns, csr.values(), csr.shape, check_invariants=True)
    layer = SparseLinear(5, 3).double()
    layer(small).square().sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    torch.testing.assert_close(gradient, 2 * matrix.T @ (matrix @ layer.weight.detach()))


def test_gradient_against_finite_differences(matrix: Tensor) -> None:
    layer = SparseLinear(5, 3).double()
    sparse = matrix.to_sparse_csr()

    def product(weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight}, (sparse,))

    assert torch.autograd.gradcheck(product, layer.weight.detach().requires_grad_())


def test_gradient_equals_that_of_the_dense_product(matrix: Tensor) -> None:
    layer = SparseLinear(5, 3).double()
    upstream = torch.randn(len(matrix), 3, dtype=torch.float64)
    gradients = []
    for inputs in (matrix, matrix.to_sparse_csr()):
        layer.zero_grad()
        (layer(inputs) * upstream).sum().backward()
        gradients.append(layer.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_sparse_product_stays_in_full_precision_under_autocast() -> None:
    layer = SparseLinear(2, 1)
    nn.init.ones_(layer.weight)
    counts = torch.tensor([[1001.0, 0.0]])  # bfloat16 would make it 1000
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(counts).item() == 1001
        assert layer(counts.to_sparse_csr()).item() == 1001


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS)
def test_mlp_decoder_of_every_kind(norm: str, activation: str) -> None:
    decoder = MLPDecoder((6, 4), norm, activation, dropout=0.2)
    decoder.build(2, 5)
    assert decoder(torch.randn(3, 7, 2)).shape == (3, 7, 5)
    decoder.eval()
    z = torch.randn(3, 7, 2)
    torch.testing.assert_close(decoder(z)[1], decoder(z[1]))
    decoder(z).square().sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_linear_decoder_is_linear() -> None:
    decoder = LinearDecoder()
    decoder.build(2, 5)
    a, b = torch.randn(2, 4, 2)
    zero = decoder(torch.zeros(4, 2))
    torch.testing.assert_close(decoder(a + b) - zero, decoder(a) + decoder(b) - 2 * zero)
    weight = decoder.output.weight
    torch.testing.assert_close(decoder(a) - zero, a @ weight.T)


def test_batch_norm_of_one_row_uses_the_running_moments() -> None:
    norm = BatchNorm(3)
    for _ in range(200):
        norm(2 + 3 * torch.randn(64, 3))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    row = torch.tensor([[2.0, 5.0, -1.0]], requires_grad=True)
    result = norm(row)
    result.sum().backward()
    torch.testing.assert_close(result, torch.tensor([[0.0, 1.0, -1.0]]), atol=0.2, rtol=0)
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
    assert norm.weight.grad is not None
    norm.eval()
    torch.testing.assert_close(norm(row), result)


def test_batch_norm_is_torchs() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3, momentum=None)  # the mean over batches
    for rows in torch.randn(4, 20, 3):
        torch.testing.assert_close(ours(rows), theirs(rows))
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(rows), theirs(rows))


def test_batch_norm_of_few_rows_counts_remembered_ones_with_them() -> None:
    norm, many, few = BatchNorm(3), torch.randn(64, 3), 2 + torch.randn(2, 3)
    norm(many)
    share, away = 2 / FEWEST_ROWS, few.mean(0) - many.mean(0)
    mean = many.mean(0) + share * away
    variance = share * few.var(0, correction=0) + (1 - share) * many.var(0)
    variance = variance + share * (1 - share) * away**2
    found = norm(few)
    torch.testing.assert_close(found, (few - mean) / (variance + norm.eps).sqrt())
    # they themselves are remembered, each as much as any other row
    torch.testing.assert_close(norm.running_mean, torch.cat([many, few]).mean(0))


def test_batch_norm_remembers_rows_and_not_batches() -> None:
    norm = BatchNorm(1)
    for _ in range(50):
        norm(torch.randn(128, 1))
    norm(torch.tensor([[1e3], [1e3]]))
    assert norm.running_mean.item() == pytest.approx(2, abs=0.5)  # 2 rows of about 1,000
    assert norm.remember(128) == pytest.approx(0.1)
