"""The process: ``charrnn``, ``python -m charrnn``, ``torchrun -m charrnn``."""

import os
import sys


def entry() -> None:
    """Run the command line and exit with its status; Ctrl-C exits with 130 even during the first imports."""
    try:
        from charrnn.cli import main

        status = main()
    except KeyboardInterrupt:
        status = 130
    try:
        sys.exit(status)
    except KeyboardInterrupt:  # a second Ctrl-C
        os._exit(130)


if __name__ == "__main__":
    entry()
