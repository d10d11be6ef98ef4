"""The corpora known by name: ``corpora/catalog.toml``.

An entry is downloaded (``url``) or is read from what the machine has (``builtin``). Downloads
lie in the corpora folder as ``NAME.txt``. An entry without a known hash is pinned at its first
download, trust on first use, in ``NAME.sha256`` beside it.
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

from charrnn.errors import CorpusError, DownloadError
from charrnn.files import atomic_write
from charrnn.text.sources import CHUNK, Source, file_source

DEFAULT = "python-stdlib"
TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""

Progress = Callable[[int, int | None], None]
"""Told (bytes further, bytes in all, or None where the server does not say)."""


@dataclass(frozen=True)
class Entry:
    """One corpus. ``sha256`` and ``size`` (bytes) are of the text, unpacked; None where not known."""

    name: str
    about: str
    builtin: str | None = None
    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    licence: str = ""


def entries(path: Path | None = None) -> dict[str, Entry]:
    """The catalogue, by name, in its file's order."""
    here = Path(__file__).parent
    installed, checkout = here / "catalog.toml", here.parent.parent / "corpora" / "catalog.toml"
    text = (path or (installed if installed.exists() else checkout)).read_text(encoding="utf-8")
    return {name: Entry(name, **values) for name, values in tomllib.loads(text).items()}


def entry(name: str, path: Path | None = None) -> Entry:
    """The entry of this name. Raises CorpusError, listing those there are."""
    known = entries(path)
    if name not in known:
        raise CorpusError(f"no corpus is called {name}; the catalogue has: {', '.join(known)}")
    return known[name]


def standard_library() -> list[Source]:
    """The .py files of the running interpreter's standard library, tests and site-packages left out."""
    root = Path(sysconfig.get_path("stdlib"))
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3"}
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - left_out)
        found += [Path(folder) / file for file in sorted(files) if file.endswith(".py")]
    return [file_source(path) for path in found if _is_utf8(path)]


def _is_utf8(path: Path) -> bool:
    """The library holds a few files in other encodings, each to show that it can."""
    try:
        path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):
        return False
    return True


def local(found: Entry, folder: Path) -> list[Source] | None:
    """The corpus's files where it is here already, else None."""
    if found.builtin == "python-stdlib":
        return standard_library()
    path = folder / f"{found.name}.txt"
    return [file_source(path)] if path.is_file() else None


def fetch(found: Entry, folder: Path, progress: Progress = lambda further, total: None) -> Path:
    """Download, or build, a corpus as ``folder/NAME.txt``, checked; the path it has.

    Raises DownloadError; nothing half-written stays.
    """
    path = folder / f"{found.name}.txt"
    pin = folder / f"{found.name}.sha256"
    expected = found.sha256
    if expected is None and pin.is_file():
        expected = pin.read_text(encoding="ascii", errors="replace").partition(" ")[0].strip()
    digest = hashlib.sha256()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            for block in _blocks(found, progress):
                digest.update(block)
                file.write(block)
            _check_size(found, file.tell())
            if expected is not None and digest.hexdigest() != expected and found.url:
                raise DownloadError(
                    f"{found.name}: the download's SHA-256 is {digest.hexdigest()},"
                    f" expected {expected}; not kept"
                )
        if found.url and found.sha256 is None and expected is None:
            with atomic_write(pin) as file:
                file.write(f"{digest.hexdigest()}  {path.name}\n".encode())
    except urllib.error.HTTPError as error:
        error.close()  # it is the server's reply, still open
        raise DownloadError(f"{found.name}: cannot fetch {found.url}: {error.code} {error.reason}") from error
    except (*_FAILURES, ValueError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{found.name}: cannot fetch {found.url}: {reason}") from error
    except OSError as error:
        raise DownloadError(f"{found.name}: {error.strerror or error}") from error
    return path


_FAILURES = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
)


def _check_size(found: Entry, size: int) -> None:
    """Without a hash, at least no error page becomes the text; sizes in the literature are not exact."""
    if found.sha256 is None and found.size and abs(size - found.size) > found.size / 10:
        raise DownloadError(f"{found.name}: got {size:,} bytes, expected about {found.size:,}; not kept")


def _blocks(found: Entry, progress: Progress) -> Iterator[bytes]:
    """The text's bytes, from wherever the entry says."""
    if not found.url:
        for source in local(found, Path()) or []:
            for block in source.blocks():
                progress(len(block), None)
                yield block
        return
    if not found.url.endswith(".zip"):
        yield from _download(found.url, progress)
        return
    with tempfile.TemporaryFile() as packed:
        packed.writelines(_download(found.url, progress))
        with zipfile.ZipFile(packed) as archive, archive.open(_first(archive)) as member:
            while block := member.read(CHUNK):
                yield block


def _first(archive: zipfile.ZipFile) -> str:
    if not archive.namelist():
        raise zipfile.BadZipFile("the archive is empty")
    return archive.namelist()[0]


def _download(url: str, progress: Progress) -> Iterator[bytes]:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as reply:
        length = reply.headers.get("Content-Length")
        total = int(length) if length else None
        received = 0
        while block := reply.read(1 << 16):
            received += len(block)
            progress(len(block), total)
            yield block
        if total is not None and received != total:
            raise http.client.HTTPException(f"the connection ended after {received:,} of {total:,} bytes")
