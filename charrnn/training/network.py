"""The network that learns, in torch.

B: batch   T: characters   V: vocabulary   D: inputs of a layer   H: hidden   G: gates
R: inputs of the readout
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from charrnn import cells
from charrnn.cells import LayerState, State
from charrnn.config import ModelConfig
from charrnn.runs import parameters
from charrnn.training.attention import Attention
from charrnn.training.ops import OneHot, TorchOps, dropout_mask, linear_scan
from charrnn.training.readout import Readout
from charrnn.training.recurrent_gradient import Recurrent

KERNELS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "rnn": torch.rnn_tanh,
    "lstm": torch.lstm,
    "gru": torch.gru,
}
"""torch's own functions for whole layers: the same result as the steps of the cell, but faster."""


class Layer(nn.Module):
    """One cell over time: (T, B, D), state -> (T, B, H), state.

    fused        whether a kernel of torch or a parallel scan is used where the cell has one
    precision    the kernel's type in training; None is the type of the weights
    weight_drop  share of ``weight_hh`` that is dropped in training, with a new mask for each call
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    bias_hh: Tensor

    def __init__(self, name: str, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cell = cells.get(name)
        self.kernel = KERNELS.get(name)
        self.fused = True
        self.precision: torch.dtype | None = None
        self.weight_drop = 0.0
        self.generator: torch.Generator | None = None
        for parameter, shape in self.cell.shapes(inputs, hidden).items():
            self.register_parameter(parameter, nn.Parameter(torch.empty(shape)))

    def weights(self) -> SimpleNamespace:
        """The parameters by name; in training, ``weight_hh`` with a part of its elements dropped."""
        w: dict[str, Tensor] = dict(self.named_parameters())
        if self.training and self.weight_drop and "weight_hh" in w:
            matrix = w["weight_hh"]
            mask = dropout_mask(matrix.shape, self.weight_drop, self.generator, matrix.device)
            w["weight_hh"] = matrix * mask
        return SimpleNamespace(**w)

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """(T, B, D), state before the first step -> (T, B, H), state after the last."""
        (y,), state = self.read([x], state)
        return y, state

    def read(self, slices: Sequence[Tensor | OneHot], state: LayerState) -> tuple[list[Tensor], LayerState]:
        """Slices that follow each other, (T, B, D) each -> (T, B, H) each, and the state after the last.

        The batches get smaller: a slice has the first rows of the one before it.
        """
        w = self.weights()
        run: Callable[[SimpleNamespace, Any, LayerState], tuple[Tensor, LayerState]] = self._run
        if self.fused and self.kernel is not None:
            if isinstance(slices[0], OneHot):
                # A kernel multiplies its inputs itself: it gets the products, and an identity matrix.
                slices = [TorchOps.product(x, w.weight_ih) for x in slices]
                w.weight_ih = torch.eye(len(w.bias), dtype=w.bias.dtype, device=w.bias.device)
            run, w = self._run_kernel, self._kernel_weights(w)
        else:
            for name in self.cell.recurrent:
                setattr(w, name, Recurrent(getattr(w, name)))
        outputs = []
        for x in slices:
            y, state = run(w, x, tuple(part[: x.shape[1]] for part in state))
            outputs.append(y)
        return outputs, state

    def _run(self, w: SimpleNamespace, x: Tensor | OneHot, state: LayerState) -> tuple[Tensor, LayerState]:
        """The whole slice by a parallel scan, or step by step."""
        rows = self.cell.inputs(w, x, TorchOps)
        coefficients = self.cell.scan_coefficients(rows, TorchOps) if self.fused else None
        if coefficients is not None:
            (h,) = state
            y = linear_scan(*coefficients, h)
            return y, (y[-1],)
        return self._run_steps(w, rows, state)

    def _kernel_weights(self, w: SimpleNamespace) -> SimpleNamespace:
        """The weights as ``KERNELS`` need them, in ``precision`` while training."""
        dtype = self.precision if self.training and self.precision else w.bias.dtype
        # The kernels add two biases: ours, and one to the recurrent product, which only the GRU uses.
        recurrent_bias = torch.zeros_like(w.bias)
        if hasattr(w, "bias_hh"):
            recurrent_bias = torch.cat([recurrent_bias[: -len(w.bias_hh)], w.bias_hh])
        tensors = (w.weight_ih, w.weight_hh, w.bias, recurrent_bias)
        return SimpleNamespace(dtype=dtype, tensors=[tensor.to(dtype) for tensor in tensors])

    def _run_kernel(self, w: SimpleNamespace, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """The whole slice by one of ``KERNELS``."""
        assert self.kernel is not None
        initial = [part[None].to(w.dtype) for part in state]
        # has_biases, num_layers, dropout, train, bidirectional, batch_first
        flags = (True, 1, 0.0, self.training, False, False)
        y, *final = self.kernel(x.to(w.dtype), initial if len(initial) > 1 else initial[0], w.tensors, *flags)
        return y.to(x.dtype), tuple(part[0].to(x.dtype) for part in final)

    def _run_steps(self, w: SimpleNamespace, rows: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """The cell's own ``step`` for each row of (T, B, G*H)."""
        outputs = []
        for row in rows:
            state, _ = self.cell.step(w, row, state, TorchOps)
            outputs.append(state[0])
        return torch.stack(outputs), state


