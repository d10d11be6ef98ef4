"""The settings of a model and of its training, with their defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from charrnn import conditions
from charrnn.conditions import Condition
from charrnn.errors import ConfigError, did_you_mean, wrong_value

WIDEST = 1_000_000
"""Most hidden units of a layer, and most numbers of an embedding."""
HIGHEST_RATE = 1e30
"""Largest learning rate: float32 holds it, and its product with a parameter."""
LARGEST_FIGURE = 1e300
"""Larger figures are refused: sums and products of them could overflow."""
LARGEST_COUNT = 1 << 53
"""Larger whole numbers are refused: not all of them are floats."""
MAX_ORDER = 100
"""Longest n-grams of an n-gram model."""
DEVICES = ("auto", "cpu", "cuda", "mps")
DEVICE_SYNONYMS = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps"}
OPTIMIZERS = ("muon", "adamw", "sgd")
OPTIMIZER_SYNONYMS = {"adam": "adamw", "gradient-descent": "sgd"}
LEARNING_RATES = {"muon": 6e-3, "adamw": 6e-3, "sgd": 4.0}
"""The default of ``lr`` for each optimiser (docs/training.md)."""
READOUTS = ("top", "all")
"""The layers whose outputs the readout reads."""
CONDITION_STEPS = ("every", "first")
"""The steps at which conditions enter the network: every step, or that of START alone."""
LOSSES = ("all", "text")
"""What the loss is taken on: all characters, or all but those of prompts."""
PRECISIONS = ("auto", "float32", "bfloat16")
PRECISION_SYNONYMS = {"fp16": "bfloat16", "float16": "bfloat16", "half": "bfloat16", "bf16": "bfloat16"}
PRECISION_SYNONYMS |= dict.fromkeys(("fp32", "float", "single", "full"), "float32")


def _require(condition: bool, option: str, value: object, rule: str) -> None:
    if not condition:
        if isinstance(value, tuple):
            value = ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
        raise ConfigError(wrong_value(f"--{option.replace('_', '-')}", value, rule))


def is_between(value: Any, low: float, high: float, types: tuple[type, ...] = (int, float)) -> bool:
    """Whether a value has one of the types and is from ``low`` to ``high``: booleans and NaN are refused."""
    return type(value) in types and low <= value <= high


class _Config:
    """Checks of settings, and conversion to and from dictionaries."""

    def _check_numbers(
        self, names: str, low: float, high: float, rule: str, types: tuple[type, ...] = (int, float)
    ) -> None:
        """Raise ConfigError unless each setting is such a number; None is allowed where it is the default.

        A whole number becomes a float where the setting may be one: torch takes no whole number above 2^63.
        """
        for name in names.split():
            value = getattr(self, name)
            if value is not None or getattr(type(self), name) is not None:
                _require(is_between(value, low, high, types), name, value, rule)
            if value is not None and float in types:
                object.__setattr__(self, name, float(value))

    def _check_integers(self, names: str, low: int, high: int = 2**31) -> None:
        self._check_numbers(names, low, high, f"a whole number from {low} to {high}", (int,))

    def _check_name(self, setting: str, names: Sequence[str], synonyms: Mapping[str, str]) -> None:
        """Raise ConfigError unless the setting is one of the names."""
        value = getattr(self, setting)
        if value not in names:
            hint = did_you_mean(str(value), names, synonyms)
            _require(False, setting, value, f"{', '.join(names[:-1])} or {names[-1]}{hint}")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Raises ConfigError for an unknown key or a wrong value."""
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - known):
            shown = ", ".join(name if name.isidentifier() else repr(name) for name in unknown)
            raise ConfigError(f"unknown setting {shown}; known: {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"a setting has the wrong type: {error}") from error


PART_VERSIONS = {"documents": 2, "residual": 3, "readout": 3, "attention": 3, "backward": 3}
"""Settings that a checkpoint names only where the model has that part, and the first format that has them."""


@dataclass(frozen=True)
class ModelConfig(_Config):
    """The architecture: with the size of the vocabulary it fixes the shape of every parameter."""

    cell: str = "lstm"
    layers: int = 1
    hidden: int = 512  # units in each layer
    embedding: int = 64  # 0: one-hot input
    residual: bool = False  # whether each layer from the second on adds its input to its output
    readout: str = "top"  # the layers whose outputs the readout reads
    attention: int = 0  # outputs of the top layer that each step attends to; 0: none
    backward: bool = False  # whether it reads texts from their end to their beginning
    documents: bool = False  # whether texts begin with START and end with END
    conditions: tuple[Condition, ...] = ()  # labels and vectors on which texts depend
    condition: str = "every"  # the steps at which they enter
    condition_width: int = 16  # numbers that each of them becomes

    def __post_init__(self) -> None:
        object.__setattr__(self, "conditions", tuple(map(_condition, self.conditions)))
        _require(isinstance(self.documents, bool), "documents", self.documents, "true or false")
        self._check_name("condition", CONDITION_STEPS, {})
        self._check_integers("condition_width", 1, WIDEST)
        names = [condition.name for condition in self.conditions]
        if len(set(names)) < len(names):
            raise ConfigError("conditions: two of them have one name")
        if self.conditions and not self.documents:
            raise ConfigError("conditions: only a model of documents has them")
        _require(isinstance(self.cell, str), "cell", self.cell, "a name")
        self._check_integers("layers", 1, 100)
        self._check_integers("hidden", 1, WIDEST)
        self._check_integers("embedding", 0, WIDEST)
        _require(isinstance(self.residual, bool), "residual", self.residual, "true or false")
        self._check_name("readout", READOUTS, {})
        self._check_integers("attention", 0)
        _require(isinstance(self.backward, bool), "backward", self.backward, "true or false")
        if self.layers == 1 and (self.residual or self.readout == "all"):
            option = "--residual" if self.residual else "--readout all"
            raise ConfigError(f"{option} connects layers: add --layers 2 or more")

    @property
    def title(self) -> str:
        """The architecture as messages show it."""
        return f"{self.cell} {self.layers} x {self.hidden}{', backward' if self.backward else ''}"

    @property
    def condition_inputs(self) -> int:
        """The numbers of all conditions that the first layer reads beside the character."""
        return self.condition_width * len(self.conditions)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without the parts and settings that the network lacks."""
        values = vars(self) | {"conditions": [condition.to_dict() for condition in self.conditions]}
        left_out = [] if self.conditions else ["conditions", "condition", "condition_width"]
        left_out += [name for name in PART_VERSIONS if values[name] == getattr(type(self), name)]
        return {name: value for name, value in values.items() if name not in left_out}


@dataclass(frozen=True)
class NgramConfig(_Config):
    """An n-gram model: ``order`` is the length of its longest n-grams."""

    order: int
    documents: bool = False  # whether texts begin with START and end with END

    def __post_init__(self) -> None:
        self._check_integers("order", 1, MAX_ORDER)
        _require(isinstance(self.documents, bool), "documents", self.documents, "true or false")

    @property
    def title(self) -> str:
        """The model as messages show it."""
        return f"{self.order}-gram"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; without documents where the model has none."""
        return {"order": self.order} | ({"documents": True} if self.documents else {})


@dataclass(frozen=True)
class TrainConfig(_Config):
    """How a model is trained. The first of epochs, steps, minutes to be reached ends the run."""

    streams: int = 32  # parallel streams the training text is cut into: the batch size
    bptt: int = 64  # characters in a window of truncated backpropagation through time
    # Dropout on each layer's output: one mask for a stream's window (Gal & Ghahramani 2016).
    dropout: float = 0.3
    # Dropout on the recurrent weights: one mask for a window (Merity et al. 2018).
    weight_drop: float = 0.1
    # Of the recurrent products in training; auto is bfloat16 where the device has instructions for it.
    # Weights, moments and losses are always float32.
    precision: str = "auto"
    # muon: Muon for the recurrent layers' matrices, AdamW for all other parameters; adamw, sgd: one for all.
    optimizer: str = "muon"
    # The highest learning rate of AdamW or SGD. Without one, __post_init__ sets that of LEARNING_RATES.
    lr: float = None  # type: ignore[assignment]
    muon: float = 0.02  # Muon's highest learning rate
    final_lr: float = 0.01  # where the cosine ends, as a fraction of the highest learning rate
    warmup: float = 0.05  # fraction of the run in which the learning rate rises
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.01
    # Fraction of the streams whose state is set to zeros before a window: a model that never starts from
    # zeros in training writes nonsense when it does.
    reset: float = 0.02
    loss: str = "all"  # of documents: on all characters, or on all but those of prompts
    # Probability of reading a document without any of its labels and vectors, and, if it has several, of
    # dropping each one: so the model also learns what is written where a label is missing.
    label_drop: float = 0.1
    clip: float = 1.0  # largest global gradient norm; 0: no clipping
    epochs: float | None = None
    steps: int | None = None
    minutes: float | None = None
    split: tuple[float, float, float] = (90.0, 5.0, 5.0)  # training, validation, test, in text order
    seed: int = 1
    patience: int | None = None  # reports without a lower validation loss that end the run; None: no limit
    save_every: int | None = None  # steps between reports; None: from the budget
    save_minutes: float = 5.0  # between saves of the last checkpoint, besides those at reports

    def __post_init__(self) -> None:
        self._check_integers("streams bptt steps save_every patience", 1)
        self._check_integers("seed", 0, 2**63 - 1)
        self._check_numbers("epochs minutes save_minutes", 1e-9, 1e9, "above 0 and at most 1e9")
        self._check_name("optimizer", OPTIMIZERS, OPTIMIZER_SYNONYMS)
        if vars(self)["lr"] is None:
            object.__setattr__(self, "lr", LEARNING_RATES[self.optimizer])
        self._check_numbers("lr", 1e-300, HIGHEST_RATE, "above 0 and at most 1e30")
        self._check_numbers(
            "muon", 1e-300, HIGHEST_RATE, "above 0 and at most 1e30; --optimizer adamw trains without Muon"
        )
        self._check_numbers("clip", 0, LARGEST_FIGURE, "0 (off) or more, and finite")
        self._check_numbers("weight_decay", 0, LARGEST_FIGURE, "0 or more")
        self._check_name("loss", LOSSES, {})
        self._check_numbers("final_lr warmup reset label_drop", 0, 1, "between 0 and 1")
        self._check_numbers("beta1 beta2", 0, 1 - 1e-12, "at least 0 and below 1")
        self._check_numbers("dropout weight_drop", 0, 0.99, "between 0 and 0.99")
        self._check_name("precision", PRECISIONS, PRECISION_SYNONYMS)
        object.__setattr__(self, "split", tuple(self.split))
        valid = len(self.split) == 3 and all(is_between(part, 0, 1e9) for part in self.split)
        valid = valid and self.split[0] > 0
        _require(valid, "split", self.split, "three numbers like 90,5,5, the first above 0")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """As for every config. Earlier versions wrote ``muon`` 0 for what is now the optimizer adamw."""
        if values.get("muon") == 0 and "optimizer" not in values:
            values = {name: value for name, value in values.items() if name != "muon"} | {
                "optimizer": "adamw"
            }
        return super().from_dict(values)


def check_together(model: ModelConfig, config: TrainConfig) -> None:
    """Raise ConfigError for settings of a model and of its training that exclude each other."""
    if model.backward and config.loss == "text":
        raise ConfigError(
            "--loss text and --backward do not go together, because a backward model reads the prompt last:"
            " give one of the two"
        )
    if model.attention > config.bptt:
        raise ConfigError(
            f"--attention {model.attention}: must be at most the window, --bptt {config.bptt}: give --bptt"
            f" {model.attention} or more"
        )


def _condition(value: Any) -> Condition:
    """A condition, or that of a JSON object. Raises ConfigError."""
    try:
        return value if isinstance(value, Condition) else conditions.from_dict(value)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"conditions: {error}") from error


DEFAULT_MINUTES = 5.0
DEFAULT_EPOCHS = 30.0
DEFAULT_STEPS = 200
"""The budget of ``charrnn train`` when none is given: the minutes or the epochs, whichever end first, because
more epochs overfit; but the epochs take at least so many steps, because fewer teach a short text nothing."""

BY_HEART = 1_000
"""Characters below which ``charrnn train`` learns a text by heart: too few to learn anything general from."""
SHORT = 10_000
"""Characters below which ``charrnn train`` warns that a text is short."""
