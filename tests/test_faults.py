"""Whatever operation of the disk fails, and whenever a process is killed or the power fails: nothing is lost.

After each failure old files are as they were or new ones are whole, the next command works, no temporary file
is left, and the error is one line.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from charrnn.files import atomic_write, make_folder
from tests.faults.disk import ERRORS, FAULTS, NO_MEMORY, Disk
from tests.faults.power import contents_after_failures
from tests.faults.scenarios import SCENARIOS

ROOT = Path(__file__).parent.parent
SAVING = ("train", "resume", "save a state", "count n-grams", "download")
"""The scenarios whose results must last a power failure."""


def trials(folder: Path, scenario: str, *options: str) -> dict[str, int]:
    """Run the trials of a scenario; none may break a law. Returns their numbers."""
    command = [sys.executable, "-m", "tests.faults", scenario, str(folder / "faults"), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *broken, counts = map(json.loads, done.stdout.splitlines())
    for fault, number, operation, problem, law in broken[:3]:
        sys.stdout.write(f"{fault} at operation {number} {operation}: {problem}\n{law}\n")
    assert not broken, f"{len(broken)} broken laws"
    result: dict[str, int] = counts
    return result


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_command_survives_any_fault_at_any_operation(tmp_path: Path, scenario: str) -> None:
    counts = trials(tmp_path, scenario)
    only_deletes = scenario == "remove a run"
    assert counts.keys() == (set(FAULTS) if not only_deletes else {*ERRORS, NO_MEMORY, "kill"})


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SAVING)
def test_a_command_survives_a_power_failure(tmp_path: Path, scenario: str) -> None:
    assert trials(tmp_path, scenario, "--power")["power failure"] > 3


def write_in_place(path: Path) -> None:
    path.write_bytes(b"new")


def write_without_sync(path: Path) -> None:
    path.with_name("temporary").write_bytes(b"new")
    os.replace(path.with_name("temporary"), path)


def write_atomically(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"new")


@pytest.mark.parametrize(
    ("write", "lasting"), [(write_in_place, False), (write_without_sync, False), (write_atomically, True)]
)
def test_a_power_failure_shows_which_write_is_safe(tmp_path: Path, write: Any, lasting: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    events: list[Any] = []
    with Disk(tmp_path, record=lambda *event: events.append(event)):
        write(path)
    states, at_the_end = contents_after_failures({Path("file"): b"old"}, events)
    found = {dict(state)["file"] for state in states}
    assert (found <= {b"old", b"new"}) == lasting
    assert (at_the_end == {frozenset({("file", b"new")})}) == lasting


def make_without_sync(folder: Path) -> None:
    folder.mkdir()


@pytest.mark.parametrize(("make", "lasting"), [(make_without_sync, False), (make_folder, True)])
def test_a_power_failure_shows_whether_a_new_folder_stays(tmp_path: Path, make: Any, lasting: bool) -> None:
    events: list[Any] = []
    with Disk(tmp_path, record=lambda *event: events.append(event)):
        make(tmp_path / "folder")
        write_atomically(tmp_path / "folder" / "file")
    _, at_the_end = contents_after_failures({Path("other"): b""}, events)
    other = ("other", b"")
    whole = frozenset({other, ("folder/file", b"new")})
    assert at_the_end == ({whole} if lasting else {whole, frozenset({other})})


def test_names_in_an_open_folder_are_operations_too(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    events: list[Any] = []
    with Disk(tmp_path, record=lambda *event: events.append(event)):
        shutil.rmtree(tmp_path / "a")
    assert events == [("unlink", "a/b/file", None)]


@pytest.mark.parametrize("fault", [*ERRORS, NO_MEMORY])
def test_each_operation_fails_in_its_turn(tmp_path: Path, fault: str) -> None:
    failed = []
    for at in itertools.count(1):
        (tmp_path / "file").write_bytes(b"old")
        with Disk(tmp_path, at, fault) as disk, contextlib.suppress(OSError, MemoryError):
            write_atomically(tmp_path / "file")
        if not disk.triggered:
            break
        failed.append(disk.triggered.split()[0])
        assert (tmp_path / "file").read_bytes() in (b"old", b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert failed == ["listdir", "open", "write", "fsync", "replace", "open", "fsync"]


def test_half_of_a_torn_write_is_there_and_the_next_ones_fail_too(tmp_path: Path) -> None:
    with Disk(tmp_path, 1, "torn write"), (tmp_path / "file").open("wb", buffering=0) as file:
        for _ in range(3):
            with pytest.raises(OSError, match="No space") as caught:
                file.write(b"12345678")
            assert caught.value.errno == errno.ENOSPC
        file.write(b"5")
    assert (tmp_path / "file").read_bytes() == b"12345"
    with Disk(tmp_path, 1, "short write"):
        (tmp_path / "file").write_bytes(b"12345678")
    assert (tmp_path / "file").read_bytes() == b"12345678"
