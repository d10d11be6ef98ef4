"""The readout: the logits of characters, or their loss some rows at a time.

M: characters   R: inputs of the readout   V: vocabulary
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

LOGITS_AT_ONCE = 1 << 24
"""The most logits in memory at once, where the loss is computed."""


class Readout(nn.Linear):
    """(..., R) -> (..., V) logits; or, with targets, the loss."""

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        """With targets (M,), of x (M, R): the sum of their nats; a target of -1 does not count.

        The memory of the loss and of its gradient does not grow with M times V.
        """
        if targets is None:
            return super().forward(x)
        result: Tensor = _Nats.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, targets, torch.is_grad_enabled()
        )
        return result


class _Nats(torch.autograd.Function):
    """The sum of the nats, whose forward pass computes the gradients too.

    The logits of a block of rows are overwritten by their gradient, and freed before the next block. Autograd
    would keep the log-probabilities of all rows for the backward pass.
    """

    # ``learns``: inside, gradients are always off, and ``ctx.needs_input_grad`` is that outside ``no_grad``.
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, learns: bool) -> Tensor:
        total = x.new_zeros(())
        rows = max(1, LOGITS_AT_ONCE // len(weight))
        if learns:
            ctx.gradients = [torch.zeros_like(part) for part in (x, weight, bias)]
            for_x, for_weight, for_bias = ctx.gradients
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            inputs, ids = x[part], targets[part]
            scores = functional.linear(inputs, weight, bias).log_softmax(-1)
            total += functional.nll_loss(scores, ids, ignore_index=-1, reduction="sum")
            if learns:
                counted = (ids >= 0).to(scores.dtype)[:, None]
                gradient = scores.exp_().mul_(counted)
                gradient.scatter_add_(1, ids.clamp(min=0)[:, None], -counted)
                torch.mm(gradient, weight, out=for_x[part])
                for_weight.addmm_(gradient.T, inputs)
                for_bias += gradient.sum(0)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        # They are scaled in place, because they are as large as the weights; so this can run only once.
        gradients, ctx.gradients = ctx.gradients, []
        return (*(gradient.mul_(upstream) for gradient in gradients), None, None)
