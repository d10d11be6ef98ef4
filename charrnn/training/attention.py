"""The attention of ``charrnn.attention`` in torch, for the steps of a whole window at once.

B: batch   T: steps   N: outputs that a step attends to   H: hidden
C: steps of a block   M: outputs that the steps of a block attend to, C + N - 1
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from charrnn.attention import attend, make_queries
from charrnn.cells import LayerState

SHORTEST_BLOCK = 64
"""The fewest steps of a block, which has N where N is larger. Each step is multiplied with all M outputs of
its block and uses N, so more steps waste more products."""


class _BandOps:
    """``attention.Ops`` for blocks of steps: (B, C, H) queries, and (B, M, H) outputs seen.

    Step c attends to the outputs c to c + N - 1: a diagonal band of the (C, M) products of all queries and
    outputs. With C zeros after them, the same numbers in rows of M + 1 = C + N instead of M have row c moved
    c places to the left: the band becomes the first N columns. The other way round, columns become a band
    ("skewing" in Huang et al. 2018).
    """

    @staticmethod
    def product(x: Tensor, matrix: Tensor) -> Tensor:
        return x @ matrix.T

    @staticmethod
    def scores(queries: Tensor, seen: Tensor) -> Tensor:
        rows, steps, _ = queries.shape
        products = queries @ seen.transpose(1, 2)  # (B, C, M)
        shifted = functional.pad(products.flatten(1), (0, steps)).view(rows, steps, -1)  # (B, C, C + N)
        return shifted[..., :-steps]

    @staticmethod
    def softmax(scores: Tensor) -> Tensor:
        return scores.softmax(-1)

    @staticmethod
    def contexts(weights: Tensor, seen: Tensor) -> Tensor:
        rows, steps, _ = weights.shape
        band = functional.pad(weights, (0, steps)).flatten(1)[:, :-steps].view(rows, steps, -1)  # (B, C, M)
        return band @ seen


class Attention(nn.Module):
    """The contexts of all steps, and the last N outputs as the state."""

    def __init__(self, reach: int, hidden: int) -> None:
        """``reach`` is N."""
        super().__init__()
        self.query = nn.Parameter(torch.empty(hidden, hidden))
        self.distance = nn.Parameter(torch.empty(reach))

    def start(self, batch: int) -> LayerState:
        """((B, N * H) zeros,): the outputs before a text."""
        return (self.query.new_zeros(batch, len(self.distance) * len(self.query)),)

    def read(self, slices: Sequence[Tensor], state: LayerState) -> tuple[list[Tensor], LayerState]:
        """Slices that follow each other, (T, B, H) each -> (T, B, H) contexts each, state after the last.

        The batches get smaller: a slice has the first rows of the one before it.
        """
        contexts = []
        for outputs in slices:
            context, state = self.forward(outputs, tuple(part[: outputs.shape[1]] for part in state))
            contexts.append(context)
        return contexts, state

    def forward(self, outputs: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """(T, B, H) outputs, the state before them -> (T, B, H) contexts, the state after them."""
        reach = len(self.distance)
        (past,) = state
        seen = torch.cat([past.view(len(past), reach, len(self.query))[:, 1:], outputs.transpose(0, 1)], 1)
        queries = make_queries(self, outputs, _BandOps).transpose(0, 1)
        block, blocks = max(reach, SHORTEST_BLOCK), []
        for start in range(0, len(outputs), block):
            steps = queries[:, start : start + block]
            context, _ = attend(self, steps, seen[:, start : start + steps.shape[1] + reach - 1], _BandOps)
            blocks.append(context)
        return torch.cat(blocks, 1).transpose(0, 1), (seen[:, -reach:].flatten(1),)
