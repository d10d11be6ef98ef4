"""Files: the user's folders, atomic writing, and JSON that every reader accepts."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import platform
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from charrnn.errors import CharrnnError

LONGEST_NAME = 255
"""The most bytes of a file's name, on the usual file systems."""
KEPT = 50
"""The most characters of a file's name in that of its temporary file, which is longer by 28."""
_TEMPORARY = re.compile(r"\.(.+)\.([0-9a-f]{8})-([0-9]{1,9})-[0-9a-f]{8}", re.DOTALL)
"""The name of a temporary file: the file's name, the machine, the process, and a random number."""


def user_folder(name: str) -> Path:
    """The folder "checkpoints" or "corpora" (``name``) where no option names another.

    $CHARRNN_CHECKPOINTS or $CHARRNN_CORPORA; else ./NAME if it exists; else NAME in the user's data folder.
    """
    given = os.environ.get(f"CHARRNN_{name.upper()}")
    local = Path(given or name)
    return local if given or local.is_dir() else data_path(name)


def data_path(name: str) -> Path:
    """The file or folder ``name`` of the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("charrnn", appauthor=False) / name


def is_pipe(path: str | Path) -> bool:
    """Whether the path can be read only once, as a named pipe or a process substitution can."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def is_run_name(name: str) -> bool:
    """Whether a run can have this name: that of one folder, printable, with no dot or dash at its start.

    Blanks at its ends, which nobody sees, are refused too.
    """
    if not name or name[0] in ".-" or Path(name).name != name or not name.isprintable():
        return False
    if name != name.strip():
        return False
    return len(os.fsencode(name)) <= LONGEST_NAME


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it, where they are missing, so that a power failure does not undo it.

    ``mode`` is the folder's, less the umask. Raises OSError.
    """
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(mode, parents=True, exist_ok=True)
    for part in reversed(missing):
        _sync_folder(part.parent)


@contextlib.contextmanager
def atomic_write(path: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A file to write, which replaces ``path`` when the block ends and is deleted when it raises.

    It has a temporary name in the same folder, is fsynced and then renamed. So ``path`` is always
    the whole old file or the whole new one, also after a power failure. What killed processes left of the
    same file is deleted. A device or a pipe is written to directly. A link stays: its target is replaced.

    ``mode`` is the new file's, less the umask and less what the old file's mode lacks. Raises OSError.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if is_pipe(path):  # a rename would replace /dev/null itself by a file
        try:
            with path.open("wb") as device:
                yield device
        except OSError as error:
            error.filename = error.filename or str(path)
            raise
        return
    target = Path(os.path.realpath(path))
    _delete_orphans(target)
    temporary = target.with_name(f".{target.name[:KEPT]}.{_machine()}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with contextlib.suppress(FileNotFoundError):
            mode &= stat.S_IMODE(target.stat().st_mode)  # what others may not read stays so
        file = open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode))  # noqa: SIM115 - closed below
    except OSError as error:
        error.filename = str(path)  # the user knows this name, not the temporary one
        raise
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        temporary.unlink(missing_ok=True)
        raise


def write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    """Write all bytes to a file without a buffer, of which the system may take a part at a time."""
    while data:
        data = data[file.write(data) :]


def temporary_of(name: str) -> str:
    """The first KEPT characters of the name of a temporary file's own file; "" for any other file."""
    match = _TEMPORARY.fullmatch(name)
    return match[1] if match else ""


def _machine() -> str:
    """Eight hexadecimal digits for this machine and its numbers of processes: a folder may be shared."""
    names = platform.node()
    with contextlib.suppress(OSError):  # in Linux, each container has numbers of its own
        names += os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(names.encode()):08x}"


def _delete_orphans(path: Path) -> None:
    """Delete the temporary files of ``path`` whose processes, of this machine, have died."""
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            if temporary_of(name) == path.name[:KEPT] and is_orphan(name):
                path.with_name(name).unlink()


def is_orphan(temporary: str) -> bool:
    """Whether a temporary file is of a process of this machine that has died. On Windows: False."""
    match = _TEMPORARY.fullmatch(temporary)
    if match is None or match[2] != _machine() or os.name == "nt":  # there, os.kill would end the process
        return False
    try:
        os.kill(int(match[3]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # of another user
        pass
    return False


def _sync_folder(folder: Path) -> None:
    """Write a folder's list of files to the disk, where the file system can. Raises OSError."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder may be writable and not readable
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def write_errors(path: Path, error_type: type[CharrnnError], advice: str = "") -> Iterator[None]:
    """Turn an OSError in the block into ``error_type``: "cannot write PATH: reason", then ``advice``."""
    try:
        yield
    except OSError as error:
        raise error_type(f"cannot write {path}: {error.strerror or error}{advice}") from error


def json_text(value: object, ascii_only: bool = False) -> str:
    r"""A value as JSON, on one line that every reader of JSON accepts.

    Infinity and NaN, which JSON lacks, become null. Letters of all scripts stay readable; a character that
    is not printable becomes \uXXXX, because it could steer a terminal or change the direction of the line.
    Surrogates, which UTF-8 lacks, are not printable. With ``ascii_only`` all other letters are escaped too.
    """
    try:
        text = json.dumps(value, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=ascii_only, allow_nan=False)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def json_line(value: object) -> bytes:
    """A value as one line of JSON (``json_text``) in UTF-8."""
    return f"{json_text(value)}\n".encode()


def _finite(value: Any) -> Any:
    """The value with None for infinity and NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value
