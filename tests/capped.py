"""``charrnn`` for the commands of a page of documentation: ``python tests/capped.py ARGUMENTS``.

The command line is the real one. Networks are small and trainings short, whatever the budget, and the
catalogue of texts is the file $CAPPED_CATALOGUE, whose addresses are on this machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from charrnn.cli import main
from charrnn.text import catalog

STEPS = 12


def cap_training() -> None:
    """Let every training take at most STEPS steps, and choose narrow networks."""
    from charrnn.training import budget, sizing

    plan_steps = budget.plan_steps

    def few_steps(learner: Any) -> tuple[int, int]:
        steps, _ = plan_steps(learner)
        return min(steps, STEPS), STEPS // 2

    budget.plan_steps = few_steps
    budget.TIMING_SHARE = 0
    sizing.SIZES = ((0, 0, 8),)  # type: ignore[assignment]


if __name__ == "__main__":
    catalog.catalog_file = lambda: Path(os.environ["CAPPED_CATALOGUE"])
    if "train" in sys.argv[1:2]:
        cap_training()
    sys.exit(main())
