"""The network that learns, in torch.

B: batch   T: characters   V: vocabulary   D: inputs of a layer   H: hidden   G: gates
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from charrnn import cells
from charrnn.cells import LayerState, State
from charrnn.config import ModelConfig
from charrnn.runs import parameters


@cache
def _gate_scale(
    activations: tuple[str, ...], hidden: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(n*H,) scale, 2 at a tanh and 1 at a sigmoid, and what to add."""
    scale = torch.tensor([2.0 if kind == "tanh" else 1.0 for kind in activations], dtype=dtype, device=device)
    scale = scale.repeat_interleave(hidden)
    return scale, 1 - scale


class TorchOps:
    """``cells.Ops`` for torch."""

    tanh = staticmethod(torch.tanh)
    sigmoid = staticmethod(torch.sigmoid)

    @staticmethod
    def product(x: Tensor, matrix: Tensor | Recurrent) -> Tensor:
        found: Tensor = x @ matrix.T
        return found

    @staticmethod
    def affine(x: Tensor, h: Tensor, matrix: Tensor | Recurrent | Block) -> Tensor:
        if isinstance(matrix, Tensor):
            return torch.addmm(x, h, matrix.T)
        return matrix.affine(x, h)

    @staticmethod
    def split(x: Tensor, parts: int) -> Sequence[Tensor]:
        return x.chunk(parts, dim=-1)

    @staticmethod
    def gates(x: Tensor, activations: tuple[str, ...]) -> Sequence[Tensor]:
        if "tanh" not in activations:
            return torch.sigmoid(x).chunk(len(activations), dim=-1)
        # One sigmoid over all gates, since tanh(x) = 2 sigmoid(2 x) - 1: fewer and larger operations,
        # and torch's tanh takes several times as long as its sigmoid.
        scale, shift = _gate_scale(activations, x.shape[-1] // len(activations), x.dtype, x.device)
        return torch.addcmul(shift, torch.sigmoid(x * scale), scale).chunk(len(activations), dim=-1)


def _kernel_weights(w: SimpleNamespace) -> list[Tensor]:
    """Torch's kernels add two biases: ours, and one inside the recurrent product (the GRU's d, else 0)."""
    second = torch.zeros_like(w.bias)
    if hasattr(w, "bias_hh"):
        second = torch.cat([second[: -len(w.bias_hh)], w.bias_hh])
    return [w.weight_ih, w.weight_hh, w.bias, second]


def _fused_rnn(w: SimpleNamespace, x: Tensor, carry: LayerState, training: bool) -> tuple[Tensor, LayerState]:
    y, h = torch.rnn_tanh(x, carry[0][None], _kernel_weights(w), True, 1, 0.0, training, False, False)
    return y, (h[0],)


def _fused_lstm(
    w: SimpleNamespace, x: Tensor, carry: LayerState, training: bool
) -> tuple[Tensor, LayerState]:
    y, h, c = torch.lstm(
        x, [part[None] for part in carry], _kernel_weights(w), True, 1, 0.0, training, False, False
    )
    return y, (h[0], c[0])


def _fused_gru(w: SimpleNamespace, x: Tensor, carry: LayerState, training: bool) -> tuple[Tensor, LayerState]:
    y, h = torch.gru(x, carry[0][None], _kernel_weights(w), True, 1, 0.0, training, False, False)
    return y, (h[0],)


Kernel = Callable[[SimpleNamespace, Tensor, LayerState, bool], tuple[Tensor, LayerState]]
FUSED: dict[str, Kernel] = {"rnn": _fused_rnn, "lstm": _fused_lstm, "gru": _fused_gru}
"""The cells torch has a kernel for: the same function of the same weights as the steps, faster."""


def dropout_mask(
    shape: Sequence[int], share: float, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """A mask of 0 and 1 / (1 - share), the zeros making up ``share`` to the nearest 1/256.

    One random byte an element: drawing a million floats takes as long as the products they drop.
    """
    count, below = math.prod(shape), round(share * 256)
    words = torch.empty(-(-count // 8), dtype=torch.int64, device=device)
    drawn = words.random_(-(2**63), None, generator=generator).view(torch.uint8)[:count]
    return (drawn >= below).view(*shape) * (256 / (256 - below))


def linear_scan(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """H' = a * h + b for all times: (T, B, H), (T, B, H), (B, H) -> (T, B, H), in log2 T rounds.

    Each round joins every stretch of time with the one before it (Hillis & Steele 1986).
    """
    reach = 1
    while reach < len(a):
        b = torch.cat([b[:reach], b[reach:] + a[reach:] * b[:-reach]])
        a = torch.cat([a[:reach], a[reach:] * a[:-reach]])
        reach *= 2
    return b + a * h


ONEDNN = torch.backends.mkldnn.is_available() and hasattr(  # type: ignore[no-untyped-call]
    torch.ops.mkldnn, "_linear_pointwise"
)


def product(x: Tensor, matrix: Tensor) -> Tensor:
    """``x @ matrix.T``, without a gradient: (..., D), (R, D) -> (..., R).

    By oneDNN, as torch's own LSTM has it: the library torch takes for other products of float32
    needs twice as long on some processors (benchmarks/RESULTS.md), but for a few rows.
    """
    many = x.numel() >= 8 * x.shape[-1]
    if ONEDNN and many and x.dtype == torch.float32 and x.device.type == "cpu":
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, matrix, None, "none", [], "")
        return found
    return x @ matrix.T


def transposed_product(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right`` by ``product``: (N, R), (N, D) -> (R, D), a gradient of weights."""
    # Of two transposed arrays oneDNN copies the first to where it can read it: the narrower one, then.
    # A second one whose rows lie apart takes it a hundred times as long.
    left, right = left.contiguous(), right.contiguous()
    if left.shape[1] > right.shape[1]:
        return product(right.T, left.T).T
    return product(left.T, right.T)


class _Product(torch.autograd.Function):
    """``product`` and its gradients: (..., D), (R, D) -> (..., R)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(x, matrix)
        return product(x, matrix)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, matrix = ctx.saved_tensors
        back = product(gradient, matrix.T) if ctx.needs_input_grad[0] else None
        return back, transposed_product(gradient.flatten(0, -2), x.flatten(0, -2))


class _Affine(torch.autograd.Function):
    """x + h @ U.T by ``product``, U taken for a constant: (B, R), (B, H), (R, H) -> (B, R)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, matrix: Tensor) -> Tensor:
        ctx.matrix = matrix
        return product(h, matrix).add_(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, product(gradient, ctx.matrix.T), None


LARGE = 1 << 16
"""Numbers in a matrix for which ``_Affine`` is worth its price, one call of Python each way."""


class Block:
    """Some rows of a recurrent matrix U, (R, H), as the steps read them by ``ops.affine(x, h, block)``.

    They take the matrix for a constant. Kept for its gradient are each h, and on the way back the
    gradient of each sum, by the number of the reading, until the inputs' own gradient is had: a
    way back that ends at the first carry alone would leave them to the next.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.constant = matrix.detach()
        self.read: list[Tensor] = []
        self.gradients: dict[int, Tensor] = {}

    def affine(self, x: Tensor, h: Tensor) -> Tensor:
        """X + h @ U.T: (B, R), (B, H) -> (B, R)."""
        if not torch.is_grad_enabled():
            return product(h, self.constant).add_(x)
        if self.constant.numel() < LARGE:
            found = torch.addmm(x, h, self.constant.T)
        else:
            found = _Affine.apply(x, h, self.constant)  # type: ignore[no-untyped-call]
        if x.requires_grad:
            keep = partial(self.gradients.__setitem__, len(self.read))
            found.register_hook(keep)  # type: ignore[no-untyped-call]
            self.read.append(h.detach())
        return found

    def gradient(self) -> Tensor | float:
        """The matrix's, (R, H), of all sums in one product."""
        if not self.gradients:
            return 0.0
        read = torch.cat([self.read[index] for index in self.gradients])
        found = transposed_product(torch.cat(list(self.gradients.values())), read)
        self.gradients.clear()
        return found


class Recurrent:
    """A recurrent matrix U (R, H) as the steps of one call read it: whole, or by ``Block``s, ``u[rows]``.

    The values and gradients are the tensor's. But autograd would make U's gradient of each
    step's few rows, and add all of them up: here it is had in one product for each block.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.blocks: dict[tuple[int, int, int], Block] = {}

    def __getitem__(self, rows: slice) -> Block:
        key = rows.indices(len(self.matrix))
        if key not in self.blocks:
            self.blocks[key] = Block(self.matrix[rows])
        return self.blocks[key]

    def affine(self, x: Tensor, h: Tensor) -> Tensor:
        return self[:].affine(x, h)

    @property
    def T(self) -> Tensor:
        """For products that are not part of a sum with the input: by plain autograd."""
        return self.matrix.T

    def inputs(self, rows: Tensor) -> Tensor:
        """The steps' inputs (T, B, ...), of which every sum with a product of U is to be made."""
        found: Tensor = _Inputs.apply(rows, self.matrix, self.blocks)  # type: ignore[no-untyped-call]
        return found


class _Inputs(torch.autograd.Function):
    """The inputs as they are. Their gradient comes after those of all sums, and so U's is had here."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Tensor, blocks: dict[tuple[int, int, int], Block]) -> Tensor:
        ctx.shape, ctx.blocks = matrix.shape, blocks
        return rows.view_as(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        found = gradient.new_zeros(ctx.shape)
        for rows, block in ctx.blocks.items():
            found[slice(*rows)] += block.gradient()
        return gradient, found, None


class Layer(nn.Module):
    """One cell over time: (T, B, D), carry -> (T, B, H), carry.

    fused        whether torch's kernel or a scan over time is taken, where there is one
    precision    the kernel's type while training; None is the weights' own
    weight_drop  share of ``weight_hh`` dropped while training, one mask a call
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    bias_hh: Tensor

    def __init__(self, name: str, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cell = cells.get(name)
        self.kernel = FUSED.get(name)
        self.fused = (
            self.kernel is not None or type(self.cell).scan_coefficients is not cells.Cell.scan_coefficients
        )
        self.precision: torch.dtype | None = None
        self.weight_drop = 0.0
        self.generator: torch.Generator | None = None
        for parameter, shape in self.cell.shapes(inputs, hidden).items():
            self.register_parameter(parameter, nn.Parameter(torch.empty(shape)))

    def weights(self) -> SimpleNamespace:
        """The parameters by name, as a call sees them: while training, some dropped."""
        w: dict[str, Tensor] = dict(self.named_parameters())
        if self.training and self.weight_drop and "weight_hh" in w:
            matrix = w["weight_hh"]
            w["weight_hh"] = matrix * dropout_mask(
                matrix.shape, self.weight_drop, self.generator, matrix.device
            )
        return SimpleNamespace(**w)

    def rows(self, w: SimpleNamespace, inputs: Tensor) -> Tensor:
        """(..., D) -> (..., G*H), what the cell's steps are given."""
        rows: Tensor = _Product.apply(inputs, w.weight_ih)  # type: ignore[no-untyped-call]
        rows = rows + w.bias
        if not self.cell.raw_input:
            return rows
        raw = functional.linear(inputs, w.projection) if hasattr(w, "projection") else inputs
        return torch.cat([rows, raw], -1)

    def forward(self, x: Tensor, carry: LayerState) -> tuple[Tensor, LayerState]:
        w = self.weights()
        if self.fused and self.kernel is not None:
            if self.precision is None or not self.training:
                return self.kernel(w, x, carry, self.training)
            low = SimpleNamespace(**{name: value.to(self.precision) for name, value in vars(w).items()})
            state = tuple(part.to(self.precision) for part in carry)
            y, after = self.kernel(low, x.to(self.precision), state, True)
            return y.to(x.dtype), tuple(part.to(x.dtype) for part in after)
        outputs = []
        rows = self.rows(w, x)
        factors = self.cell.scan_coefficients(rows, TorchOps) if self.fused else None
        if factors is not None:
            y = linear_scan(*factors, carry[0])
            return y, (y[-1],)
        if hasattr(w, "weight_hh"):
            w.weight_hh = Recurrent(w.weight_hh)
            rows = w.weight_hh.inputs(rows)
        for name, vector in vars(w).items():
            if name != "weight_hh" and vector.dim() == 1:  # its gradient is summed over the batch once
                setattr(w, name, vector.expand(len(carry[0]), -1))
        for row in rows:
            carry, _ = self.cell.step(w, row, carry, TorchOps)
            outputs.append(carry[0])
        return torch.stack(outputs), carry


class CharRNN(nn.Module):
    """Embedding (or one-hot), layers of one cell, readout. Its parameters are ``parameters.shapes``.

    ``generator`` is the only source of randomness: of the first weights, and of what is dropped.
    """

    def __init__(self, config: ModelConfig, symbols: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.symbols = config, symbols
        self.generator = generator
        self.dropout = 0.0
        self.streams: tuple[int, slice] | None = None
        if config.embedding:
            self.embedding = nn.Embedding(symbols, config.embedding)
        self.layers = nn.ModuleList(
            Layer(config.cell, inputs, config.hidden) for inputs in parameters.layer_inputs(config, symbols)
        )
        self.readout = nn.Linear(config.hidden, symbols)
        self.initialise()

    @property
    def stack(self) -> list[Layer]:
        """The layers, lowest first."""
        return cast(list[Layer], list(self.layers))

    @torch.no_grad()
    def initialise(self) -> None:
        """Orthogonal recurrent matrices, gate by gate; biases 0 but for the cell's ``initial_bias``;
        all else uniform within 1/sqrt(H), a normal embedding.
        """
        hidden, generator = self.config.hidden, self.generator
        for name, parameter in self.named_parameters():
            if name.startswith("embedding"):
                nn.init.normal_(parameter, generator=generator)
            elif name.endswith("weight_hh"):
                for block in torch.split(parameter, hidden):
                    nn.init.orthogonal_(block, generator=generator)
            elif parameter.dim() > 1:
                bound = hidden**-0.5
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            else:
                nn.init.zeros_(parameter)
        for layer in self.stack:
            for gate, value in layer.cell.initial_bias.items():
                row = layer.cell.gates.index(gate) * hidden
                layer.bias[row : row + hidden] = value

    def start(self, batch: int) -> State:
        """Zeros, (B, H) for each carry of each layer."""
        weight = self.readout.weight
        return tuple(
            tuple(weight.new_zeros(batch, self.config.hidden) for _ in layer.cell.state_names)
            for layer in self.stack
        )

    def regularise(
        self,
        dropout: float,
        weight_drop: float,
        precision: torch.dtype | None,
        generator: torch.Generator,
        streams: tuple[int, slice] | None = None,
    ) -> None:
        """How the network is held back while it trains; see TrainConfig.

        ``streams``: all there are, and those of this process; it draws the masks of all, so
        that any number of processes drops the same.
        """
        self.dropout, self.generator, self.streams = dropout, generator, streams
        for layer in self.stack:
            layer.weight_drop, layer.precision, layer.generator = weight_drop, precision, generator

    def _dropped(self, x: Tensor) -> Tensor:
        """(T, B, H) with ``dropout`` of the units of each row of the batch dropped at all T."""
        if not (self.training and self.dropout):
            return x
        streams, rows = self.streams or (x.shape[1], slice(None))
        return x * dropout_mask((streams, x.shape[2]), self.dropout, self.generator, x.device)[rows]

    def forward(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, T) ids -> (B, T, V) logits of the character after each, and the state after the last."""
        time_first = ids.T
        if self.config.embedding:
            x = self.embedding(time_first)
        else:
            x = functional.one_hot(time_first, self.symbols).to(self.readout.weight.dtype)
        after = []
        for layer, carry in zip(self.stack, state, strict=True):
            x, carry = layer(x, carry)
            x = self._dropped(x)
            after.append(carry)
        return self.readout(x).transpose(0, 1), tuple(after)


def detached(state: State) -> State:
    """The same values, cut off from the graph: where truncated backpropagation is truncated."""
    return tuple(tuple(part.detach() for part in carry) for carry in state)


def weights(model: nn.Module) -> dict[str, NDArray[np.floating]]:
    """The parameters as NumPy arrays of their own, by name."""
    return {name: value.detach().cpu().numpy().copy() for name, value in model.named_parameters()}


def load_weights(model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Set every parameter from the array of its name."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(arrays[name]))
