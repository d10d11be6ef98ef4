"""The options of ``Model.generate`` and of other methods of ``charrnn.Model``, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class Sampling(TypedDict, total=False):
    """The options of ``Model.generate`` and ``Model.stream``: those of ``charrnn sample`` of the same names.

    length             most characters; 0: no limit (only ``stream``, or with ``stop`` or ``match``); default
                       1000, for a model of documents twice the longest one
    min_length         fewest characters before a stop string
    temperature        below 1: safer, more repetitive; above 1: more varied; 0: the most probable character
    final_temperature  the temperature of the last character, reached in equal steps
    seed               a number that gives the same text again; None: random
    stop               one or several strings: the text ends before the first one
    keep_stop          include the stop string
    match              an expression that the whole text must match
    allow, ban         characters: generate only these; never generate these
    no_repeat          never generate the same sequence of so many characters twice; 0: off
    top_k, top_p, min_p, typical, repeat_penalty, repeat_window
                       filters (docs/sampling.md)
    clamp              {(layer, unit): value}: units whose hidden states are held at these values
    labels, vectors    {name: value}, on which the text depends; {name: {value: share}} mixes values
    guidance           how much more closely it follows them; 0: off
    """

    length: int
    min_length: int
    temperature: float
    final_temperature: float | None
    seed: int | None
    stop: str | Sequence[str]
    keep_stop: bool
    match: str | None
    allow: str | None
    ban: str | None
    no_repeat: int
    top_k: int
    top_p: float
    min_p: float
    typical: float
    repeat_penalty: float
    repeat_window: int
    clamp: Mapping[tuple[int, int], float]
    labels: Mapping[str, Any]
    vectors: Mapping[str, Sequence[float]]
    guidance: float


class Given(TypedDict, total=False):
    """The values on which a text depends, by the names of labels and vectors."""

    labels: Mapping[str, Any]
    vectors: Mapping[str, Sequence[float]]
