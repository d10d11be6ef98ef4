"""Encoded texts as files of ids, by the hash of the text."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tokenize
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from charrnn.files import atomic_write
from charrnn.text.sources import Reading, Source, characters
from charrnn.text.vocabulary import UNKNOWN, Vocabulary, code_points

CACHE_LIMIT = 8 << 30
"""Bytes of cached ids beyond which the least recently used go."""

STALE_SECONDS = 24 * 3600.0
"""The age from which on a half-written file is nobody's any more."""


def cache_folder() -> Path:
    """Where encoded texts are kept: $CHARRNN_CACHE, or the user's cache folder."""
    given = os.environ.get("CHARRNN_CACHE")
    return Path(given) if given else user_cache_path("charrnn", appauthor=False)


def cached(path: Path, count: int, vocabulary: Vocabulary) -> NDArray[np.unsignedinteger] | None:
    """The memory-mapped ids, or None where there are none, or not these."""
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError):
        return None
    with contextlib.suppress(OSError):  # a shared cache may be read-only
        os.utime(path)  # the least recently used go first
    ids = np.asarray(mapped)  # still mapped, without np.memmap's price at every slice
    return ids if ids.shape == (count,) and ids.dtype == vocabulary.id_dtype else None


def encode(
    texts: Sequence[Source],
    reading: Reading,
    path: Path,
    count: int,
    vocabulary: Vocabulary,
    progress: Callable[[str, int], None],
) -> str:
    """Write the ids; the hash of the text they were made from, which may have changed meanwhile."""
    digest, plain = hashlib.sha256(), reading.plain
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "descr": np.lib.format.dtype_to_descr(vocabulary.id_dtype),
        "fortran_order": False,
        "shape": (count,),
    }
    with atomic_write(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in characters(texts, reading):
            digest.update(piece.encode(plain, "surrogatepass"))
            ids = vocabulary.lookup(code_points(piece))
            if ids.min() == UNKNOWN:
                break
            file.write(ids.astype(vocabulary.id_dtype).tobytes())
            progress("encoding", len(piece))
    _prune(path)
    return digest.hexdigest()


def _prune(keep: Path) -> None:
    """Delete the least recently used ids beyond CACHE_LIMIT, never ``keep``."""
    with contextlib.suppress(OSError):  # another process may be pruning too
        entries = [(entry.stat(), entry) for entry in keep.parent.glob("*.npy")]
        total = 0
        for left in keep.parent.glob(".*.npy.*"):  # a process that was killed while it wrote
            if left.stat().st_mtime < keep.stat().st_mtime - STALE_SECONDS:
                left.unlink(missing_ok=True)
        for stat, entry in sorted(entries, key=lambda pair: -pair[0].st_mtime):
            total += stat.st_size
            if total > CACHE_LIMIT and entry != keep:
                entry.unlink(missing_ok=True)
