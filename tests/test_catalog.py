"""Corpora by name, against a server on this machine: downloaded whole and checked, or not at all."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import http.server
import io
import os
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import threading
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from charrnn.errors import CorpusError, DownloadError
from charrnn.text import catalog
from charrnn.text.catalog import Entry
from charrnn.text.corpus import open_corpus
from charrnn.text.sources import file_source

ROOT = Path(__file__).parent.parent
TEXT = b"To be, or not to be\r\n" * 5000


def reply(body: bytes, length: int | None = None, status: str = "200 OK", *headers: str) -> bytes:
    """An answer as it goes over the wire; ``length`` is the one it claims."""
    claimed = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {claimed}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def packed(body: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", body)
    return file.getvalue()


class Server:
    """``replies``: path -> the bytes of the answer, after which the connection is closed."""

    def __init__(self) -> None:
        self.replies: dict[str, bytes] = {}
        self.requests: list[Message] = []
        replies, requests = self.replies, self.requests

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.headers)
                self.wfile.write(replies.get(self.path, reply(b"", 0, "404 Not Found")))

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = http.server.HTTPServer(("127.0.0.1", 0), Handler)

    def entry(self, answer: bytes, path: str = "/text", sha256: str | None = None) -> Entry:
        """An entry whose download is ``answer``."""
        self.replies[path] = answer
        return Entry("shakespeare", "a test", url=self.url(path), sha256=sha256)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "corpora"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def refusal(entry: Entry, folder: Path) -> str:
    with pytest.raises(DownloadError) as caught:
        catalog.download(entry, folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert "shakespeare" in message
    return message


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_text_is_downloaded_byte_for_byte_and_then_found(server: Server, folder: Path) -> None:
    entry = server.entry(reply(TEXT), sha256=sha256(TEXT))
    assert catalog.local_sources(entry, folder) is None
    path = catalog.download(entry, folder)
    assert path == folder / "shakespeare.txt"
    assert path.read_bytes() == TEXT
    assert inside(folder) == ["shakespeare.txt"]
    (source,) = catalog.local_sources(entry, folder) or []
    assert b"".join(source.blocks()) == TEXT


def test_the_first_file_of_a_zip_is_the_text(server: Server, folder: Path) -> None:
    entry = server.entry(reply(packed(TEXT)), "/text.zip", sha256(TEXT))
    assert catalog.download(entry, folder).read_bytes() == TEXT
    assert inside(folder) == ["shakespeare.txt"]


def test_progress_counts_every_byte_of_the_download_and_knows_their_number(
    server: Server, folder: Path
) -> None:
    steps: list[tuple[int, int | None]] = []
    catalog.download(server.entry(reply(TEXT)), folder, lambda *progress: steps.append(progress))
    assert sum(size for size, _ in steps) == len(TEXT)
    assert {total for _, total in steps} == {len(TEXT)}


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def empty_zip() -> bytes:
    file = io.BytesIO()
    zipfile.ZipFile(file, "w").close()
    return file.getvalue()


def damaged(data: bytes) -> bytes:
    return data[:37] + bytes(byte ^ 255 for byte in data[37:45]) + data[45:]


def encrypted(data: bytes) -> bytes:
    """The flag bit for encryption, in the local and the central header."""
    central = data.index(b"PK\x01\x02")
    return data[:6] + b"\x01" + data[7 : central + 8] + b"\x01" + data[central + 9 :]


FAILURES = {
    "wrong hash": (reply(TEXT), "/text", "expected 0000"),
    "wrong hash in a zip": (reply(packed(TEXT)), "/text.zip", "expected 0000"),
    "cut": (reply(TEXT[:70_000], len(TEXT)), "/text", "cannot fetch"),
    "cut before the first byte": (reply(b"", len(TEXT)), "/text", "cannot fetch"),
    "cut in the headers": (b"HTTP/1.1 200 OK\r\nContent-", "/text", "the download is empty"),
    "cut between chunks": (CHUNKED + b"5\r\nhello\r\n", "/text", "cannot fetch"),
    "cut zip": (reply(packed(TEXT)[:-5], len(packed(TEXT))), "/text.zip", "cannot fetch"),
    "not a zip": (reply(TEXT), "/text.zip", "not a zip"),
    "no answer": (b"", "/text", "cannot fetch|without response"),
    "not HTTP": (b"hello\r\n", "/text", "cannot fetch"),
    "empty zip": (reply(empty_zip()), "/text.zip", "empty"),
    "damaged zip": (reply(damaged(packed(TEXT))), "/text.zip", "cannot fetch"),
    "encrypted zip": (reply(encrypted(packed(TEXT))), "/text.zip", "cannot fetch"),
    "length that is no number": (reply(TEXT).replace(b"Length: ", b"Length: x"), "/text", "cannot fetch"),
}


@pytest.mark.parametrize("old", [None, b"the text of yesterday"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_download_leaves_the_folder_as_it_was(
    server: Server, folder: Path, failure: str, old: bytes | None
) -> None:
    folder.mkdir()
    if old is not None:
        (folder / "shakespeare.txt").write_bytes(old)
    answer, path, message = FAILURES[failure]
    line = refusal(server.entry(answer, path, "0" * 64), folder)
    assert any(part in line for part in message.split("|"))
    assert [path.read_bytes() for path in folder.iterdir()] == [old] * (old is not None)


def test_a_hash_not_known_is_pinned_at_the_first_download_and_then_enforced(
    server: Server, folder: Path
) -> None:
    entry = server.entry(reply(TEXT))
    catalog.download(entry, folder)
    pin = folder / "shakespeare.sha256"
    assert pin.read_text() == f"{sha256(TEXT)}  shakespeare.txt\n"  # as sha256sum -c reads it
    catalog.download(entry, folder)  # the same text again

    server.replies["/text"] = reply(b"another text")
    line = refusal(entry, folder)
    assert f"expected {sha256(TEXT)} as at the first download" in line
    assert "delete shakespeare.sha256" in line
    assert (folder / "shakespeare.txt").read_bytes() == TEXT
    pin.unlink()  # the user accepts the new version
    catalog.download(entry, folder)
    assert pin.read_text().startswith(sha256(b"another text"))


def test_a_failed_first_download_pins_nothing(server: Server, folder: Path) -> None:
    refusal(server.entry(reply(TEXT[:100], len(TEXT))), folder)
    assert inside(folder) == []


def test_a_text_whose_hash_cannot_be_kept_is_not_kept_either(server: Server, folder: Path) -> None:
    pin = folder / "shakespeare.sha256"
    pin.mkdir(parents=True)
    assert refusal(server.entry(reply(TEXT)), folder) == f"cannot write {pin}: Is a directory"
    assert inside(folder) == [pin.name]


def test_the_catalogues_hash_overrides_a_pin(server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / "shakespeare.sha256").write_text("0" * 64)
    assert catalog.download(server.entry(reply(TEXT), sha256=sha256(TEXT)), folder).read_bytes() == TEXT


def test_a_server_that_does_not_listen_is_one_download_error(server: Server, folder: Path) -> None:
    entry = server.entry(reply(TEXT))
    server.http.socket.close()
    assert f"cannot fetch {entry.url}: " in refusal(entry, folder)
    assert inside(folder) == []


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError(OSError(-3, "Temporary failure in name resolution")),
        TimeoutError("timed out"),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_network_that_fails_is_one_download_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    refusal(Entry("shakespeare", "a test", url="http://nowhere.invalid/text"), folder)
    assert inside(folder) == []


def test_a_folder_that_cannot_be_made_is_a_download_error(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").write_bytes(b"")
    message = refusal(server.entry(reply(TEXT)), tmp_path / "file" / "corpora")
    assert message == f"cannot write {tmp_path}/file/corpora/shakespeare.txt: Not a directory"


def test_a_builtin_corpus_needs_no_download_and_can_be_copied(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for path in files:
        path.write_text(f"# {path.name}\n")
    monkeypatch.setattr(catalog, "standard_library", lambda: [file_source(path) for path in files])
    entry = catalog.entry("python-stdlib")
    assert [source.name for source in catalog.local_sources(entry, folder) or []] == list(map(str, files))
    assert catalog.download(entry, folder).read_bytes() == b"# a.py\n# b.py\n"
    assert inside(folder) == ["python-stdlib.txt"]


def test_the_standard_library_is_python_files_without_tests_in_a_fixed_order() -> None:
    root = Path(sysconfig.get_path("stdlib"))
    paths = [Path(source.name).relative_to(root) for source in catalog.standard_library()]
    assert {Path("os.py"), Path("json/decoder.py")} <= set(paths)
    assert {path.suffix for path in paths} == {".py"}
    assert not {"test", "tests", "idle_test", "site-packages"} & {
        part for path in paths for part in path.parts
    }
    assert len(set(paths)) == len(paths)


def test_the_shipped_catalogue_has_the_standard_library_and_sound_entries() -> None:
    known = catalog.entries()
    assert known[catalog.DEFAULT].builtin == "python-stdlib"
    for name, entry in known.items():
        assert entry.name == name == Path(name).name
        assert entry.about
        assert entry.licence
        assert (entry.url is None) != (entry.builtin is None)
        assert entry.url is None or entry.url.startswith("https://")
        assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32
        assert entry.size is None or entry.size > 0


def test_the_catalogue_is_read_in_the_order_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text('[b]\nabout = "B"\nurl = "u"\n[a]\nabout = "A"\nbuiltin = "x"\n')
    monkeypatch.setattr(catalog, "catalog_file", lambda: path)
    assert list(catalog.entries()) == ["b", "a"]
    assert catalog.entry("a") == Entry("a", "A", builtin="x")


def test_an_installed_package_reads_the_catalogue_that_the_wheel_puts_beside_its_modules(
    tmp_path: Path,
) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    shutil.copytree(ROOT / "charrnn", tmp_path / "charrnn", ignore=shutil.ignore_patterns("__pycache__"))
    for source, target in wheel["force-include"].items():
        shutil.copy(ROOT / source, tmp_path / target)
    script = "from charrnn.text import catalog; print(catalog.catalog_file(), *catalog.entries())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "charrnn/text/catalog.toml"), *catalog.entries()]
    assert catalog.catalog_file() == ROOT / "corpora" / "catalog.toml"


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(CorpusError, match=r"no corpus is called hamlet; .*python-stdlib.*tinyshakespeare"):
        catalog.entry("hamlet")


def test_a_misspelt_name_is_an_error_with_the_similar_one() -> None:
    with pytest.raises(CorpusError, match=r"^no corpus is called moby-dik; did you mean moby-dick\?$"):
        catalog.entry("moby-dik")


def test_a_downloaded_text_opens_as_a_corpus(server: Server, folder: Path) -> None:
    entry = server.entry(reply(TEXT))
    catalog.download(entry, folder)
    corpus = open_corpus(catalog.local_sources(entry, folder) or [], entry.name)
    assert corpus.vocabulary.decode(corpus.ids).encode() == TEXT.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops"])
def test_an_error_of_the_server_is_a_download_error_and_the_connection_is_closed(
    server: Server, folder: Path, status: str
) -> None:
    """An HTTPError is an open reply: left alone, it becomes a ResourceWarning when the collector comes by."""
    with pytest.raises(DownloadError, match=status[4:]) as caught:
        catalog.download(server.entry(reply(b"nothing here", status=status)), folder)
    error = caught.value.__cause__
    assert isinstance(error, urllib.error.HTTPError)
    closed = error.closed
    error.close()
    assert closed
    assert inside(folder) == []


@pytest.mark.parametrize("pin", ["", "\n"])
def test_an_empty_pin_counts_as_none_and_is_replaced(server: Server, folder: Path, pin: str) -> None:
    folder.mkdir()
    (folder / "shakespeare.sha256").write_text(pin)
    catalog.download(server.entry(reply(TEXT)), folder)
    assert (folder / "shakespeare.sha256").read_text().split() == [sha256(TEXT), "shakespeare.txt"]


def test_an_invalid_address_is_a_download_error(folder: Path) -> None:
    assert "cannot fetch nonsense: " in refusal(Entry("shakespeare", "a test", url="nonsense"), folder)
    assert inside(folder) == []


def test_a_download_of_another_size_than_the_catalogues_is_not_pinned(server: Server, folder: Path) -> None:
    """A known size without a known hash (warpeace, linux): an error page must not become the text."""
    server.replies["/text"] = reply(b"<html>moved</html>")
    entry = Entry("shakespeare", "a test", url=server.url("/text"), size=len(TEXT))
    assert "the download has 18 bytes, expected about 105,000" in refusal(entry, folder)
    assert inside(folder) == []


# --- what a server may send ---


@pytest.mark.parametrize("size", [None, 100_000])
@pytest.mark.parametrize("path", ["/text", "/text.zip"])
def test_a_download_that_is_much_too_large_is_refused_while_it_is_read(
    server: Server, folder: Path, path: str, size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a text that is packed, what is unpacked counts: a small archive can fill a disk."""
    monkeypatch.setattr(catalog, "LARGEST", 200_000)
    monkeypatch.setattr(catalog, "CHUNK", 50_000)
    text = bytes(10_000_000)
    answer = reply(packed(text)) if path.endswith(".zip") else reply(text[:1_000_000])
    entry = replace(server.entry(answer, path), size=size)
    largest = 0
    folder.mkdir()
    with contextlib.suppress(DownloadError):
        for block in catalog._blocks(entry, folder, lambda new, total: None):
            largest += len(block)
    assert 0 < largest <= 200_000
    assert "gives more than 200,000 bytes, the most for this text" in refusal(entry, folder)
    assert inside(folder) == []


