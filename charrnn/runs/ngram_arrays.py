"""The arrays of an n-gram model in a checkpoint, and their check.

V: vocabulary   N: order   M: n-grams of one length

    ngrams.1.keys ... ngrams.N.keys      (M,) unsigned, increasing: the index of the n-gram's first n - 1
                                         characters among the n-grams one shorter, times V, plus the id of its
                                         last character
    ngrams.1.counts ... ngrams.N.counts  (M,) unsigned, from 1 to 2^53; below the order to V + 1, where the
                                         n-gram does not begin with the START of a document
    discounts                            (N, 3) float64, at least 1e-6 and below the counts 1, 2 and 3
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import NgramConfig
from charrnn.errors import CheckpointError

CHUNK = 1 << 20
"""N-grams that are checked at once."""
LARGEST_COUNT = 1 << 53
"""The largest count: up to here, float64 holds every whole number."""
SMALLEST_DISCOUNT = 1e-6
"""The smallest discount: a smaller one could give a character the probability 0."""


def names(order: int) -> list[str]:
    """The names of the arrays of a model."""
    return [f"ngrams.{n}.{kind}" for n in range(1, order + 1) for kind in ("keys", "counts")] + ["discounts"]


def check(path: Path, config: NgramConfig, symbols: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise CheckpointError unless the arrays are those of an n-gram model. Each is read once."""
    order = config.order
    for name in sorted(arrays.keys() ^ set(names(order))):
        problem = "does not belong to this n-gram model" if name in arrays else "is missing"
        raise CheckpointError(f"{path} is damaged: tensor {name!r} {problem}")
    discounts = arrays["discounts"]
    if discounts.dtype != np.float64 or discounts.shape != (order, 3):
        raise CheckpointError(f"{path} is damaged: tensor discounts is not float64 [{order}, 3]")
    if not ((discounts >= SMALLEST_DISCOUNT) & (discounts < (1, 2, 3))).all():
        raise CheckpointError(f"{path} is damaged: a discount is not between 0 and its count")
    contexts = 1  # the n-grams one shorter
    for n in range(1, order + 1):
        keys, counts = arrays[f"ngrams.{n}.keys"], arrays[f"ngrams.{n}.counts"]
        if not (_is_list(keys) and _is_list(counts) and len(keys) == len(counts) > 0):
            raise CheckpointError(
                f"{path} is damaged: the n-grams of length {n} are not two lists of one length"
            )
        if not _increases(keys, contexts * symbols):
            raise CheckpointError(
                f"{path} is damaged: the keys of length {n} do not increase, or are too large"
            )
        # below the order they count characters, and the beginning of the text; but those of n-grams that
        # begin with START count n-grams
        any_count = n == order or (config.documents and n > 1)
        if counts.min() < 1 or counts.max() > (LARGEST_COUNT if any_count else symbols + 1):
            raise CheckpointError(f"{path} is damaged: a count of length {n} is 0 or too large")
        contexts = len(keys)


def _is_list(array: NDArray[Any]) -> bool:
    """Whether an array has one dimension and an unsigned type."""
    return array.ndim == 1 and array.dtype.kind == "u"


def _increases(keys: NDArray[np.unsignedinteger], limit: int) -> bool:
    """Whether the keys increase, and are all below a limit."""
    for start in range(0, len(keys) - 1, CHUNK):
        part = keys[start : start + CHUNK + 1]
        if not (part[1:] > part[:-1]).all():
            return False
    return int(keys[-1]) < limit
