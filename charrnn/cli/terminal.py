"""A command's stdin, stdout and stderr, and whether each of them is a terminal.

stdout carries only a command's results; progress, notes and errors go to stderr.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from charrnn.cli.shades import pictures
from charrnn.cli.stdin import arrives, has_data, is_piped
from charrnn.errors import CharrnnError, ConfigError
from charrnn.files import write_errors

if TYPE_CHECKING:
    from tqdm import tqdm

FLUSH_SECONDS = 0.2
"""Output to a pipe is flushed about this often."""

END_OF_ERROR = 1000
"""Characters that are printed of the beginning and of the end of a long error; its advice is at the end."""

PATIENCE = 1.0
"""Seconds without a byte from stdin after which a note says that the command reads it."""


class Colour(StrEnum):
    """When to colour; ``auto``: in a terminal."""

    auto = "auto"
    always = "always"
    never = "never"


class OutputClosed(Exception):
    """The reader of stdout has gone, as ``head`` does."""


class Stopped(Exception):
    """A signal ended the work: the message to print, which says what was saved, and the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def is_main_process() -> bool:
    """Whether this process prints for all processes: under torchrun, all run the same command."""
    return os.environ.get("RANK", "0") == "0"


def printable(text: str) -> str:
    """The text with every unprintable character escaped: it can neither break a line nor steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(text: str) -> str:
    """An error without its middle where it is too long, as one that quotes a value of a damaged file."""
    if len(text) <= 2 * END_OF_ERROR:
        return text
    return f"{text[:END_OF_ERROR]} ... {text[-END_OF_ERROR:]}"


def discard(stream: IO[Any]) -> None:
    """Send what the stream still buffers to the null device, so that the flush at the exit cannot fail."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _colours(when: Colour, tty: bool) -> bool:
    """Whether to colour a stream. NO_COLOR, FORCE_COLOR and TERM=dumb decide only for ``auto``."""
    if when is not Colour.auto:
        return when is Colour.always
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (tty and os.environ.get("TERM") != "dumb")


class _ClosedOutput(io.RawIOBase):
    """A standard output that was closed before the process started."""

    def write(self, data: object) -> int:
        raise OSError(errno.EBADF, "it is closed")


