"""Conditions: values on which the probabilities of a text depend, such as its language.

A condition is a label, one of some values, or a vector, a list of numbers. Its input is a row of numbers:

    label   row 0 is 1 for a missing or unknown value, row k for value k; shares for a mixture of values
    vector  row 0 is 1 for a missing vector; else the other rows are the vector, scaled
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from charrnn.errors import ConfigError, did_you_mean

MOST_VALUES = 10_000
"""The most values of a label: more are names or numbers, not categories."""
LONGEST_VECTOR = 100_000
"""The most numbers of a vector."""
MISSING = 0
"""The row of a missing or unknown value."""


@dataclass(frozen=True)
class Label:
    """A category, with the values that the training text has, sorted."""

    name: str
    values: tuple[str, ...]

    @property
    def inputs(self) -> int:
        """The length of its input."""
        return len(self.values) + 1

    def row(self, value: str | None) -> int:
        """The row of a value; MISSING for one that is missing or unknown."""
        return self._rows.get(value, MISSING) if value is not None else MISSING

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {value: row for row, value in enumerate(self.values, 1)}

    def check(self, value: Any) -> None:
        """Raise ConfigError for an unknown value, with a similar one, and for wrong shares."""
        shares = _shares(value)
        for each in shares:
            if each not in self._rows:
                raise ConfigError(f"label {self.name} has no value {each!r}{self._advice(str(each))}")
        if not all(0 <= share < math.inf for share in shares.values()) or (
            shares and not sum(shares.values()) > 0
        ):
            raise ConfigError(f"--label {self.name}: shares must be 0 or more, and one of them above 0")

    def input(self, value: Any) -> list[float]:
        """The input of a value: None, a text, or a mapping from values to their shares.

        Raises ConfigError as ``check``.
        """
        self.check(value)
        shares = _shares(value)
        result = [0.0] * self.inputs
        for each, share in shares.items():
            result[self._rows[each]] += share / sum(shares.values())
        result[MISSING] = 0.0 if shares else 1.0
        return result

    def parse(self, text: str) -> str | dict[str, float] | None:
        """The value in a text: a value, "" for none, or VALUE:SHARE,VALUE:SHARE. Raises ConfigError."""
        if not text:
            return None
        if text in self._rows or (":" not in text and "," not in text):
            return text
        shares: dict[str, float] = {}
        for part in text.split(","):
            value, colon, share = part.rpartition(":")
            try:
                name = value if colon else part
                shares[name] = shares.get(name, 0.0) + (float(share) if colon else 1.0)
            except ValueError as error:
                raise ConfigError(f"label {self.name} has no value {part!r}{self._advice(part)}") from error
        return shares

    def _advice(self, value: str) -> str:
        shown = ", ".join(self.values[:10]) + (
            f" and {len(self.values) - 10} more" if len(self.values) > 10 else ""
        )
        return did_you_mean(value, self.values) or f"; its values: {shown}"

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"label": self.name, "values": list(self.values)}


@dataclass(frozen=True)
class Vector:
    """A list of numbers; ``mean`` and ``scale`` are those of each number in the training text."""

    name: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def inputs(self) -> int:
        """The length of its input."""
        return len(self.mean) + 1

    def check(self, value: Any) -> None:
        """Raise ConfigError for a vector of another length, or with other values than finite numbers."""
        if value is not None:
            check_vector(self.name, value, len(self.mean))

    def input(self, value: Sequence[float] | None) -> list[float]:
        """The input of a vector: (value - mean) / scale, or that of a missing one.

        Raises ConfigError as ``check``.
        """
        self.check(value)
        if value is None:
            return [1.0] + [0.0] * len(self.mean)
        rows = zip(value, self.mean, self.scale, strict=True)
        return [0.0, *((number - mean) / scale for number, mean, scale in rows)]

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"vector": self.name, "mean": list(self.mean), "scale": list(self.scale)}


Condition = Label | Vector


def _shares(value: Any) -> Mapping[Any, float]:
    """The shares of values; none for a missing value."""
    return value if isinstance(value, Mapping) else {} if value is None else {value: 1.0}


Values = Mapping[str, Any]
"""The values of conditions by name: a text or shares for a label, numbers for a vector, None if missing."""


def from_dict(values: Any) -> Condition:
    """A condition from its JSON object. Raises TypeError, KeyError or ValueError for another object."""
    if not isinstance(values, dict):
        raise TypeError("a condition must be an object")
    name = values.get("label", values.get("vector"))
    if not isinstance(name, str) or not name:
        raise ValueError("a label or a vector must have a name")
    if "label" in values:
        names = values["values"]
        valid = isinstance(names, list) and all(isinstance(value, str) and value for value in names)
        if not valid or list(names) != sorted(set(names)) or not names:
            raise ValueError(f"the values of {name} must be texts, sorted and without repeats")
        return Label(name, tuple(names))
    mean, scale = (tuple(values[key]) for key in ("mean", "scale"))
    if len(mean) != len(scale) or not mean or not all(is_number(number) for number in mean + scale):
        raise ValueError(f"the mean and the scale of {name} must be numbers, equally many")
    if min(scale) < 1e-30:
        raise ValueError(f"the scale of {name} must be above 0")
    return Vector(name, mean, scale)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that float32 holds; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def check_vector(name: str, value: Any, length: int | None) -> None:
    """Raise ConfigError unless the value is a list of ``length`` finite numbers; None: of any length."""
    if not isinstance(value, list | tuple) and not hasattr(value, "tolist"):  # an array of NumPy
        raise ConfigError(f"vector {name}: must be a list of numbers such as [0.1, -2, 3]")
    if not 0 < len(value) <= LONGEST_VECTOR:
        raise ConfigError(f"vector {name}: must have 1 to {LONGEST_VECTOR:,} numbers, not {len(value):,}")
    if length is not None and len(value) != length:
        raise ConfigError(f"vector {name}: must have {length} number{'s' * (length != 1)}, not {len(value)}")
    for index, number in enumerate(value, 1):
        if not is_number(number):
            raise ConfigError(
                f"vector {name}: number {index} is {json.dumps(number, default=repr)}, not a finite number"
            )


def find(conditions: Sequence[Condition], name: str) -> Condition:
    """The condition of this name. Raises ConfigError, with a similar name or all names."""
    for condition in conditions:
        if condition.name == name:
            return condition
    if not conditions:
        raise ConfigError(
            f"--label {name}: this model has no labels and no vectors; charrnn train --label learns them"
        )
    names = [condition.name for condition in conditions]
    hint = did_you_mean(name, names) or f"; it has: {', '.join(names)}"
    raise ConfigError(f"the model has no label or vector called {name!r}{hint}")
