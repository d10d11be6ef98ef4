"""Writing files so that what was there before is never harmed, and lines that are always UTF-8."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from charrnn.errors import CharrnnError


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that becomes ``path`` when the block ends well, and vanishes when it does not.

    A temporary name in the same folder, fsynced, then renamed: ``path`` is always the old file
    or the new one, whole. Raises OSError.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        error.filename = str(path)  # a person knows the name that was given, not the temporary one
        raise
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def write_errors(path: Path, error_type: type[CharrnnError], advice: str = "") -> Iterator[None]:
    """A block that writes ``path``: an OSError inside it becomes ``error_type``, "cannot write PATH: ..."."""
    try:
        yield
    except OSError as error:
        raise error_type(f"cannot write {path}: {error.strerror or error}{advice}") from error


def json_line(value: object) -> bytes:
    """A value as one line of JSON in UTF-8, readable where it can be: lone surrogates are escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
