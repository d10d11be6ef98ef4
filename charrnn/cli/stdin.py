"""What can be known of standard input without reading it."""

from __future__ import annotations

import os
import select
import stat
from typing import IO, Any


def is_piped(stream: IO[Any] | None) -> bool:
    """Whether a stream is a pipe, a file or a socket: not a terminal, and not the null device."""
    try:
        mode = os.fstat(stream.fileno()).st_mode if stream else 0
    except (OSError, ValueError):  # closed, or without a file descriptor
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def has_data(stream: IO[Any]) -> bool:
    """Whether a pipe, a file or a socket holds bytes that nobody has read. Reads nothing, does not wait."""
    if not is_piped(stream):
        return False
    descriptor = stream.fileno()
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.lseek(descriptor, 0, os.SEEK_CUR) < os.fstat(descriptor).st_size
    try:
        import fcntl
        import termios
    except ImportError:  # Windows
        return False
    count = bytearray(4)
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return any(count)


def arrives(stream: IO[Any], seconds: float) -> bool:
    """Whether bytes, or the end, of a stream arrive within this time. Reads nothing."""
    try:
        return bool(select.select([stream.fileno()], [], [], seconds)[0])
    except (OSError, ValueError):  # without a file descriptor, or Windows
        return True
