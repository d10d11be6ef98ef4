"""How an interactive session reads lines: by prompt_toolkit, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from charrnn.files import data_path

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History

HISTORY = "interactive-history"
"""The file of the lines that were typed, in the user's data folder."""


def history() -> History:
    """The lines of earlier sessions, in a file for its owner alone; none where it cannot be made."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    path = data_path(HISTORY)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


class Console:
    """Reads what a user types, with history and completion of commands."""

    def __init__(self, commands: Sequence[str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.key_binding import KeyBindings
        from prompt_toolkit.keys import Keys
        from prompt_toolkit.output import create_output
        from prompt_toolkit.shortcuts import CompleteStyle

        output = create_output(stdout=sys.stderr)  # stdout is the text's
        keys = KeyBindings()
        # The codes of pasted colours look like events of a mouse, on which prompt_toolkit raises ValueError.
        keys.add(Keys.Vt100MouseEvent)(lambda event: None)
        self._session: PromptSession[str] = PromptSession(
            output=output,
            history=history(),
            completer=WordCompleter(list(commands), sentence=True),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            reserve_space_for_menu=0,
            key_bindings=keys,
        )
        self._editor: PromptSession[str] = PromptSession(output=output, key_bindings=keys)

    def ask(self, prompt: str, status: str = "") -> str:
        """One line. Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C."""
        return self._session.prompt(prompt, bottom_toolbar=status or None)

    def edit(self, text: str) -> str:
        """The text, of several lines, as the user changes it. Raises as ``ask``."""
        keys = "Esc, then Enter: done    Ctrl-C: leave the text as it was"
        return self._editor.prompt("", default=text, multiline=True, bottom_toolbar=keys)
