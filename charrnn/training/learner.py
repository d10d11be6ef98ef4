"""One step of learning, and all the state it moves.

S: streams   R: this process's streams   T: characters of a window   V: vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
from charrnn.training.network import CharRNN, detached, load_weights, weights

Arrays = dict[str, NDArray[Any]]


class Learner:
    """A model on its text: weights, moments, carried state, generator. The step is the caller's."""

    def __init__(self, corpus: Corpus, model: ModelConfig, config: TrainConfig, group: ProcessGroup) -> None:
        """Raises CorpusError when the text is too short, ConfigError when the streams cannot be shared."""
        self.corpus, self.config, self.group = corpus, config, group
        self.train_part, self.validation_part, _ = corpus.splits(config.split)
        ids = corpus.ids[self.train_part.start : self.train_part.stop]
        self.batches = Batches.fitted(ids, config.streams, config.bptt, group.world_size)
        self.rows = group.local_streams(self.batches.streams)
        # The first weights come from a generator of their own on the CPU: the same on every device.
        first = torch.Generator().manual_seed(config.seed)
        self.model = CharRNN(model, len(corpus.vocabulary), first).to(group.device)
        self.generator = torch.Generator(group.device).manual_seed(config.seed)
        self.model.regularise(
            config.dropout,
            config.weight_drop,
            devices.precision(group.device, config.precision),
            self.generator,
            (self.batches.streams, self.rows),
        )
        self.trained: nn.Module = self.model
        if group.world_size > 1:
            self.trained = DistributedDataParallel(self.model)
        self.reset_optimizers()
        self.carry = self.model.start(self.rows.stop - self.rows.start)

    def reset_optimizers(self) -> None:
        """New optimisers: Muon for the layers' weights, AdamW (Loshchilov & Hutter 2019) for the rest,
        decaying matrices alone.
        """
        config = self.config
        layers = [p for p in self.model.layers.parameters() if p.dim() > 1] if config.muon else []
        taken = set(map(id, layers))
        rest = [p for p in self.model.parameters() if id(p) not in taken]
        groups = [
            {"params": [p for p in rest if p.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.dim() <= 1], "weight_decay": 0.0},
        ]
        betas = (config.beta1, config.beta2)
        adamw = torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True)
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = [(adamw, config.lr)]
        if layers:
            first = self.model.stack[0]
            muon = Muon(layers, self.model.config.hidden, config.muon, precision=first.precision)
            self.optimizers.append((muon, config.muon))

    def load_pretrained(self, weights: Arrays, vocabulary: Vocabulary) -> None:
        """Cursor from another model's weights, of the same architecture and a part of the symbols.

        Symbols it did not know keep their fresh rows, and the lowest bias it gave any.
        """
        rows = self.corpus.vocabulary.encode_units(vocabulary.symbols)
        ours = self.weights()
        for name, value in weights.items():
            if name in ("embedding.weight", "readout.weight", "readout.bias"):
                if name == "readout.bias":
                    ours[name][:] = value.min()
                ours[name][rows] = value
            elif name == "layers.0.weight_ih" and not self.model.config.embedding:
                ours[name][:, rows] = value
            else:
                ours[name] = value
        load_weights(self.model, ours)

    def train_step(self, step: int, rate: float) -> tuple[Tensor, Tensor]:
        """Learn from one window: its mean nats a character, and the gradient's norm before clipping.

        ``rate`` is the share of the highest learning rates.
        """
        device = self.group.device
        inputs, targets = (
            torch.from_numpy(part).to(device, non_blocking=True)
            for part in self.batches.batch(step, self.rows)
        )
        for optimizer, highest in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = highest * rate
        logits, carry = self.trained(inputs, self.initial_state(step))
        loss = functional.cross_entropy(logits.reshape(-1, self.model.symbols), targets.reshape(-1))
        self.model.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip or math.inf)
        for optimizer, _ in self.optimizers:
            optimizer.step()
        self.carry = detached(carry)
        return loss.detach(), norm

    def initial_state(self, step: int) -> State:
        """The state before a window: the last one's end, but where a stream begins anew."""
        state = self.carry
        forget = np.random.default_rng((self.config.seed, step)).random(self.batches.streams)
        fresh = forget < self.config.reset
        if self.batches.starts_epoch(step):
            # Stream s begins again where stream s - 1 ended; only the first has no text before it.
            state = tuple(
                tuple(self.group.gather(part).roll(1, 0)[self.rows] for part in carry) for carry in state
            )
            fresh[0] = True
        if not fresh.any():
            return state
        keep = torch.from_numpy(~fresh[self.rows]).to(self.group.device)[:, None]
        return tuple(tuple(part * keep for part in carry) for carry in state)

    def validate(self, part: range | None = None) -> float | None:
        """Nats per character over the validation part (or the given one), None where there is none."""
        part = self.validation_part if part is None else part
        return evaluate(self.model, self.corpus.ids, part) if part else None

    def weights(self) -> Arrays:
        """The parameters, by name."""
        return weights(self.model)

    def state(self) -> Arrays:
        """The parameters, and under ``resume.`` all else that learning moves; the same on every process."""
        tensors: dict[str, Tensor] = {"generator": self.generator.get_state()}
        for name, parameter in self.model.named_parameters():
            for optimizer, _ in self.optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"optimizer.{name}.{key}"] = value
        for index, carry in enumerate(self.carry):
            for key, part in zip(self.model.stack[index].cell.state_names, carry, strict=True):
                tensors[f"carry.{index}.{key}"] = self.group.gather(part)
        rest = {RESUME + name: value.detach().cpu().numpy().copy() for name, value in tensors.items()}
        return self.weights() | rest

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Set all that ``state`` gave. Raises KeyError, RuntimeError or ValueError when it is not that."""
        load_weights(self.model, state)
        tensors = {
            name.removeprefix(RESUME): torch.from_numpy(value.copy())
            for name, value in state.items()
            if name.startswith(RESUME)
        }
        device = self.group.device
        for name, parameter in self.model.named_parameters():
            prefix = f"optimizer.{name}."
            (owner,) = (each for each, _ in self.optimizers if _owns(each, parameter))
            moments = {
                key.removeprefix(prefix): value.to(device)
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
            kinds = {"momentum"} if isinstance(owner, Muon) else {"step", "exp_avg", "exp_avg_sq"}
            if moments and set(moments) != kinds:  # none before the first step
                raise ValueError(f"the moments of {name} are {', '.join(moments)}")
            for key, value in moments.items():
                _expect(f"{prefix}{key}", value, () if key == "step" else tuple(parameter.shape))
            owner.state[parameter] = moments
        shape = (self.batches.streams, self.model.config.hidden)
        carries = [
            [f"carry.{index}.{key}" for key in layer.cell.state_names]
            for index, layer in enumerate(self.model.stack)
        ]
        for key in (key for names in carries for key in names):
            _expect(key, tensors[key], shape)
        self.carry = tuple(tuple(tensors[key][self.rows].to(device) for key in names) for names in carries)
        self.generator.set_state(tensors["generator"])


def _owns(optimizer: torch.optim.Optimizer, parameter: Tensor) -> bool:
    return any(parameter is each for group in optimizer.param_groups for each in group["params"])


def _expect(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Torch's kernels trust what they are given; a file is not to be trusted."""
    if tuple(value.shape) != shape or value.dtype != torch.float32:
        raise ValueError(f"{name} is {value.dtype} {tuple(value.shape)}, not float32 {shape}")
