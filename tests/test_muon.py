"""Muon moves by directions whose singular values are near 1."""

from __future__ import annotations

import pytest
import torch

from charrnn.training import muon
from charrnn.training.muon import Muon, orthogonalised


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8), (1, 1, 5)])
def test_singular_values_come_near_1_and_directions_stay(shape: tuple[int, ...]) -> None:
    blocks = drawn(*shape) * 7
    left, _, right = torch.linalg.svd(blocks, full_matrices=False)
    result = orthogonalised(blocks)
    values = torch.linalg.svdvals(result)
    if shape[1] != shape[2]:  # a square matrix may have a singular value near 0, which comes more slowly
        assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3
    core = left.mT @ result @ right.mT
    off = core - torch.diag_embed(core.diagonal(dim1=-2, dim2=-1))
    assert float(off.abs().max()) < 1e-4


def test_each_gate_moves_by_itself() -> None:
    whole, quiet = (torch.nn.Parameter(torch.zeros(12, 6)) for _ in range(2))
    gradient = drawn(12, 6)
    whole.grad, quiet.grad = gradient.clone(), gradient.clone()
    quiet.grad[6:] *= 1e-3  # how loud a gate's gradient is does not change its step, nor another's
    for parameter in (whole, quiet):
        Muon([parameter], hidden=6, lr=0.1).step()
    torch.testing.assert_close(whole, quiet, rtol=1e-3, atol=1e-4)


def test_the_blocks_that_are_orthogonalised_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for numbers in (1, 3 * 6 * 2, 1 << 24):
        monkeypatch.setattr(muon, "NUMBERS", numbers)
        parameter = torch.nn.Parameter(drawn(24, 6))
        parameter.grad = drawn(24, 6, seed=1)
        Muon([parameter], hidden=6, lr=0.1).step()
        results.append(parameter.detach())
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-5, atol=1e-6)


def test_it_walks_downhill() -> None:
    target = drawn(8, 4, seed=1)
    parameter = torch.nn.Parameter(torch.zeros(8, 4))
    optimizer = Muon([parameter], hidden=2, lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (parameter - target).square().mean()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_a_parameter_without_a_gradient_stays() -> None:
    parameter = torch.nn.Parameter(drawn(4, 4))
    before = parameter.detach().clone()
    Muon([parameter], hidden=4, lr=1.0).step()
    assert torch.equal(parameter, before)


@pytest.mark.parametrize(("hidden", "height"), [(8, 4), (5, 5)])
def test_a_step_is_orthogonal_in_blocks_of_half_a_gate_and_larger_for_tall_blocks(
    hidden: int, height: int
) -> None:
    for columns in (2, 16):
        parameter = torch.nn.Parameter(torch.zeros(2 * hidden, columns))
        parameter.grad = drawn(2 * hidden, columns)
        Muon([parameter], hidden=hidden, lr=1.0).step()
        expected = -orthogonalised(parameter.grad.view(-1, height, columns)) * max(1, height / columns) ** 0.5
        torch.testing.assert_close(
            parameter.detach().view(-1, height, columns), expected, rtol=1e-3, atol=1e-3
        )
