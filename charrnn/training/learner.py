"""One training step, and everything that it changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from charrnn.config import ModelConfig, TrainConfig
from charrnn.runs.checkpoint import RESUME, Checkpoint
from charrnn.text.corpus import Corpus
from charrnn.training import devices
from charrnn.training.data import training_data
from charrnn.training.devices import ProcessGroup
from charrnn.training.muon import Muon
from charrnn.training.network import CharRNN, load_weights, weights
from charrnn.training.pretrained import extended
from charrnn.training.window_state import checked

Arrays = dict[str, NDArray[Any]]

VALIDATED = 1_000_000
"""The most characters of the validation part that a report reads.

A character's loss has a standard deviation of about 2 nats, so the mean of so many has an error of 0.002.
"""


class Learner:
    """A model, its optimisers, the way its text is read, and the generator of its dropout."""

    def __init__(self, corpus: Corpus, model: ModelConfig, config: TrainConfig, group: ProcessGroup) -> None:
        """Raises CorpusError for a text too short, ConfigError for streams that cannot be shared equally."""
        self.corpus, self.config, self.group = corpus, config, group
        _, self.validation_part, _ = corpus.splits(config.split)
        self.validated = corpus.beginning(self.validation_part, VALIDATED)
        self.data = training_data(corpus, config, group)
        # Initial weights use a CPU generator, so they are equal on every device.
        initial = torch.Generator().manual_seed(config.seed)
        self.model = CharRNN(model, len(corpus.vocabulary), initial).to(group.device)
        self.generator = torch.Generator(group.device).manual_seed(config.seed)
        self.model.prepare_for_training(
            config.dropout,
            config.weight_drop,
            devices.precision(group.device, config.precision),
            self.generator,
            self.data.streams,
        )
        self.parallel_model: nn.Module = self.model
        if group.world_size > 1:
            self.parallel_model = DistributedDataParallel(self.model)
        self.reset_optimizers()
        self.data.start(self.model)

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

    def load_pretrained(self, pretrained: Checkpoint) -> None:
        """Start from the weights of a model of the same cells, whose symbols are part of the corpus's."""
        load_weights(
            self.model, extended(pretrained, self.model.config, self.corpus.vocabulary, self.weights())
        )

    def train_step(self, step: int, lr_factor: float) -> tuple[Tensor, Tensor]:
        """Update the weights from one window: its mean nats per character, the gradient norm before clipping.

        Every optimiser's learning rate is its highest one times ``lr_factor``.
        """
        for optimizer, highest_lr in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = highest_lr * lr_factor
        self.model.zero_grad(set_to_none=True)  # now, because reading computes some of the new ones
        loss = self.data.read_window(self.parallel_model, step)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip or math.inf)
        for optimizer, _ in self.optimizers:
            optimizer.step()
        return loss.detach(), norm

    def validate(self, part: range | None = None) -> float | None:
        """Nats per character of ``part`` (default: that of the reports), None without one to predict."""
        part = self.validated if part is None else part
        has_target = part.stop > max(part.start, 1)  # the first character that is read has none before it
        return self.data.validate(self.model, part) if has_target else None

    def weights(self) -> Arrays:
        """The parameters by name."""
        return weights(self.model)

    def state(self, copy: bool = True) -> Arrays:
        """All that a step changes: the parameters by name, and under ``resume.`` all else.

        It is the same in every process, and all of them must call it. Without ``copy`` the next step may
        change the arrays.
        """
        tensors: dict[str, Tensor] = {"generator": self.generator.get_state()}
        for name, parameter, optimizer in self._optimized_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
        tensors |= self.data.arrays()
        named = dict(self.model.named_parameters()) | {
            RESUME + name: value for name, value in tensors.items()
        }
        arrays = {name: value.detach().cpu().numpy() for name, value in named.items()}
        return {name: array.copy() for name, array in arrays.items()} if copy else arrays

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
                key: checked(arrays, prefix + key, () if key == "step" else tuple(parameter.shape)).to(device)
                for key in keys
            }
        self.data.restore(arrays)
        generator, now = arrays[RESUME + "generator"], self.generator.get_state()
        if generator.dtype != np.uint8 or generator.shape != tuple(now.shape):
            raise ValueError(
                f"generator is {generator.dtype} {generator.shape}, not uint8 {tuple(now.shape)}"
            )
        self.generator.set_state(torch.from_numpy(generator.copy()))

    def _optimized_parameters(self) -> Iterator[tuple[str, Tensor, torch.optim.Optimizer]]:
        """Each parameter's name, the parameter, and the optimiser that updates it."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        for optimizer, _ in self.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield names[parameter], parameter, optimizer
