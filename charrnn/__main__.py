"""The process: ``charrnn``, ``python -m charrnn``, ``torchrun -m charrnn``."""

import os
import sys


def entry() -> None:
    """Run the command line; Ctrl-C is stop_on_signals from the first import on."""
    try:
        from charrnn.cli import main

        status = main()
    except KeyboardInterrupt:
        status = 130
    try:
        sys.exit(status)
    except KeyboardInterrupt:
        os._exit(130)


if __name__ == "__main__":
    entry()
