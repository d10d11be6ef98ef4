"""The catalogue of corpora that are known by name (``catalog.toml``), and their downloads.

An entry is downloaded (``url``) or read from this machine (``builtin``). A download is kept in the
corpora folder as ``NAME.txt``. Where the catalogue has no SHA-256, that of the first download is
trusted: it is kept beside the text in ``NAME.sha256``, and later downloads must have it too.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sysconfig
import tempfile
import tomllib
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charrnn.errors import CorpusError, DownloadError, did_you_mean
from charrnn.files import atomic_write, make_folder, write_all, write_errors
from charrnn.text.sources import CHUNK, Source, file_source

DEFAULT = "python-stdlib"
TIMEOUT = 30.0
"""Seconds without any data before a download fails."""
SIZE_FACTOR = 2
"""The largest download of a text, as a multiple of its size in the catalogue."""
LARGEST = 100_000_000
"""The most bytes of a download whose size is not in the catalogue."""

_FAILURES = (
    OSError,  # of the network
    ValueError,  # not an address, or not a length
    EOFError,
    http.client.HTTPException,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,  # an encrypted archive
)

Progress = Callable[[int, int | None], None]
"""Called with the number of new bytes, and the size of the download or None where it is not sent."""


@dataclass(frozen=True)
class Entry:
    """One corpus. ``sha256`` and ``size`` (bytes) are those of the unpacked text, None where not known."""

    name: str
    about: str
    builtin: str | None = None
    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    licence: str = ""


def catalog_file() -> Path:
    """``catalog.toml``: beside this file in an installed package, in ``corpora/`` in a checkout."""
    installed = Path(__file__).with_name("catalog.toml")
    return installed if installed.exists() else Path(__file__).parents[2] / "corpora" / "catalog.toml"


def entries() -> dict[str, Entry]:
    """The catalogue's entries by name, in the order of its file."""
    tables = tomllib.loads(catalog_file().read_text(encoding="utf-8"))
    return {name: Entry(name, **values) for name, values in tables.items()}


def entry(name: str) -> Entry:
    """The entry with this name. Raises CorpusError with a similar name or all names."""
    known = entries()
    if name not in known:
        advice = did_you_mean(name, known) or f"; the catalogue has: {', '.join(known)}"
        raise CorpusError(f"no corpus is called {name}{advice}")
    return known[name]


def standard_library() -> list[Source]:
    """The .py files of this Python's standard library, without its tests and without installed packages."""
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3"}
    paths: list[Path] = []
    for folder, folders, names in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = sorted(set(folders) - left_out)
        paths += [Path(folder) / name for name in sorted(names) if name.endswith(".py")]
    return [file_source(path) for path in paths if _is_utf8(path)]


def _is_utf8(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):  # a few files are in other encodings
        return False
    return True


def local_sources(entry: Entry, folder: Path) -> list[Source] | None:
    """The files of a corpus on this machine, None where it is not downloaded yet."""
    if entry.builtin:
        return standard_library()
    path = folder / f"{entry.name}.txt"
    return [file_source(path)] if path.is_file() else None


def download(entry: Entry, folder: Path, progress: Progress = lambda new, total: None) -> Path:
    """Download a corpus, or copy it from this machine, to ``folder/NAME.txt``. Returns the path of that file.

    Raises DownloadError; then the text and its SHA-256 are as they were before.
    """
    path, pin = folder / f"{entry.name}.txt", folder / f"{entry.name}.sha256"
    expected = entry.sha256 or _pinned(pin)
    digest = hashlib.sha256()
    with write_errors(path, DownloadError):
        make_folder(folder)
        with atomic_write(path) as file:
            for block in _blocks(entry, folder, progress):
                digest.update(block)
                file.write(block)
            if entry.url:
                _check(entry, digest.hexdigest(), expected, file.tell())
                if not expected:  # the hash comes first: without it, the next download would be trusted too
                    _write_pin(pin, digest.hexdigest(), path.name)
    return path


def _write_pin(pin: Path, sha256: str, name: str) -> None:
    """Write the SHA-256 of a first download, in the format of sha256sum. Raises DownloadError."""
    with write_errors(pin, DownloadError), atomic_write(pin) as file:
        file.write(f"{sha256}  {name}\n".encode())