@dataclass
class Terminal:
    """The streams of a command; stdin and stdout carry bytes, stderr carries text.

    stdin_piped   whether stdin is a pipe, a file or a socket, which a user meant to be read
    stdin_advice  how the command reads stdin when asked to; "" for commands that read no text
    quiet         whether only errors are printed to stderr
    cleanup       closed when the command ends
    """

    stdin: BinaryIO
    stdout: IO[bytes]
    stderr: IO[str]
    stdin_tty: bool = False
    stdout_tty: bool = False
    stderr_tty: bool = False
    stdin_piped: bool = False
    stdin_advice: str = ""
    stdout_name: str = "standard output"
    quiet: bool = False
    clock: Callable[[], float] = time.monotonic
    outlives_reader: bool = False  # whether the work goes on after the reader of stdout has gone
    cleanup: ExitStack = field(default_factory=ExitStack)
    _stdin_reader: str = field(default="", init=False)
    _flush_time: float = field(default=0.0, init=False)
    _last_byte: bytes = field(default=b"", init=False)
    _bars: list[tqdm[Any]] = field(default_factory=list, init=False)

    @classmethod
    def of_process(cls) -> Terminal:
        """The terminal of this process."""
        return cls(
            stdin=sys.stdin.buffer if sys.stdin else io.BytesIO(),
            stdout=cast(IO[bytes], sys.stdout.buffer if sys.stdout else _ClosedOutput()),
            stderr=sys.stderr or io.StringIO(),
            stdin_tty=bool(sys.stdin) and sys.stdin.isatty(),
            stdout_tty=bool(sys.stdout) and sys.stdout.isatty(),
            stderr_tty=bool(sys.stderr) and sys.stderr.isatty(),
            # Processes of a group share their stdin: none reads it unasked.
            stdin_piped=is_piped(sys.stdin) and "RANK" not in os.environ,
        )

    @property
    def stdin_unread(self) -> bool:
        """Whether stdin is piped, and no option or argument has read it."""
        return self.stdin_piped and not self._stdin_reader

    def take_stdin(self, reader: str) -> BinaryIO:
        """Stdin, for the one option or argument that reads it; a note says so when nothing arrives.

        Raises ConfigError when another one has read it, or when processes of a group share it.
        """
        if self._stdin_reader:
            readers = dict.fromkeys([self._stdin_reader, reader])
            raise ConfigError(f"{' and '.join(readers)}: give - only once, there is one standard input")
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise ConfigError(f"{reader}: several processes cannot share standard input: give a file")
        self._stdin_reader = reader
        if not arrives(self.stdin, 0 if self.stdin_tty else PATIENCE):
            self.note(f"reading {reader} from standard input{'; Ctrl-D ends it' if self.stdin_tty else ''}")
        return self.stdin

    def note_unread_stdin(self) -> None:
        """Print a note, once, when stdin holds data and a command that can read it did not."""
        if self.stdin_advice and not self._stdin_reader and has_data(self.stdin):
            self.note(f"standard input was not read; {self.stdin_advice}")
            self.stdin_advice = ""

    def colours(self, when: Colour = Colour.auto) -> bool:
        """Whether stdout gets colours."""
        return _colours(when, self.stdout_tty)

    def stderr_colours(self) -> bool:
        """Whether stderr gets colours."""
        return _colours(Colour.auto, self.stderr_tty)

    def write_to(self, path: Path) -> None:
        """Write to a file instead of stdout as the text is made; the file is closed when the command ends.

        Raises CharrnnError.
        """
        with write_errors(path, CharrnnError):
            self.stdout = self.cleanup.enter_context(path.open("wb"))
        self.stdout_name, self.stdout_tty = str(path), False

    def write(self, data: bytes) -> None:
        """Write to stdout: a terminal shows it at once, a pipe gets it within FLUSH_SECONDS.

        Raises OutputClosed when the reader has gone, CharrnnError when stdout cannot be written.
        """
        try:
            self.stdout.write(data)
        except OSError as error:
            self._write_failed(error)
        self._last_byte = data[-1:] or self._last_byte
        self.flush_if_due()

    def write_text(self, data: bytes) -> None:
        """Write a text in UTF-8; a terminal gets pictures of control characters. Raises as ``write``."""
        self.write(pictures(data.decode("utf-8", "replace")).encode() if self.stdout_tty else data)

    def write_path(self, path: Path) -> None:
        """Write a line with a path: its bytes; a terminal gets it ``printable``. Raises as ``write``."""
        self.write((printable(str(path)).encode() if self.stdout_tty else os.fsencode(path)) + b"\n")

    def flush_if_due(self) -> None:
        """Flush stdout if the last flush is too long ago. Raises as ``write``."""
        if self.stdout_tty or self.clock() - self._flush_time >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Flush stdout, e.g. before slow work. Raises as ``write``."""
        try:
            self.stdout.flush()
        except OSError as error:
            self._write_failed(error)
        self._flush_time = self.clock()

    def finish(self) -> None:
        """Flush stdout at the end; in a terminal, end its last line first. Raises as ``write``."""
        if self.stdout_tty and self._last_byte not in (b"", b"\n"):
            self.write(b"\n")
        self.flush()

    def _write_failed(self, error: OSError) -> None:
        """Raise OutputClosed or CharrnnError; nothing if the work goes on without the reader."""
        discard(self.stdout)
        if not isinstance(error, BrokenPipeError):
            raise CharrnnError(f"cannot write to {self.stdout_name}: {error.strerror or error}") from error
        if not self.outlives_reader:
            raise OutputClosed from error

    @classmethod
    def muted(cls) -> Terminal:
        """A terminal that prints nothing."""
        return cls(io.BytesIO(), io.BytesIO(), io.StringIO())

    def note(self, line: str) -> None:
        """Print a line to stderr, unless quiet; otherwise as ``error``."""
        if not self.quiet:
            self.error(line)

    def error(self, line: str) -> None:
        """Print a line to stderr, above any progress bar, with unprintable characters escaped."""
        self._print(printable(line))

    def show(self, line: str) -> None:
        """Print a line to stderr, unless quiet, with the escape sequences it holds."""
        if not self.quiet:
            self._print(line)

    def _print(self, line: str) -> None:
        try:
            if self._bars:
                self._bars[-1].write(line, file=self.stderr)
            else:
                print(line, file=self.stderr, flush=True)
        except (OSError, ValueError):  # the work goes on when nobody can read about it
            discard(self.stderr)

    def bar(self, **settings: Any) -> tqdm[Any]:
        """A progress bar on stderr, shown only in a terminal."""
        from tqdm import tqdm

        bar = tqdm(
            file=self.stderr,
            disable=self.quiet or not self.stderr_tty,
            dynamic_ncols=True,
            leave=False,
            **settings,
        )
        if not bar.disable:
            self._bars.append(bar)
        return bar

    def end_bars(self) -> None:
        """Remove all progress bars."""
        for bar in self._bars:
            bar.close()
        self._bars.clear()
