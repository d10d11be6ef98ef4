"""A run's reports as TensorBoard events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from charrnn.errors import CharrnnError
from charrnn.runs.history import Report

SCALARS = (
    "train_nats",
    "validation_nats",
    "validation_bpc",
    "lr",
    "gradient_norm",
    "clipped",
    "characters_per_second",
)


@contextmanager
def event_writer(folder: Path) -> Iterator[Callable[[Report], None]]:
    """A function that writes a report into ``folder``. Raises CharrnnError without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CharrnnError("--tensorboard: TensorBoard is not installed: pip install tensorboard") from error
    with SummaryWriter(str(folder)) as writer:

        def write(report: Report) -> None:
            for name in SCALARS:
                if (value := getattr(report, name)) is not None:
                    writer.add_scalar(name, value, report.step)
            writer.add_text("sample", report.sample, report.step)
            writer.flush()

        yield write
