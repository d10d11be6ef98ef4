"""One training step, and everything that it changes.

S: streams   R: this process's streams   T: characters of a window   V: vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from charrnn.cells import State
from charrnn.config import ModelConfig, TrainConfig
from charrnn.runs.checkpoint import RESUME
from charrnn.text.corpus import Corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import devices
from charrnn.training.batches import Batches
from charrnn.training.devices import ProcessGroup
from charrnn.training.evaluate import evaluate
from charrnn.training.muon import Muon
from charrnn.training.network import CharRNN, detach, load_weights, weights

Arrays = dict[str, NDArray[Any]]


class Learner:
    """A model, its optimisers, the recurrent state of its streams, and the generator of its dropout."""

    def __init__(self, corpus: Corpus, model: ModelConfig, config: TrainConfig, group: ProcessGroup) -> None:
        """Raises CorpusError for a text too short, ConfigError for streams that cannot be shared equally."""
        self.corpus, self.config, self.group = corpus, config, group
        self.train_part, self.validation_part, _ = corpus.splits(config.split)
        ids = corpus.ids[self.train_part.start : self.train_part.stop]
        self.batches = Batches.fitted(ids, config.streams, config.bptt, group.world_size)
        self.local_streams = group.local_streams(self.batches.streams)
        # Initial weights use a CPU generator, so they are equal on every device.
        initial = torch.Generator().manual_seed(config.seed)
        self.model = CharRNN(model, len(corpus.vocabulary), initial).to(group.device)
        self.generator = torch.Generator(group.device).manual_seed(config.seed)
        self.model.prepare_for_training(
            config.dropout,
            config.weight_drop,
            devices.precision(group.device, config.precision),
            self.generator,
            (self.batches.streams, self.local_streams),
        )
        self.parallel_model: nn.Module = self.model
        if group.world_size > 1:
            self.parallel_model = DistributedDataParallel(self.model)
        self.reset_optimizers()
        self.recurrent_state = self.model.start(self.local_streams.stop - self.local_streams.start)

    def reset_optimizers(self) -> None:
        """Make new optimisers, each with its highest learning rate (see TrainConfig).

        AdamW (Loshchilov & Hutter 2019) applies weight decay to matrices, not to biases. SGD has neither
        momentum nor weight decay: a step is the learning rate times the clipped gradient.
        """
        config = self.config
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = []
        if config.optimizer == "sgd":
            self.optimizers.append((torch.optim.SGD(self.model.parameters(), lr=config.lr), config.lr))
            return
        muons = config.optimizer == "muon"
        layers = [p for p in self.model.layers.parameters() if p.dim() > 1] if muons else []
        others = [p for p in self.model.parameters() if p not in set(layers)]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in others if p.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
        ]
        betas = (config.beta1, config.beta2)
        adamw = torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True)
        self.optimizers.append((adamw, config.lr))
        if layers:
            precision = self.model.stack[0].precision
            muon = Muon(layers, self.model.config.hidden, config.muon, precision=precision)
            self.optimizers.append((muon, config.muon))

    def load_pretrained(self, weights: Arrays, vocabulary: Vocabulary) -> None:
        """Start from the weights of a model of the same architecture, whose symbols are part of the corpus's.

        Symbols new to that model keep their initial rows, and get the lowest bias of any symbol.
        """
        symbols = self.corpus.vocabulary.encode_units(vocabulary.symbols)
        combined = self.weights()
        for name, value in weights.items():
            if name in ("embedding.weight", "readout.weight", "readout.bias"):
                if name == "readout.bias":
                    combined[name][:] = value.min()
                combined[name][symbols] = value
            elif name == "layers.0.weight_ih" and not self.model.config.embedding:
                combined[name][:, symbols] = value
            else:
                combined[name] = value
        load_weights(self.model, combined)

    def train_step(self, step: int, lr_factor: float) -> tuple[Tensor, Tensor]:
        """Update the weights from one window: its mean nats per character, the gradient norm before clipping.

        Every optimiser's learning rate is its highest one times ``lr_factor``.
        """
        device = self.group.device
        inputs, targets = (
            torch.from_numpy(ids).to(device, non_blocking=True)
            for ids in self.batches.batch(step, self.local_streams)
        )
        for optimizer, highest_lr in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = highest_lr * lr_factor
        logits, state = self.parallel_model(inputs, self.initial_state(step))
        loss = functional.cross_entropy(logits.reshape(-1, self.model.symbols), targets.reshape(-1))
        self.model.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip or math.inf)
        for optimizer, _ in self.optimizers:
            optimizer.step()
        self.recurrent_state = detach(state)
        return loss.detach(), norm

    def initial_state(self, step: int) -> State:
        """The state after the window before, with zeros for the streams that are reset."""
        state = self.recurrent_state
        random = np.random.default_rng((self.config.seed, step)).random(self.batches.streams)
        reset = random < self.config.reset
        if self.batches.starts_epoch(step):
            # The text of stream s begins where that of stream s - 1 ends; stream 0 has none before it.
            state = tuple(
                tuple(self.group.gather(part).roll(1, 0)[self.local_streams] for part in layer)
                for layer in state
            )
            reset[0] = True
        if not reset.any():
            return state
        keep = torch.from_numpy(~reset[self.local_streams]).to(self.group.device)[:, None]
        return tuple(tuple(part * keep for part in layer) for layer in state)

    def validate(self, part: range | None = None) -> float | None:
        """Nats per character of ``part`` (default: the validation part), None when it is empty."""
        part = self.validation_part if part is None else part
        return evaluate(self.model, self.corpus.ids, part) if part else None

    def weights(self) -> Arrays:
        """The parameters by name."""
        return weights(self.model)

    def state(self) -> Arrays:
        """All that a step changes: the parameters by name, and under ``resume.`` all else.

        It is the same in every process, and all of them must call it.
        """
        tensors: dict[str, Tensor] = {"generator": self.generator.get_state()}
        for name, parameter, optimizer in self._optimized_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
        for names, layer_state in zip(self._state_names(), self.recurrent_state, strict=True):
            tensors |= dict(zip(names, map(self.group.gather, layer_state), strict=True))
        arrays = {RESUME + name: value.detach().cpu().numpy().copy() for name, value in tensors.items()}
        return self.weights() | arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set what ``state`` returned. Raises KeyError, ValueError, RuntimeError or TypeError otherwise."""
        load_weights(self.model, arrays)
        device = self.group.device
        for name, parameter, optimizer in self._optimized_parameters():
            prefix = f"{RESUME}optimizer.{name}."
            keys: tuple[str, ...] = ()  # before the first step an optimiser has no moments
            if any(key.startswith(prefix) for key in arrays):
                keys = ("momentum",) if isinstance(optimizer, Muon) else ("step", "exp_avg", "exp_avg_sq")
            optimizer.state[parameter] = {
                key: _tensor(arrays, prefix + key, () if key == "step" else tuple(parameter.shape)).to(device)
                for key in keys
            }
        shape = (self.batches.streams, self.model.config.hidden)
        self.recurrent_state = tuple(
            tuple(_tensor(arrays, RESUME + name, shape)[self.local_streams].to(device) for name in names)
            for names in self._state_names()
        )
        self.generator.set_state(torch.from_numpy(arrays[RESUME + "generator"].copy()))

    def _optimized_parameters(self) -> Iterator[tuple[str, Tensor, torch.optim.Optimizer]]:
        """Each parameter's name, the parameter, and the optimiser that updates it."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        for optimizer, _ in self.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield names[parameter], parameter, optimizer

    def _state_names(self) -> list[list[str]]:
        """The names under which each layer's recurrent state is stored."""
        return [
            [f"carry.{index}.{name}" for name in layer.cell.state_names]
            for index, layer in enumerate(self.model.stack)
        ]


def _tensor(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> Tensor:
    """A copy of the array, checked: torch's kernels trust their inputs, and a file may be damaged."""
    array = arrays[name]
    if array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, not float32 {shape}")
    return torch.from_numpy(array.copy())