def _pinned(pin: Path) -> str | None:
    """The SHA-256 of the first download; None where there is none."""
    words = pin.read_text(encoding="ascii", errors="replace").split() if pin.is_file() else []
    return words[0] if words else None


def _check(entry: Entry, sha256: str, expected: str | None, size: int) -> None:
    """Compare a download with the hash or, within 10 percent, with the size. Raises DownloadError."""
    if not size:
        problem = "the download is empty"
    elif expected and sha256 != expected:
        problem = f"the download's SHA-256 is {sha256}, expected {expected}"
        if not entry.sha256:
            problem += f" as at the first download (delete {entry.name}.sha256 to accept a new text)"
    elif not entry.sha256 and entry.size and abs(size - entry.size) > entry.size / 10:
        problem = f"the download has {size:,} bytes, expected about {entry.size:,}"
    else:
        return
    raise DownloadError(f"{entry.name}: {problem}; the download was deleted")


def _blocks(entry: Entry, folder: Path, progress: Progress) -> Iterator[bytes]:
    """The bytes of the text; an archive is kept in ``folder`` meanwhile.

    Raises DownloadError, CorpusError.
    """
    if not entry.url:
        for source in standard_library():
            for block in source.blocks():
                progress(len(block), None)
                yield block
        return
    try:
        limit = SIZE_FACTOR * entry.size if entry.size else LARGEST
        blocks = _limited(_received(entry.url, progress), limit)
        yield from _limited(_unzipped(blocks, folder), limit) if entry.url.endswith(".zip") else blocks
    except urllib.error.HTTPError as error:
        error.close()  # the error is the open connection
        raise DownloadError(f"{entry.name}: cannot fetch {entry.url}: {error.code} {error.reason}") from error
    except _FAILURES as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{entry.name}: cannot fetch {entry.url}: {reason}") from error


def _limited(blocks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The blocks. Raises ValueError for more than ``limit`` bytes: a small archive can hold many."""
    size = 0
    for block in blocks:
        size += len(block)
        if size > limit:
            raise ValueError(f"it gives more than {limit:,} bytes, the most for this text")
        yield block


def _unzipped(blocks: Iterator[bytes], folder: Path) -> Iterator[bytes]:
    """The first file of a zip archive. Raises one of _FAILURES; DownloadError where the folder is full."""
    with write_errors(folder, DownloadError):
        packed = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  closed below
    with packed:
        for block in blocks:
            with write_errors(folder, DownloadError):
                write_all(packed, block)
        with zipfile.ZipFile(packed) as archive:
            if not archive.namelist():
                raise zipfile.BadZipFile("the archive is empty")
            with archive.open(archive.namelist()[0]) as member:
                while block := member.read(CHUNK):
                    yield block


def _received(url: str, progress: Progress) -> Iterator[bytes]:
    """The bytes at an address. Raises one of _FAILURES."""
    opener = urllib.request.build_opener(_Redirects)
    with opener.open(url, timeout=TIMEOUT) as reply:
        encoding = reply.headers.get("Content-Encoding", "identity")
        if encoding != "identity":  # http.client asks for no other
            raise http.client.HTTPException(
                f"the server sent it packed, as {encoding}, which was not asked for"
            )
        length = reply.headers.get("Content-Length")
        total = int(length) if length else None
        received = 0
        while block := reply.read(1 << 16):
            received += len(block)
            progress(len(block), total)
            yield block
        if total is not None and received != total:
            raise http.client.HTTPException(f"the connection ended after {received:,} of {total:,} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but from https to https alone, and to no other scheme than http and https."""

    def redirect_request(
        self, request: urllib.request.Request, reply: Any, code: int, message: str, headers: Any, url: str
    ) -> urllib.request.Request | None:
        """The request of the new address. Raises URLError for one that is not allowed."""
        allowed = ("https://",) if request.type == "https" else ("https://", "http://")
        if not url.lower().startswith(allowed):
            reply.close()
            raise urllib.error.URLError(f"it redirects to {url}, which is not https")
        return super().redirect_request(request, reply, code, message, headers, url)
