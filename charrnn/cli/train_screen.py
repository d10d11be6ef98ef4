"""What a training shows on stderr: facts, a table of reports and the end; plain lines outside a terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from charrnn.cli.shades import visible
from charrnn.cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from rich.text import Text

    from charrnn.runs.history import Report

LABEL_WIDTH = 7
COLUMNS = {
    "step": 9,
    "epoch": 8,
    "train": 8,
    "validation": 11,
    "bpc": 7,
    "norm": 8,
    "clip": 6,
    "char/s": 8,
    "time": 9,
}
"""The columns of the table of reports and their widths; the word "best" may follow.

norm  mean gradient norm of the steps, before clipping
clip  share of the steps whose gradient was clipped
"""
MARGIN = "      │ "
"""What stands before each line of a sample."""


def screen(out: Terminal) -> PlainScreen:
    """The screen that suits stderr."""
    return TerminalScreen(out) if out.stderr_tty else PlainScreen(out)


class PlainScreen:
    """One line for each fact, report and line of a sample, whatever its length."""

    def __init__(self, out: Terminal) -> None:
        self.out = out

    def facts(self, facts: Mapping[str, str]) -> None:
        """Print labels and their facts."""
        for label, fact in facts.items():
            self.out.note(f"{label:<{LABEL_WIDTH}}{fact}")

    def report(self, report: Report) -> None:
        """Print a report: its figures, then its sample."""
        validation = ""
        if report.validation_nats is not None:
            validation = f"  validation {report.validation_nats:.4f} ({report.validation_bpc:.3f} bpc)"
            validation += " best" if report.best else ""
        self.out.note(
            f"step {report.step}/{report.steps}  epoch {report.epoch:.2f}"
            f"  train {report.train_nats:.4f}{validation}"
            f"  gradient norm {report.gradient_norm:.2g}, {report.clipped:.0%} of the steps clipped"
            f"  {report.characters_per_second:,.0f} char/s  {report.seconds:,.0f} s"
        )
        for line in report.sample.strip().splitlines():
            self.out.note(f"    | {line}")

    def end(self, diagnosis: str, commands: Sequence[str]) -> None:
        """Print what to think of the run, and what to do next, one command a line."""
        self.out.note(diagnosis)
        for command in commands:
            self.out.note(command)


class TerminalScreen(PlainScreen):
    """Aligned columns, and texts wrapped to the terminal's width. No fact depends on a style alone."""

    def __init__(self, out: Terminal) -> None:
        super().__init__(out)
        from rich.console import Console

        self.console = Console(
            file=io.StringIO(),
            force_terminal=True,
            color_system="standard" if out.stderr_colours() else None,
            highlight=False,
            emoji=False,
        )
        self._heading = False
        self._lines = 0  # printed since the table's heading

    def facts(self, facts: Mapping[str, str]) -> None:
        """Print labels and their facts, wrapped beside the labels."""
        for label, fact in facts.items():
            self._print_wrapped(fact, f"{label:<{LABEL_WIDTH}}", "bold")

    def report(self, report: Report) -> None:
        """Print a report as a row of the table, with a heading where the last one has left the screen."""
        from rich.text import Text
        from tqdm import tqdm

        if not self._heading or self._lines > self.console.height - 8:
            self._heading, self._lines = True, 0
            self._print(Text())
            self._print(Text("".join(f"{name:>{width}}" for name, width in COLUMNS.items()), "dim"))
        validated = report.validation_nats is not None
        cells = {
            "step": f"{report.step:,}",
            "epoch": f"{report.epoch:.2f}",
            "train": f"{report.train_nats:.4f}",
            "validation": f"{report.validation_nats:.4f}" if validated else "-",
            "bpc": f"{report.validation_bpc:.3f}" if validated else "-",
            "norm": f"{report.gradient_norm:.2g}",
            "clip": f"{report.clipped:.0%}",
            "char/s": tqdm.format_sizeof(report.characters_per_second),
            "time": _duration(report.seconds),
        }
        stressed = ("validation", "bpc") if validated else ("train",)
        row = Text()
        for name, width in COLUMNS.items():
            row.append(f"{cells[name]:>{width}}", "bold" if report.best and name in stressed else "")
        self._print(row.append("  best" if report.best else "", "dim"))
        for line in report.sample.strip("\n").split("\n"):
            self._print_wrapped("".join(map(visible, line)), MARGIN, "dim", "dim")

    def end(self, diagnosis: str, commands: Sequence[str]) -> None:
        """Print what to think of the run, and the commands unwrapped, so that they can be copied."""
        from rich.text import Text

        self._print(Text())
        self._print_wrapped(diagnosis)
        for command in commands:
            self.out.note(command)

    def _print_wrapped(self, text: str, prefix: str = "", prefix_style: str = "", style: str = "") -> None:
        """Print a text in lines that fit beside a prefix; only MARGIN stands before each of them."""
        from rich.text import Text

        width = max(20, self.console.width - len(prefix))
        for line in Text(printable(text), style).wrap(self.console, width) or [Text()]:
            line.rstrip()
            self._print(Text.assemble((prefix, prefix_style), line))
            if prefix != MARGIN:
                prefix = " " * len(prefix)

    def _print(self, line: Text) -> None:
        with self.console.capture() as capture:
            self.console.print(line, end="", soft_wrap=True)
        self.out.show(capture.get())
        self._lines += 1


def _duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds: 0:07, 12:00, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
