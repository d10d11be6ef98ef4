"""The only home of defaults: what a model is, and how it is trained."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Self

from charrnn.errors import ConfigError


def _require(condition: bool, option: str, value: object, need: str) -> None:
    if not condition:
        if isinstance(value, tuple):
            value = ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
        shown = str(value) if str(value).isprintable() else repr(value)
        raise ConfigError(f"--{option.replace('_', '-')} {shown}: it must be {need}")


def _whole(config: object, option: str, least: int, most: int = 2**31) -> None:
    value = getattr(config, option)
    fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    _require(fits, option, value, f"a whole number from {least} to {most}")


def _number(config: object, option: str, low: float, high: float, need: str) -> None:
    """A number in [low, high]; infinity and NaN are none."""
    value = getattr(config, option)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    _require(number and low <= value <= high and value < math.inf, option, value, need)


class _Config:
    """What the configs share: plain dictionaries out and in, and unknown keys refused."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Raises ConfigError on a key this version does not know, or a value of the wrong type."""
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - known):
            shown = ", ".join(name if name.isidentifier() else repr(name) for name in unknown)
            raise ConfigError(f"unknown setting {shown}; known: {', '.join(sorted(known))}")
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
        _whole(self, "layers", 1, 100)
        _whole(self, "hidden", 1, 1_000_000)
        _whole(self, "embedding", 0, 1_000_000)


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
    muon        Muon's, which learns the layers' weights; 0: AdamW learns them too
    final_lr    where the cosine ends, as a share of the highest
    reset       share of streams that forget all before a window: a model that only ever carries its
                state on never learns to begin, and writes nonsense from an empty one
    clip        largest global gradient norm; 0 turns clipping off
    split       shares of the text for training, validation and test, in this order
    patience    reports without a better validation after which the run ends; None: never
    save_every  steps between reports (validation, sample, save); None: as the budget allows
    save_minutes   minutes between saves of the last state, besides those of the reports
    """

    streams: int = 32
    bptt: int = 64
    dropout: float = 0.3
    weight_drop: float = 0.1
    precision: str = "auto"
    lr: float = 6e-3
    muon: float = 0.02
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
    patience: int | None = None
    save_every: int | None = None
    save_minutes: float = 5.0

    def __post_init__(self) -> None:
        _whole(self, "streams", 1)
        _whole(self, "bptt", 1)
        _whole(self, "seed", 0, 2**63 - 1)
        for name in ("steps", "save_every", "patience"):
            if getattr(self, name) is not None:
                _whole(self, name, 1)
        for name in ("epochs", "minutes"):
            if getattr(self, name) is not None:
                _number(self, name, 1e-9, 1e9, "above 0")
        _number(self, "save_minutes", 1e-9, 1e9, "above 0")
        _number(self, "lr", 1e-300, 1e300, "above 0")
        _number(self, "muon", 0, 1e300, "0 (off) or more")
        _number(self, "clip", 0, 1e300, "0 (off) or more")
        _number(self, "weight_decay", 0, 1e300, "0 or more")
        for name in ("final_lr", "warmup", "reset"):
            _number(self, name, 0, 1, "between 0 and 1")
        for name in ("beta1", "beta2"):
            _number(self, name, 0, 1 - 1e-12, "at least 0 and below 1")
        for name in ("dropout", "weight_drop"):
            _number(self, name, 0, 0.99, "between 0 and 0.99")
        _require(self.precision in PRECISIONS, "precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        object.__setattr__(self, "split", tuple(self.split))
        _require(len(self.split) == 3, "split", self.split, "three shares like 90,5,5")
        for share in self.split:
            number = isinstance(share, (int, float)) and not isinstance(share, bool)
            _require(number and 0 <= share <= 1e9, "split", self.split, "shares of 0 or more")
        _require(self.split[0] > 0, "split", self.split, "a training share above 0")


DEFAULT_MINUTES = 5.0
"""The budget of ``charrnn train`` when none is given ..."""

DEFAULT_EPOCHS = 30.0
"""... or this many times through the text, whichever comes first: a short text is soon learnt by heart."""
