"""What a disk may hold after a power failure, if no more is sure than what was synced.

The names of files are like those of a file system with a journal: changes reach the disk in their order, and
syncing a folder makes all changes so far sure. What was written to a file is sure when the file was synced;
until then it may be lost, or only its first half may be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Event = tuple[str, str, Any]
"""An operation, its path, and what else it needs; see ``disk.Record``."""
State = frozenset[tuple[str, bytes]]
"""The paths and contents of all files."""


@dataclass
class Content:
    """What was written to a file: all of it, and what is sure."""

    now: bytes = b""
    sure: bytes = b""

    def write(self, place: int, data: bytes) -> None:
        """Write bytes at a place, also beyond the end."""
        self.now = self.now[:place].ljust(place, b"\0") + data + self.now[place + len(data) :]

    def after_failure(self) -> list[bytes]:
        """What the file may hold: all, nothing that is not sure, half of it, or zeros in its place."""
        half = (len(self.now) + len(self.sure)) // 2
        return [self.now, self.sure, self.now[:half], self.sure.ljust(len(self.now), b"\0")]


class Journal:
    """The files of a disk, and the changes of names that are not sure yet."""

    def __init__(self, files: Mapping[Path, bytes]) -> None:
        self.now = {str(path): Content(data, data) for path, data in files.items()}
        self.sure = self.now
        self.pending: list[dict[str, Content]] = []

    def apply(self, event: Event) -> None:
        """Do what an event did to the disk."""
        operation, path, more = event
        content = self.now.get(path)
        if operation == "create":
            self._rename({**self.now, path: Content()})
        elif operation == "rename" and content:
            self._rename({**self.now, more: content}, without=path)
        elif operation in ("unlink", "remove"):
            self._rename(self.now, without=path)
        elif operation == "fsync" and content is None:  # of a folder
            self.sure, self.pending = self.now, []
        elif content is not None:
            self._change(content, operation, more)

    def _rename(self, files: Mapping[str, Content], without: str = "") -> None:
        self.now = {path: content for path, content in files.items() if path != without}
        self.pending.append(self.now)

    @staticmethod
    def _change(content: Content, operation: str, more: Any) -> None:
        if operation == "write":
            content.write(*more)
        elif operation == "truncate":
            content.now = content.now[:more]
        elif operation == "fsync":
            content.sure = content.now

    def after_failure(self) -> set[State]:
        """All that the disk may hold if the power fails now."""
        result: set[State] = set()
        for files in (self.sure, *self.pending):
            choices = {path: content.after_failure() for path, content in files.items()}
            result |= {
                frozenset((path, choice[case]) for path, choice in choices.items()) for case in range(4)
            }
        return result


def contents_after_failures(
    before: Mapping[Path, bytes], events: Sequence[Event]
) -> tuple[set[State], set[State]]:
    """All that the disk may hold after a power failure between the events, and after the last one."""
    journal = Journal(before)
    states: set[State] = set()
    for event in events:
        journal.apply(event)
        states |= journal.after_failure()
    return states, journal.after_failure()
