"""The options for the values of labels and vectors, and --guidance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from charrnn.cli import completion
from charrnn.cli.options import panel, utf8
from charrnn.errors import ConfigError

if TYPE_CHECKING:
    from charrnn.conditions import Condition

_condition = panel("Labels and vectors")


class Given(NamedTuple):
    """A name and its value as they are typed; the name is "" and the value None where it is left out."""

    name: str
    value: str | None


def parse_label(text: str) -> Given:
    """Parse "author=austen". Raises ValueError, "must be ..."."""
    name, equals, value = utf8(text).partition("=")
    if not equals or not name:
        raise ValueError("must be NAME=VALUE, such as author=austen")
    return Given(name, value)


def parse_vector(text: str) -> Given:
    """Parse "[0.1, 2]" or "features=[0.1, 2]". Raises ValueError, "must be ..."."""
    text = utf8(text).strip()
    name, equals, value = text.partition("=")
    if text.startswith("[") or not equals:
        name, value = "", text
    return Given(name, value)


LabelOption = Annotated[
    list[Given] | None,
    _condition(
        "The value of a label, on which the text depends; charrnn info shows labels and values. VALUE:SHARE,"
        "VALUE:SHARE mixes values, e.g. author=austen:0.7,shelley:0.3. Can be repeated.",
        "--label",
        metavar="NAME=VALUE",
        parser=parse_label,
        complete=completion.labels,
    ),
]
VectorOption = Annotated[
    list[Given] | None,
    _condition(
        "The numbers of a vector, on which the text depends; NAME can be left out where the model has one"
        " vector. Can be repeated.",
        "--vector",
        metavar="[NAME=][N,N,...]",
        parser=parse_vector,
    ),
]
Guidance = Annotated[
    float,
    _condition(
        "Follow labels and vectors more closely: from log p(x|c) to log p(x|c) + N (log p(x|c) - log p(x)).",
        "--guidance",
        default="0 (off)",
    ),
]


def given_values(
    conditions: Sequence[Condition], labels: Sequence[Given] | None, vectors: Sequence[Given] | None
) -> dict[str, Any]:
    """The values of the options, checked against the conditions of a model. Raises ConfigError."""
    from charrnn.conditions import Label, Vector, find

    values: dict[str, Any] = {}
    for given in labels or ():
        label = find(conditions, given.name)
        if not isinstance(label, Label):
            raise ConfigError(f"--label {given.name}: it is a vector: --vector '{given.name}=[...]'")
        _add(values, given.name, label.parse(given.value or ""))
        label.check(values[given.name])
    for given in vectors or ():
        names = [condition.name for condition in conditions if isinstance(condition, Vector)]
        if not given.name and not names:
            raise ConfigError("--vector: this model has no vectors; charrnn train --vector FIELD learns them")
        if not given.name and len(set(names)) > 1:
            raise ConfigError(f"--vector: name it, the model has {', '.join(names)}: {names[0]}=[...]")
        vector = find(conditions, given.name or names[0])
        if not isinstance(vector, Vector):
            raise ConfigError(f"--vector {given.name}: it is a label: --label {given.name}=VALUE")
        _add(values, vector.name, _numbers(vector.name, given.value or ""))
        vector.check(values[vector.name])
    return values


def _add(values: dict[str, Any], name: str, value: Any) -> None:
    if name in values:
        advice = "" if isinstance(value, list) else f"; a mixture of values: --label {name}=A:0.5,B:0.5"
        raise ConfigError(f"{name} is given twice{advice}")
    values[name] = value


def _numbers(name: str, text: str) -> list[float]:
    """The numbers of a JSON list. Raises ConfigError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--vector {name}: must be a list of numbers such as [0.1, -2, 3]") from error
    if not isinstance(value, list):
        raise ConfigError(f"--vector {name}: must be a list of numbers such as [0.1, -2, 3]")
    return value


def row_values(conditions: Sequence[Condition], row: dict[str, Any], strict: bool = False) -> dict[str, Any]:
    """The values of a JSON line's fields that are conditions of the model.

    Raises CharrnnError for a value of another type, and with ``strict`` for an unknown value of a label;
    without, such a value is missing.
    """
    from charrnn.conditions import Label
    from charrnn.text.documents import label_value

    values: dict[str, Any] = {}
    for condition in conditions:
        if condition.name not in row:
            continue
        value = row[condition.name]
        if isinstance(condition, Label):
            value = label_value(condition.name, value)
            value = value if strict or condition.row(value) else None
        condition.check(value)
        values[condition.name] = value
    return values
