"""The arrays of an n-gram model in a checkpoint, and their check.

V: vocabulary   N: order   M: n-grams of one length

    ngrams.1.keys ... ngrams.N.keys      (M,) unsigned, increasing: the index of the n-gram's first n - 1
                                         characters among the n-grams one shorter, times V, plus the id of its
                                         last character
    ngrams.1.counts ... ngrams.N.counts  (M,) unsigned, 1 or more
    discounts                            (N, 3) float64, above 0 and below the counts 1, 2 and 3
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CheckpointError


def names(order: int) -> list[str]:
    """The names of the arrays of a model."""
    return [f"ngrams.{n}.{kind}" for n in range(1, order + 1) for kind in ("keys", "counts")] + ["discounts"]


def check(path: Path, order: int, symbols: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise CheckpointError unless the arrays are those of an n-gram model."""
    for name in sorted(arrays.keys() ^ set(names(order))):
        problem = "does not belong to this n-gram model" if name in arrays else "is missing"
        raise CheckpointError(f"{path} is damaged: tensor {name!r} {problem}")
    contexts = 1  # the n-grams one shorter
    for n in range(1, order + 1):
        keys, counts = arrays[f"ngrams.{n}.keys"], arrays[f"ngrams.{n}.counts"]
        sound = keys.dtype.kind == counts.dtype.kind == "u" and keys.ndim == 1 and keys.shape == counts.shape
        if not (sound and len(keys) and _increases(keys, contexts * symbols) and counts.min() > 0):
            raise CheckpointError(f"{path} is damaged: the n-grams of length {n} are not sound")
        contexts = len(keys)
    discounts = arrays["discounts"]
    if discounts.dtype != np.float64 or discounts.shape != (order, 3):
        raise CheckpointError(f"{path} is damaged: tensor discounts is not float64 [{order}, 3]")
    if not ((discounts > 0) & (discounts < (1, 2, 3))).all():
        raise CheckpointError(f"{path} is damaged: a discount is not between 0 and its count")


def _increases(keys: NDArray[np.unsignedinteger], limit: int) -> bool:
    """Whether the keys increase, and are all below a limit."""
    return bool((keys[1:] > keys[:-1]).all()) and int(keys[-1]) < limit
