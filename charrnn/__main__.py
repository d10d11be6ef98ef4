"""``python -m charrnn``."""

from charrnn.cli import entry

entry()