def test_an_archive_that_is_larger_than_its_text_may_be_is_refused_before_it_is_unpacked(
    server: Server, folder: Path
) -> None:
    answer = reply(packed(b"short") + bytes(5000))
    entry = replace(server.entry(answer, "/text.zip"), size=1000)
    assert "gives more than 2,000 bytes" in refusal(entry, folder)
    assert inside(folder) == []


def test_an_archive_needs_room_in_the_folder_of_its_text_alone(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder / "missing"))
    entry = server.entry(reply(packed(os.urandom(20_000))), "/text.zip")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(DownloadError, match=f"^cannot write {re.escape(str(folder))}: File too large$"):
            catalog.download(entry, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert inside(folder) == []
    catalog.download(entry, folder)


def test_a_text_of_the_size_in_the_catalogue_is_far_from_the_limit(server: Server, folder: Path) -> None:
    entry = replace(server.entry(reply(packed(TEXT)), "/text.zip"), size=len(TEXT))
    assert catalog.download(entry, folder).read_bytes() == TEXT


def redirect(address: str) -> bytes:
    return reply(b"", 0, "302 Found", f"Location: {address}")


def test_a_redirect_is_followed(server: Server, folder: Path) -> None:
    server.replies["/moved"] = reply(TEXT)
    entry = server.entry(redirect(server.url("/moved")), sha256=sha256(TEXT))
    assert catalog.download(entry, folder).read_bytes() == TEXT


@pytest.fixture
def https(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, which answers at its https address too: there without encryption."""

    def https_open(handler: Any, request: urllib.request.Request) -> Any:
        return handler.do_open(http.client.HTTPConnection, request)

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", https_open)
    return server


@pytest.mark.parametrize("scheme", ["http", "HTTP", "ftp", "file", "data"])
def test_a_redirect_from_https_to_anything_else_is_refused(https: Server, folder: Path, scheme: str) -> None:
    https.replies["/moved"] = reply(TEXT)
    address = https.url("/moved").replace("http", scheme, 1)
    entry = https.entry(redirect(address))
    entry = replace(entry, url=https.url("/text").replace("http", "https", 1))
    assert "redirect" in refusal(entry, folder).lower()
    assert len(https.requests) == 1
    assert inside(folder) == []


def test_a_redirect_from_https_to_https_is_followed(https: Server, folder: Path) -> None:
    https.replies["/moved"] = reply(TEXT)
    entry = https.entry(redirect(https.url("/moved").replace("http", "https", 1)), sha256=sha256(TEXT))
    entry = replace(entry, url=https.url("/text").replace("http", "https", 1))
    assert catalog.download(entry, folder).read_bytes() == TEXT


@pytest.mark.parametrize("scheme", ["ftp", "file"])
def test_no_redirect_leads_to_another_scheme_than_http_and_https(
    server: Server, folder: Path, scheme: str
) -> None:
    secret = folder.parent / "secret"
    secret.write_bytes(TEXT)
    entry = server.entry(redirect(f"{scheme}://127.0.0.1:1{secret}"))
    assert "redirect" in refusal(entry, folder).lower()
    assert inside(folder) == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_reply_that_is_packed_unasked_is_not_taken_for_the_text(
    server: Server, folder: Path, encoding: str
) -> None:
    body = gzip.compress(TEXT, mtime=0)
    line = refusal(server.entry(reply(body, None, "200 OK", f"Content-Encoding: {encoding}")), folder)
    assert f"sent it packed, as {encoding}" in line
    assert inside(folder) == []
    assert [request["Accept-Encoding"] for request in server.requests] == ["identity"]


def test_a_reply_may_say_that_it_is_not_packed(server: Server, folder: Path) -> None:
    entry = server.entry(reply(TEXT, None, "200 OK", "Content-Encoding: identity"), sha256=sha256(TEXT))
    assert catalog.download(entry, folder).read_bytes() == TEXT


def test_an_empty_download_is_refused(server: Server, folder: Path) -> None:
    assert "the download is empty" in refusal(server.entry(reply(b"")), folder)
    assert inside(folder) == []
