"""Checkpoints and saved states from pipes, which may be endless."""

from __future__ import annotations

import json
from typing import IO, Any, BinaryIO

LONGEST_HEADER = 100_000_000
"""The most bytes of a safetensors file's header."""
BLOCK = 1 << 20


def copy_tensors(pipe: BinaryIO, file: IO[bytes]) -> None:
    """Copy a safetensors file: what its header says, and one byte more, with which it is refused as too long.

    Of anything else only the beginning is copied, which shows that it is no such file. Raises OSError.
    """
    start = pipe.read(8)
    length = int.from_bytes(start, "little")
    header = pipe.read(length) if length <= LONGEST_HEADER else b""
    file.write(start + header)
    left = _size(header) + 1
    while left > 0 and (block := pipe.read(min(left, BLOCK))):
        file.write(block)
        left -= len(block)


def _size(header: bytes) -> int:
    """The bytes of a safetensors file after its header; 0 where it is no such header."""
    try:
        entries: dict[str, Any] = json.loads(header)
        entries.pop("__metadata__", None)
        return max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return 0