class CharRNN(nn.Module):
    """Embedding (or one-hot input), layers of one cell, attention if there is any, readout.

    Its parameters are ``parameters.shapes``.

    ``generator`` is the only source of randomness: of the initial weights and of dropout.
    """

    def __init__(self, config: ModelConfig, symbols: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.symbols = config, symbols
        self.generator = generator
        self.dropout = 0.0
        self.streams: tuple[int, slice] | None = None
        if config.embedding:
            self.embedding = nn.Embedding(symbols, config.embedding)
        if config.conditions:
            sizes = [condition.inputs for condition in config.conditions]
            self.conditions = nn.ModuleList(nn.Embedding(size, config.condition_width) for size in sizes)
        self.stack = [
            Layer(config.cell, inputs, config.hidden) for inputs in parameters.layer_inputs(config, symbols)
        ]
        self.layers = nn.ModuleList(self.stack)  # registers the parameters, as layers.0. and so on
        if config.attention:
            self.attention = Attention(config.attention, config.hidden)
        self.readout = Readout(parameters.readout_inputs(config), symbols)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Set the initial weights.

        The recurrent matrix of each gate is orthogonal, the embedding is standard normal, peepholes are 0,
        and all other matrices are uniform within 1/sqrt(H). Biases are 0, except those in the cell's
        ``initial_bias``.
        """
        hidden, generator = self.config.hidden, self.generator
        for name, parameter in self.named_parameters():
            if name.startswith(("embedding", "conditions")):
                nn.init.normal_(parameter, generator=generator)
            elif name.endswith("weight_hh"):
                for block in torch.split(parameter, hidden):
                    nn.init.orthogonal_(block, generator=generator)
            elif parameter.dim() > 1 and not name.endswith("peephole"):
                bound = hidden**-0.5
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            else:
                nn.init.zeros_(parameter)
        for layer in self.stack:
            for gate, value in layer.cell.initial_bias.items():
                row = layer.cell.gates.index(gate) * hidden
                layer.bias[row : row + hidden] = value

    def start(self, batch: int) -> State:
        """Zeros, (B, H) for each part of each layer's state; then, with attention, its state (B, N * H)."""
        weight = self.readout.weight
        state: State = tuple(
            tuple(weight.new_zeros(batch, self.config.hidden) for _ in layer.cell.state_names)
            for layer in self.stack
        )
        return (*state, self.attention.start(batch)) if self.config.attention else state

    def prepare_for_training(
        self,
        dropout: float,
        weight_drop: float,
        precision: torch.dtype | None,
        generator: torch.Generator,
        streams: tuple[int, slice] | None = None,
    ) -> None:
        """Set dropout and precision for training; see TrainConfig.

        ``streams``: the number of all streams, and the rows of them that this process reads. Every process
        draws the masks of all streams, so the number of processes does not change them.
        """
        self.dropout, self.generator, self.streams = dropout, generator, streams
        for layer in self.stack:
            layer.weight_drop, layer.precision, layer.generator = weight_drop, precision, generator

    def embed(self, ids: Tensor) -> Tensor | OneHot:
        """(...) ids -> (..., D), the inputs of the first layer.

        One-hot vectors that would be wider than the first layer's products are left as ids.
        """
        if self.config.embedding:
            return functional.embedding(ids, self.embedding.weight)
        if self.symbols > len(self.stack[0].bias):
            return OneHot(ids, self.symbols)
        return functional.one_hot(ids, self.symbols).to(self.readout.weight.dtype)

    def embed_conditions(self, inputs: Sequence[Tensor]) -> Tensor:
        """The inputs of each condition (``charrnn.conditions``) -> (B, C), what the first layer reads.

        Of a label (B,), the rows of its values; of a vector (B, inputs).
        """
        embedded = []
        for given, layer in zip(inputs, self.conditions, strict=True):
            weight: Tensor = layer.weight  # type: ignore[assignment]
            embedded.append(functional.embedding(given, weight) if given.dim() == 1 else given @ weight)
        return torch.cat(embedded, -1)

    def first_inputs(self, ids: Tensor, conditions: Tensor | None = None) -> Tensor | OneHot:
        """(T, B) ids -> (T, B, D); ``conditions`` (B', C) of B or more rows, by default missing ones."""
        x = self.embed(ids)
        if not self.config.conditions:
            return x
        if conditions is None:  # row 0 of each table
            rows = [layer.weight[0] for layer in self.conditions]  # type: ignore[index]
            conditions = torch.cat(rows).expand(ids.shape[1], -1)
        given = conditions[: ids.shape[1]].expand(len(ids), -1, -1)
        if self.config.condition == "first":
            given = given * (ids == self.symbols - 1)[..., None]
        return x._replace(others=given) if isinstance(x, OneHot) else torch.cat([x, given], -1)

    def _drop_units(self, slices: Sequence[Tensor]) -> list[Tensor]:
        """(T, B, H) each -> the same with a share of each row's units set to 0, the same ones at all T."""
        if not (self.training and self.dropout):
            return list(slices)
        batch, width = slices[0].shape[1:]
        streams, rows = self.streams or (batch, slice(None))
        mask = dropout_mask((streams, width), self.dropout, self.generator, slices[0].device)[rows]
        return [x * mask[: x.shape[1]] for x in slices]

    def _read_layers(self, inputs: Sequence[Tensor | OneHot], state: State) -> tuple[list[Tensor], State]:
        """The inputs of the first layer -> those of the readout, and the state after the last slice."""
        new_state: list[LayerState] = []
        outputs: list[list[Tensor]] = []
        for layer, layer_state in zip(self.stack, state, strict=False):
            results, layer_state = layer.read(outputs[-1] if outputs else inputs, layer_state)
            results = self._drop_units(results)
            if outputs and self.config.residual:
                results = [y + x for y, x in zip(results, outputs[-1], strict=True)]
            outputs.append(results)
            new_state.append(layer_state)
        if self.config.attention:
            contexts, attention_state = self.attention.read(outputs[-1], state[-1])
            outputs.append(contexts)
            new_state.append(attention_state)
        return [self.readout_inputs(parts) for parts in zip(*outputs, strict=True)], tuple(new_state)

    def readout_inputs(self, outputs: Sequence[Tensor]) -> Tensor:
        """The outputs of all layers, then the context if there is attention, (..., H) each -> (..., R)."""
        read = outputs if self.config.readout == "all" else outputs[self.config.layers - 1 :]
        return torch.cat(list(read), -1) if len(read) > 1 else read[0]

    def forward(
        self, ids: Tensor, state: State, conditions: Tensor | None = None, targets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """(B, T) ids, (B, C) conditions -> (B, T, V) logits of what follows each, state after the last.

        With (B, T) targets, the sum of their nats instead of the logits; a target of -1 does not count.
        """
        (y,), after = self._read_layers([self.first_inputs(ids.T, conditions)], state)
        if targets is None:
            return self.readout(y).transpose(0, 1), after
        return self.readout(y.flatten(0, 1), targets.T.reshape(-1)), after

    def read_slices(
        self, ids: Tensor, bounds: Sequence[tuple[int, int, int]], state: State, conditions: Tensor | None
    ) -> tuple[Tensor, State]:
        """Read rows in slices: (M,) ids -> (M, R) inputs of the readout, and the state after the last.

        bounds      the (start, stop, rows) of each slice; its ids come position by position, each of all rows
        state       of all rows
        conditions  (R, C) of all rows
        """
        sizes = [(stop - start) * rows for start, stop, rows in bounds]
        parts = zip(torch.split(ids, sizes), bounds, strict=True)
        shaped = [part.view(-1, rows) for part, (_, _, rows) in parts]
        outputs, state = self._read_layers([self.first_inputs(part, conditions) for part in shaped], state)
        return torch.cat([output.flatten(0, 1) for output in outputs]), state


def detach(state: State) -> State:
    """The same values without their graph: truncated backpropagation ends here."""
    return tuple(tuple(part.detach() for part in layer_state) for layer_state in state)


def weights(model: nn.Module) -> dict[str, NDArray[np.floating]]:
    """Copies of the parameters as NumPy arrays, by name."""
    return {name: value.detach().cpu().numpy().copy() for name, value in model.named_parameters()}


def load_weights(model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Set every parameter from the array of its name."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(arrays[name]))
