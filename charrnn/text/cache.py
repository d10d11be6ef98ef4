"""A cache of encoded texts: one file of ids for each text."""

from __future__ import annotations

import contextlib
import os
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from charrnn.errors import CorpusError
from charrnn.files import atomic_write, write_errors

CACHE_LIMIT = 8 << 30
"""Bytes of cached ids; above this the least recently used files are deleted."""


def cache_folder() -> Path:
    """The folder of encoded texts: $CHARRNN_CACHE, or the user's cache folder."""
    given = os.environ.get("CHARRNN_CACHE")
    return Path(given) if given else user_cache_path("charrnn", appauthor=False)


def load_ids(path: Path, count: int, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """(count,) memory-mapped ids; None where the file is missing, damaged, or of another shape or type."""
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError):
        return None
    with contextlib.suppress(OSError):  # a shared cache may be read-only
        os.utime(path)  # marks it as used
    ids = np.asarray(mapped)  # still mapped, but slices without np.memmap's overhead
    return ids if ids.shape == (count,) and ids.dtype == dtype else None


def save_ids(path: Path, count: int, dtype: np.dtype[Any], pieces: Iterable[NDArray[Any]]) -> None:
    """Write ids, given in pieces of ``count`` in all, and delete old files above CACHE_LIMIT.

    Raises CorpusError where the folder cannot be written.
    """
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    with write_errors(path, CorpusError, advice="; set $CHARRNN_CACHE to another folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for ids in pieces:
                file.write(ids.astype(dtype).tobytes())
    with contextlib.suppress(OSError):  # another process may be deleting the same files
        _delete_old(path)


def _delete_old(newest: Path) -> None:
    """Delete the least recently used files above CACHE_LIMIT, except ``newest``.

    Some are temporary files that a killed process left.
    """
    total = 0
    for path in sorted(newest.parent.glob("*.npy*"), key=lambda path: -path.stat().st_mtime):
        total += path.stat().st_size
        if total > CACHE_LIMIT and path != newest:
            path.unlink(missing_ok=True)
