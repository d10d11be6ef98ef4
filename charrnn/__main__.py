"""The process: ``charrnn``, ``python -m charrnn``, ``torchrun -m charrnn``."""

import os
import signal
import sys
from types import FrameType


class Terminated(BaseException):
    """SIGTERM or SIGHUP; the exit status. Temporary files are deleted on the way out."""


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    raise Terminated(128 + number)


def entry() -> None:
    """Run the command line and exit with its status.

    Ctrl-C exits with 130 even during the first imports, SIGTERM with 143,
    and SIGHUP with 129 unless it is ignored.
    """
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _terminate)
    try:
        from charrnn.cli import main

        status = main()
    except KeyboardInterrupt:
        status = 130
    except Terminated as signalled:
        status = signalled.args[0]
    try:
        sys.exit(status)
    except KeyboardInterrupt:  # a second Ctrl-C
        os._exit(130)


if __name__ == "__main__":
    entry()
