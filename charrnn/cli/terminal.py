"""The terminal as a value: where bytes come from and go to, and who is looking.

stdout carries the product alone; everything else goes to stderr. Tests put their own streams here.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from charrnn.errors import CharrnnError

if TYPE_CHECKING:
    from tqdm import tqdm

FLUSH_SECONDS = 0.2
"""In a pipe, output waits no longer than about this (half a second is promised)."""


class OutputClosed(Exception):
    """Whoever was reading stdout has gone, as ``head`` does."""


class Stopped(Exception):
    """The work was stopped politely: what to say, and the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Terminal:
    """stdin and stdout are bytes, stderr is text; ``*_tty`` says whether a person is there."""

    stdin: BinaryIO
    stdout: IO[bytes]
    stderr: IO[str]
    stdin_tty: bool = False
    stdout_tty: bool = False
    stderr_tty: bool = False
    clock: Callable[[], float] = time.monotonic
    _flushed: float = field(default=0.0, init=False)
    _last: bytes = field(default=b"", init=False)
    _bars: list[tqdm[Any]] = field(default_factory=list, init=False)

    @classmethod
    def of_process(cls) -> Terminal:
        """The real one."""
        return cls(
            stdin=sys.stdin.buffer,
            stdout=sys.stdout.buffer,
            stderr=sys.stderr,
            stdin_tty=sys.stdin.isatty(),
            stdout_tty=sys.stdout.isatty(),
            stderr_tty=sys.stderr.isatty(),
        )

    def write(self, data: bytes) -> None:
        """Product to stdout: at once to a person, within FLUSH_SECONDS into a pipe.

        Raises OutputClosed when the reader has gone, CharrnnError when the disk is full.
        """
        try:
            self.stdout.write(data)
            self._last = data[-1:] or self._last
            now = self.clock()
            if self.stdout_tty or now - self._flushed >= FLUSH_SECONDS:
                self.stdout.flush()
                self._flushed = now
        except OSError as error:
            raise self._lost(error) from error

    def finish(self) -> None:
        """All is written. A person's prompt starts on a line of its own. Raises as ``write``."""
        if self.stdout_tty and self._last not in (b"", b"\n"):
            self.write(b"\n")
        try:
            self.stdout.flush()
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> Exception:
        """What to raise when stdout takes no more; what it still holds then goes nowhere, quietly."""
        with contextlib.suppress(OSError):  # a stream without a file behind it needs nothing
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return OutputClosed()
        return CharrnnError(f"cannot write to standard output: {error.strerror or error}")

    def muted(self) -> Terminal:
        """A terminal that says nothing: for the processes of a group that do not lead."""
        return Terminal(io.BytesIO(), io.BytesIO(), io.StringIO())

    def note(self, line: str) -> None:
        """A line for eyes, to stderr, above any bar."""
        if self._bars:
            self._bars[-1].write(line, file=self.stderr)
        else:
            print(line, file=self.stderr, flush=True)

    def bar(self, **settings: Any) -> tqdm[Any]:
        """A progress bar on stderr; without a person there it stays silent."""
        from tqdm import tqdm

        bar = tqdm(file=self.stderr, disable=not self.stderr_tty, dynamic_ncols=True, leave=False, **settings)
        if not bar.disable:
            self._bars.append(bar)
        return bar

    def end_bars(self) -> None:
        """Take all bars away."""
        for bar in self._bars:
            bar.close()
        self._bars.clear()
