"""What a disk may hold after a power failure, if no more is durable than what was synced.

A change is durable when it is on the disk for certain. Syncing a folder makes the changes of its own names
durable: of the files and the folders directly in it. Until then, changes of names reach the disk in their
order, as in a file system with a journal, or are lost. What was written to a file is durable when the file
was synced; until then it may be lost, or only its first half may be there. A file is there if its name and
those of all folders above it are.
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
    """What was written to a file: all of it, and what is durable."""

    now: bytes = b""
    durable: bytes = b""

    def write(self, place: int, data: bytes) -> None:
        """Write bytes at a place, also beyond the end."""
        self.now = self.now[:place].ljust(place, b"\0") + data + self.now[place + len(data) :]

    def after_failure(self) -> list[bytes]:
        """What the file may hold: all, nothing that is not durable, half of it, or zeros in its place."""
        half = (len(self.now) + len(self.durable)) // 2
        return [self.now, self.durable, self.now[:half], self.durable.ljust(len(self.now), b"\0")]


FOLDER = Content()
"""Stands for a folder."""
Names = dict[str, Content | None]
"""Files and folders by path; None: there is no longer one of this name."""


class Journal:
    """The files and folders of a disk, and the changes of names, in one folder each, that are not durable."""

    def __init__(self, files: Mapping[Path, bytes]) -> None:
        self.now: Names = {str(parent): FOLDER for path in files for parent in path.parents}
        self.now |= {str(path): Content(data, data) for path, data in files.items()}
        self.durable, self.pending = dict(self.now), list[Names]()

    def apply(self, event: Event) -> None:
        """Do what an event did to the disk."""
        operation, path, more = event
        content = self.now.get(path)
        if operation == "create":
            self._change_names({path: Content()})
        elif operation == "mkdir":
            self._change_names({path: FOLDER})
        elif operation == "rename":
            self._change_names({path: None, more: content})
        elif operation in ("unlink", "remove"):
            self._change_names({path: None})
        elif operation == "fsync" and content is FOLDER:
            for names in self.pending:
                self.durable |= names if _folder(names) == path else {}
            self.pending = [names for names in self.pending if _folder(names) != path]
        elif content is not None:
            self._change(content, operation, more)

    def _change_names(self, names: Names) -> None:
        self.now |= names
        self.pending.append(names)

    @staticmethod
    def _change(content: Content, operation: str, more: Any) -> None:
        if operation == "write":
            content.write(*more)
        elif operation == "truncate":
            content.now = content.now[:more]
        elif operation == "fsync":
            content.durable = content.now

    def after_failure(self) -> set[State]:
        """All that the disk may hold if the power fails now."""
        result: set[State] = set()
        names = dict(self.durable)
        for change in ({}, *self.pending):
            names |= change
            there = {path: content for path, content in names.items() if content and _is_reached(path, names)}
            choices = {
                path: content.after_failure() for path, content in there.items() if content is not FOLDER
            }
            result |= {
                frozenset((path, choice[case]) for path, choice in choices.items()) for case in range(4)
            }
        return result


def _folder(names: Names) -> str:
    """The folder of a change of names."""
    (folder,) = {str(Path(path).parent) for path in names}
    return folder


def _is_reached(path: str, names: Names) -> bool:
    """Whether all folders above a path are there."""
    return all(names.get(str(parent)) is FOLDER for parent in Path(path).parents)


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
