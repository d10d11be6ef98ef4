"""The options of mixtures and of unknown characters, for ``charrnn sample`` and ``charrnn score``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any


class Unknown(StrEnum):
    """What to do with characters that are not in the vocabulary."""

    error = "error"
    skip = "skip"
    nearest = "nearest"


KNOWN_ONLY = "--unknown nearest replaces and --unknown skip omits such characters"
"""The way out of an error about an unknown character."""


def parse_weights(value: str) -> Sequence[float] | None:
    """Parse "0.7,0.3" as [0.7, 0.3], "equal" as [], "auto" as None. Raises ValueError, "must be ..."."""
    if value in ("auto", "equal"):
        return None if value == "auto" else []
    try:
        return [float(number) for number in value.split(",")]
    except ValueError as error:
        raise ValueError("must be auto, equal, or numbers with commas, such as 0.7,0.3") from error


def weights_option(option: Callable[..., Any]) -> Any:
    """--weights, made by a function of ``panel``."""
    return option(
        "Weights of the checkpoints in a mixture; auto: those with the lowest loss on the validation part"
        " that the checkpoints share; without a common validation part, equal weights.",
        default="auto",
        metavar="auto|equal|A,B,...",
        parser=parse_weights,
    )


def unknown_option(option: Callable[..., Any], characters: str) -> Any:
    """--unknown, made by a function of ``panel``; ``characters`` begins the help."""
    return option(
        f"{characters} outside the vocabulary: stop with an error, skip them, or read the nearest known"
        " character (e for é)."
    )
