"""How an interactive session reads lines: by prompt_toolkit, or by Python's input without it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from charrnn.cli.options import unescape
from charrnn.files import data_path

HISTORY = "interactive-history"
"""The file of the lines that were typed, in the user's data folder."""

REMEMBERED = 1000
"""Lines of the history that are read."""


class Console(Protocol):
    """Reads what a user types."""

    def ask(self, prompt: str, status: str = "") -> str:
        """One line. Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C."""

    def edit(self, text: str) -> str:
        """The text as the user changes it. Raises as ``ask``."""


def open_console(commands: Sequence[str]) -> Console:
    """The console of this process; ``commands`` can be completed."""
    try:
        return ToolkitConsole(commands)
    except ImportError:
        return PlainConsole()


def escape(text: str) -> str:
    r"""The text in one line: backslashes, newlines, tabs and NUL as \\, \n, \t and \0."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t").replace("\0", r"\0")


def history_file() -> Path:
    """The file of the lines that were typed in earlier sessions."""
    return data_path(HISTORY)


def read_history() -> list[str]:
    """The lines of earlier sessions, the newest last."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return history_file().read_text(encoding="utf-8").splitlines()[-REMEMBERED:]
    return []


def add_to_history(line: str) -> None:
    """Append a line to the history, which its owner alone can read. A disk that refuses is no error."""
    path = history_file()
    with contextlib.suppress(OSError, UnicodeEncodeError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "a", encoding="utf-8") as file:
            file.write(line.replace("\n", r"\n") + "\n")


class ToolkitConsole:
    """Reads by prompt_toolkit on stderr: history, completion of commands, a text of several lines to edit."""

    def __init__(self, commands: Sequence[str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import InMemoryHistory
        from prompt_toolkit.output import create_output
        from prompt_toolkit.shortcuts import CompleteStyle

        output = create_output(stdout=sys.stderr)  # stdout is the text's
        self._session: PromptSession[str] = PromptSession(
            output=output,
            history=InMemoryHistory(read_history()),
            completer=WordCompleter(list(commands), sentence=True),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            reserve_space_for_menu=0,
        )
        self._editor: PromptSession[str] = PromptSession(output=output)

    def ask(self, prompt: str, status: str = "") -> str:
        """One line."""
        line = self._session.prompt(prompt, bottom_toolbar=status or None)
        if line:
            add_to_history(line)
        return line

    def edit(self, text: str) -> str:
        """The text as the user changes it, in several lines."""
        keys = "Esc, then Enter: done    Ctrl-C: leave the text as it was"
        return self._editor.prompt("", default=text, multiline=True, bottom_toolbar=keys)


class PlainConsole:
    """Reads by ``input``, with the history and keys of readline where Python has it."""

    def __init__(self) -> None:
        self._readline: Any = None
        with contextlib.suppress(ImportError):  # Windows
            import readline

            self._readline = readline
            for line in read_history():
                readline.add_history(line)

    def ask(self, prompt: str, status: str = "") -> str:
        """One line."""
        line = self._input(prompt)
        if line:
            add_to_history(line)
        return line

    def edit(self, text: str) -> str:
        r"""The text as the user changes it, in one line: \n is a newline."""
        if self._readline is None:
            return unescape(self._input("the text: "))
        self._readline.set_startup_hook(lambda: self._readline.insert_text(escape(text)))
        try:
            return unescape(self._input("the text: "))
        finally:
            self._readline.set_startup_hook()

    def _input(self, prompt: str) -> str:
        try:
            if sys.stdout.isatty():
                return input(prompt)
            sys.stderr.write(prompt)  # stdout is the text's
            sys.stderr.flush()
            return input()
        except (EOFError, KeyboardInterrupt):
            sys.stderr.write("\n")  # the cursor stands behind the prompt
            raise
