"""A cache of encoded texts: one file of ids for each text. Small files of mixtures' weights are there too.

A file of ids is a .npy file with a SHA-256 of the ids at its end. A damaged file counts as missing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from charrnn.errors import CorpusError
from charrnn.files import atomic_write, is_orphan, make_folder, temporary_of, write_errors
from charrnn.files import write_all as write_bytes

CACHE_LIMIT = 8 << 30
"""Bytes of cached ids; above this the least recently used files are deleted."""
CHECKED = 1 << 24
"""Ids that are read at once for the checksum."""
ABANDONED = 24 * 3600
"""Seconds without a change after which a temporary file belongs to no process."""
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
"""Modes: the ids are a text that only its owner may read."""
_ADVICE = "; set $CHARRNN_CACHE to another folder"
_NAME = re.compile(r"[0-9a-f]{32}\.(npy|json)")
"""The names of the cache's files."""


@dataclass(frozen=True)
class Cached:
    """One file of the cache, and when it was last used."""

    path: Path
    bytes: int
    used: datetime


def cache_folder() -> Path:
    """The folder of encoded texts: $CHARRNN_CACHE, or the user's cache folder."""
    given = os.environ.get("CHARRNN_CACHE")
    return Path(given) if given else _users_folder()


def _users_folder() -> Path:
    return user_cache_path("charrnn", appauthor=False)


def cached_files(folder: Path | None = None) -> list[Cached]:
    """The files of the cache, the one used last first; other files in the folder are left out.

    Temporary files that killed processes left are files of the cache too. Those of other machines count as
    such a day after their last change.
    """
    folder, result = folder or cache_folder(), []
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # another process may delete files
            if _NAME.fullmatch(temporary_of(path.name) or path.name) and not path.is_symlink():
                entry = path.stat()
                in_use = temporary_of(path.name) and not is_orphan(path.name)
                if not in_use or time.time() - entry.st_mtime > ABANDONED:
                    result.append(Cached(path, entry.st_size, datetime.fromtimestamp(entry.st_mtime, UTC)))
    return sorted(result, key=lambda file: file.used, reverse=True)


def clear() -> tuple[list[Path], int]:
    """Delete the files of the cache: which there were, and the bytes freed. Raises OSError."""
    files = cached_files()
    for file in files:
        file.path.unlink(missing_ok=True)
    return [file.path for file in files], sum(file.bytes for file in files)


def load_ids(
    path: Path,
    count: int,
    dtype: np.dtype[Any],
    progress: Callable[[int], None] = lambda ids: None,
) -> NDArray[Any] | None:
    """(count,) memory-mapped ids; None where the file is missing, damaged, or of another shape or type.

    The ids are read once for their checksum; ``progress`` is called with the number read.
    """
    try:
        if not path.is_file():  # opening a pipe would wait
            return None
        mapped = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError):
        return None
    with contextlib.suppress(OSError):  # the file of another user may be read-only
        os.utime(path)  # marks it as used
        path.chmod(PRIVATE_FILE)  # earlier versions of charrnn let others read it
    ids = np.asarray(mapped)  # still mapped, but slices without np.memmap's overhead
    if ids.shape != (count,) or ids.dtype != dtype:
        return None
    digest = hashlib.sha256()
    for start in range(0, count, CHECKED):
        part = ids[start : start + CHECKED]
        digest.update(part.view(np.uint8).data)
        progress(len(part))
    return ids if digest.digest() == _checksum(path) else None


def _checksum(path: Path) -> bytes:
    """The last bytes of a file of ids; b"" where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(-hashlib.sha256().digest_size, os.SEEK_END)
            return file.read()
    except OSError:
        return b""


def save_ids(path: Path, count: int, dtype: np.dtype[Any], pieces: Iterable[NDArray[Any]]) -> None:
    """Write ids, given in pieces of ``count`` in all, and delete old files above CACHE_LIMIT.

    Raises CorpusError where the folder cannot be written.
    """
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    digest = hashlib.sha256()
    with write_private(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for ids in pieces:
            data = ids.astype(dtype).tobytes()
            digest.update(data)
            file.write(data)
        file.write(digest.digest())
    with contextlib.suppress(OSError):  # another process may be deleting the same files
        _delete_old(path)


@contextlib.contextmanager
def write_private(path: Path) -> Iterator[IO[bytes]]:
    """``atomic_write`` for a file of the cache, which only its owner may read.

    Raises CorpusError, which says how to choose another folder.
    """
    with write_errors(path, CorpusError, advice=_ADVICE):
        _make_private(path.parent)
        if path.exists() and not path.is_file():  # writing to a pipe would wait
            raise FileExistsError(errno.EEXIST, "something other than a file is in its place", str(path))
        with atomic_write(path, PRIVATE_FILE) as file:
            yield file


@contextlib.contextmanager
def cache_write_errors() -> Iterator[None]:
    """Turn an OSError in the block into CorpusError, which says how to choose another folder."""
    with write_errors(cache_folder(), CorpusError, advice=_ADVICE):
        yield


def temporary_file() -> IO[bytes]:
    """A file without a name or a buffer, in the cache's folder; it is gone when the process ends.

    Write to it with ``write_all``. Raises OSError.
    """
    _make_private(cache_folder())
    return tempfile.TemporaryFile(dir=cache_folder(), buffering=0)


def write_all(file: IO[bytes], numbers: NDArray[Any]) -> None:
    """Write all numbers to a file without a buffer, of whose data the system may take a part at a time."""
    write_bytes(file, numbers.reshape(-1).view(np.uint8).data)


def _make_private(folder: Path) -> None:
    """Make the folder, for its owner alone; an existing folder that the user chose keeps its mode."""
    make_folder(folder, PRIVATE_FOLDER)
    if folder == _users_folder():
        with contextlib.suppress(OSError):  # of another owner
            folder.chmod(PRIVATE_FOLDER)


def _delete_old(newest: Path) -> None:
    """Delete the least recently used files above CACHE_LIMIT, except ``newest``."""
    total = 0
    for file in cached_files(newest.parent):
        total += file.bytes
        if total > CACHE_LIMIT and file.path != newest:
            file.path.unlink(missing_ok=True)
