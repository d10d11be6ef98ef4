"""Attention over the last N outputs of the top layer.

The output of step t is h_t. Those of the steps before a text begins are zeros.

    q = W h_t / sqrt(H)                         query
    e_k = q . h_(t-k) + d_k                     score of the output k characters back, k from 0 to N - 1
    p = softmax(e)                              weights
    z = p_0 h_t + ... + p_(N-1) h_(t-N+1)       context, which the readout reads beside h_t

The context is the soft attention of Xu et al. 2015 ("Show, Attend and Tell"), over past outputs instead of
the parts of a picture. The score is "general" of Luong et al. 2015, divided by sqrt(H) as in Vaswani et al.
2017.
The bias d_k tells how far back an output is. An output of zeros scores its bias alone and adds nothing to z.

Arrays hold outputs, weights and biases in the order of time: the oldest first, h_t last.

N: outputs that a step attends to   H: hidden
"""

from __future__ import annotations

import math
from typing import Any, Protocol

Array = Any
"""A torch tensor or a NumPy array."""


class Ops(Protocol):
    """The array operations of attention besides ``+ /``. One set for torch, one for NumPy.

    The outputs ``seen`` have the shape that the backend needs: NumPy (B, N, H) for one step, torch more for a
    block of steps.
    """

    def product(self, x: Array, matrix: Array) -> Array:
        """(..., H), (H, H) -> (..., H): ``x @ matrix.T``."""

    def scores(self, queries: Array, seen: Array) -> Array:
        """(..., H) queries -> (..., N) products of each query and the N outputs that its step attends to."""

    def softmax(self, scores: Array) -> Array:
        """(..., N) -> (..., N), above 0, with the sum 1."""

    def contexts(self, weights: Array, seen: Array) -> Array:
        """(..., N) weights -> (..., H) sums of the weighted outputs."""


def make_queries(w: Any, outputs: Array, ops: Ops) -> Array:
    """The queries of steps with these outputs: (..., H) -> (..., H). ``w.query`` is W."""
    return ops.product(outputs, w.query) / math.sqrt(outputs.shape[-1])


def attend(w: Any, queries: Array, seen: Array, ops: Ops) -> tuple[Array, Array]:
    """The contexts (..., H) and the weights (..., N) of steps with these queries (..., H).

    w     ``w.distance`` (N,) is d, that of the oldest output first
    seen  the outputs that the steps attend to
    """
    weights = ops.softmax(ops.scores(queries, seen) + w.distance)
    return ops.contexts(weights, seen), weights
