"""The only home of defaults: what a model is, and how it is trained."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Self

from charrnn.errors import ConfigError


def _require(condition: bool, option: str, value: object, need: str) -> None:
    if not condition:
        raise ConfigError(f"--{option.replace('_', '-')} {value}: it must be {need}")


class _Config:
    """What the configs share: plain dictionaries out and in, and unknown keys refused."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Raises ConfigError on a key this version does not know, or a value of the wrong type."""
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"unknown setting {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"a setting has the wrong type: {error}") from error


@dataclass(frozen=True)
class ModelConfig(_Config):
    """The architecture. With the vocabulary's size it fixes every parameter's shape.

    ``embedding`` 0 means one-hot input.
    """

    cell: str = "lstm"
    layers: int = 1
    hidden: int = 512
    embedding: int = 64

    def __post_init__(self) -> None:
        _require(isinstance(self.cell, str), "cell", self.cell, "a name")
        for name, least in (("layers", 1), ("hidden", 1), ("embedding", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            _require(whole and value >= least, name, value, f"a whole number, {least} or more")


PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig(_Config):
    """How a model is trained.

    Of the budgets ``epochs``, ``steps`` and ``minutes`` those that are given hold, and the
    first to be spent ends the run; the schedule is fitted to it.

    streams     parallel contiguous streams the training text is cut into (the batch)
    bptt        characters in a window of truncated backpropagation through time
    dropout     share of each layer's output that is dropped on its way up: one mask a stream and
                window, the same at each of its characters (Gal & Ghahramani 2016)
    weight_drop share of the recurrent weights that is dropped: one mask a window (Merity et al. 2018)
    precision   of the recurrent kernel while training: "float32", "bfloat16", or "auto": bfloat16
                where the device computes in it faster; weights, moments and losses are float32
    lr          AdamW's highest learning rate, reached after ``warmup`` (a share of the run)
    final_lr    where the cosine ends, as a share of ``lr``
    reset       share of streams that forget all before a window: a model that only ever carries its
                state on never learns to begin, and writes nonsense from an empty one
    clip        largest global gradient norm; 0 turns clipping off
    split       shares of the text for training, validation and test, in this order
    save_every  steps between reports (validation, sample, save); None: as the budget allows
    """

    streams: int = 32
    bptt: int = 64
    dropout: float = 0.2
    weight_drop: float = 0.2
    precision: str = "auto"
    lr: float = 8e-3
    final_lr: float = 0.01
    warmup: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.01
    reset: float = 0.02
    clip: float = 1.0
    epochs: float | None = None
    steps: int | None = None
    minutes: float | None = None
    split: tuple[float, float, float] = (90.0, 5.0, 5.0)
    seed: int = 1
    save_every: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", tuple(self.split))
        for name in ("streams", "bptt"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        _require(math.isfinite(self.lr) and self.lr > 0, "lr", self.lr, "above 0")
        _require(math.isfinite(self.clip) and self.clip >= 0, "clip", self.clip, "0 (off) or more")
        for name in ("dropout", "weight_drop"):
            _require(0.0 <= getattr(self, name) < 1.0, name, getattr(self, name), "at least 0 and below 1")
        known = PRECISIONS
        _require(self.precision in known, "precision", self.precision, f"one of {', '.join(known)}")
        _require(0 <= self.reset <= 1, "reset", self.reset, "between 0 and 1")
        for name in ("epochs", "steps", "minutes", "save_every"):
            value = getattr(self, name)
            _require(value is None or (math.isfinite(value) and value > 0), name, value, "above 0")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        usable = (
            len(self.split) == 3
            and all(math.isfinite(part) and part >= 0 for part in self.split)
            and self.split[0] > 0
        )
        shown = ",".join(f"{part:g}" for part in self.split)
        _require(usable, "split", shown, "three shares like 90,5,5, the first above 0")


DEFAULT_MINUTES = 5.0
"""The budget of ``charrnn train`` when none is given ..."""

DEFAULT_EPOCHS = 30.0
"""... or this many times through the text, whichever comes first: a short text is soon learnt by heart."""
