"""The terminal as a value: where bytes come from and go to, and who is looking.

stdout carries the product alone; everything else goes to stderr. Tests put their own streams here.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

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


def printable(text: str) -> str:
    """Text that neither breaks a line nor steers a terminal: the rest as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _forget(stream: IO[Any]) -> None:
    """What a stream still holds goes nowhere, quietly, when the interpreter flushes it."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a file behind it needs nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Closed(io.RawIOBase):
    """A standard output that is not there."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise OSError(errno.EBADF, "it is closed")


class IgnoringErrors:
    """A standard error that may go away: notes are for eyes, and without eyes the work goes on."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with self._whatever():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._whatever():
            self.stream.flush()

    @contextlib.contextmanager
    def _whatever(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            _forget(self.stream)

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()


@dataclass
class Terminal:
    """stdin and stdout are bytes, stderr is text; ``*_tty`` says whether a person is there."""

    stdin: BinaryIO
    stdout: IO[bytes]
    stderr: IO[str] | IgnoringErrors
    stdin_tty: bool = False
    stdout_tty: bool = False
    stderr_tty: bool = False
    clock: Callable[[], float] = time.monotonic
    outlives_reader: bool = False  # whether the work goes on when stdout's reader has gone
    _flushed: float = field(default=0.0, init=False)
    _last: bytes = field(default=b"", init=False)
    _bars: list[tqdm[Any]] = field(default_factory=list, init=False)

    @classmethod
    def of_process(cls) -> Terminal:
        """The real one."""
        return cls(
            stdin=sys.stdin.buffer if sys.stdin else io.BytesIO(),
            stdout=cast(IO[bytes], sys.stdout.buffer if sys.stdout else _Closed()),
            stderr=IgnoringErrors(sys.stderr or io.StringIO()),
            stdin_tty=bool(sys.stdin) and sys.stdin.isatty(),
            stdout_tty=bool(sys.stdout) and sys.stdout.isatty(),
            stderr_tty=bool(sys.stderr) and sys.stderr.isatty(),
        )

    def write(self, data: bytes) -> None:
        """Product to stdout: at once to a person, within FLUSH_SECONDS into a pipe.

        Raises OutputClosed when the reader has gone, CharrnnError when the disk is full.
        """
        try:
            self.stdout.write(data)
        except OSError as error:
            self._write_failed(error)
        self._last = data[-1:] or self._last
        self.keep_up()

    def keep_up(self) -> None:
        """Flush what has waited long enough: for work that goes on without writing. Raises as ``write``."""
        if self.stdout_tty or self.clock() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Nothing waits any longer: before work that may take its time. Raises as ``write``."""
        try:
            self.stdout.flush()
        except OSError as error:
            self._write_failed(error)
        self._flushed = self.clock()

    def finish(self) -> None:
        """All is written. A person's prompt starts on a line of its own. Raises as ``write``."""
        if self.stdout_tty and self._last not in (b"", b"\n"):
            self.write(b"\n")
        self.flush()

    def _write_failed(self, error: OSError) -> None:
        """Stdout takes no more. Raises what it amounts to."""
        self.forget_stdout()
        if not isinstance(error, BrokenPipeError):
            raise CharrnnError(f"cannot write to standard output: {error.strerror or error}") from error
        if not self.outlives_reader:
            raise OutputClosed from error

    def forget_stdout(self) -> None:
        """What stdout still holds goes nowhere."""
        _forget(self.stdout)

    def muted(self) -> Terminal:
        """A terminal that says nothing: for the processes of a group that do not lead."""
        return Terminal(io.BytesIO(), io.BytesIO(), io.StringIO())

    def note(self, line: str) -> None:
        """A line for eyes, to stderr, above any bar; what is not printable in it is escaped."""
        line = printable(line)
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
