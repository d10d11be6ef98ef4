"""Files are written whole, where links lead, and as private as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn import files
from charrnn.files import atomic_write, temporary_of


def write(path: Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to(Path("folder/target"))
    for data in (b"first", b"second"):  # the target is made, then replaced
        write(link, data)
        assert (link.readlink(), target.read_bytes()) == (Path("folder/target"), data)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "link", "target"]


def test_a_link_to_itself_is_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("link")
    with pytest.raises(OSError, match="symbolic links") as caught:
        write(link, b"new")
    assert (caught.value.filename, [*tmp_path.iterdir()]) == (str(link), [link])


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_that_is_replaced_is_as_private_as_before(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    write(path, b"old")
    path.chmod(mode)
    write(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", mode)


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "𝕏" * 63])
def test_a_file_may_have_the_longest_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_only_what_a_dead_process_of_this_machine_left_of_the_same_file_is_deleted(tmp_path: Path) -> None:
    machine = files._machine()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    orphan = f".a.{machine}-{dead.pid}-0123abcd"
    kept = [
        f".b.{machine}-{dead.pid}-0123abcd",  # of another file
        f".a.{machine}-{os.getpid()}-0123abcd",  # of a living process
        f".a.{int(machine, 16) ^ 1:08x}-{dead.pid}-0123abcd",  # of another machine
        ".a.swp",
        ".a.bak",
        f".a.{machine}-{dead.pid}-0123abcd.bak",
    ]
    for name in (orphan, *kept):
        (tmp_path / name).touch()
    write(tmp_path / "a", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", *kept])
    assert [temporary_of(name) for name in (orphan, *kept)] == ["a", "b", "a", "a", "", "", ""]


def test_a_new_folder_is_synced_with_those_that_were_made_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "_sync_folder", synced.append)
    for _ in range(2):
        files.make_folder(tmp_path / "a" / "b", 0o700)
    assert synced == [tmp_path, tmp_path / "a"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
