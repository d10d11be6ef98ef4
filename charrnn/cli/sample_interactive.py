"""``charrnn sample --interactive``: a text that a user and a model write in turns, in a terminal.

The session is written to stderr. When it ends, the text is written to stdout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from charrnn.cli.consoles import Console
from charrnn.cli.options import unescape
from charrnn.cli.sample_options import parse_ramp
from charrnn.cli.sample_output import Sample, TextWriter, write_samples
from charrnn.cli.sample_prompts import Prompt, PromptReader
from charrnn.cli.terminal import Colour, Terminal
from charrnn.errors import CharrnnError, ConfigError
from charrnn.files import atomic_write

if TYPE_CHECKING:
    from charrnn.inference.choice import Choice
    from charrnn.inference.constraints import Constraints
    from charrnn.inference.network import Ids
    from charrnn.inference.sample import Chunk
    from charrnn.inference.session import Session

LENGTH = 200
"""Characters of a continuation, where --length is not given."""

MOST = 99
"""The largest number of continuations to choose from."""

WELCOME = "Type a beginning; Enter continues the text; ? lists the commands; Ctrl-D leaves."
HELP = """\
Enter           continue the text; Ctrl-C stops a continuation
any text        is added as typed (a space first begins a word), then continued;
                \\n: new line, //: slash at the start
a number        choose one of several continuations
/retry          another continuation instead of the last one
/undo           one step back
/edit           change the text
/new            begin another text; /undo returns
/print          print the text
/save FILE      save the text
/temperature T  below 1: safer; above 1: more varied
/length N       number of characters of a continuation; 0: until Ctrl-C
/count N        number of continuations to choose from
/quit           leave, as Ctrl-D does
A command's first letter is enough: /r, /t 0.7
"""
HELP_WORDS = ("?", "/?", "/help")
COMMANDS = tuple(line.split()[0] for line in HELP.splitlines() if line.startswith("/"))


@dataclass
class Settings:
    """How continuations are generated; ``constraints_for(length=N)`` makes their constraints."""

    choice: Choice
    constraints_for: Callable[..., Constraints]
    length: int = LENGTH
    count: int = 1
    colour: Colour = Colour.never

    def constraints(self, length: int) -> Constraints:
        """The constraints of a continuation. Raises ConfigError."""
        return self.constraints_for(length=length, note=lambda line: None)  # the command has noted it

    def status(self) -> str:
        """The settings in one line."""
        start, end = self.choice.temperature, self.choice.final_temperature
        temperature = f"{start:g}" if end is None else f"{start:g}:{end:g}"
        return f"temperature {temperature}   length {self.length or 'no limit'}   count {self.count}"


def check_terminal(out: Terminal) -> None:
    """Raise ConfigError unless a user can type, and read the answers."""
    if not (out.stdin_tty and out.stderr_tty):
        raise ConfigError(
            "--interactive needs a terminal; in a pipe or a script, give the beginning with --prompt"
        )


def screen_of(out: Terminal) -> Terminal:
    """The terminal whose stdout is the stderr of this one: the session is shown there."""
    stderr = cast(TextIO, out.stderr)
    return replace(out, stdout=stderr.buffer, stdout_tty=True)


def hold_session(
    out: Terminal,
    reader: PromptReader,
    settings: Settings,
    seed: int,
    index: int,
    beginning: Prompt,
    delimiter: str = "\n",
) -> None:
    """Hold a session, and write its texts to stdout, with a delimiter between them, when it ends.

    Raises ConfigError.
    """
    from charrnn.inference.sample import opening_ids
    from charrnn.inference.session import Session

    opening = opening_ids(reader.vocabulary)
    documents = reader.vocabulary.documents
    session = Session(reader.predictor, opening, reader.saved, seed, index, documents)
    dialogue = Dialogue(screen_of(out), reader, session, settings, Console(COMMANDS))
    try:
        dialogue.run(beginning.ids)
    finally:
        out.write_text(
            delimiter.encode().join(reader.vocabulary.decode_bytes(list(text)) for text in session.texts)
        )


@dataclass
class Dialogue:
    """Reads what a user types, acts on it, and shows what the model adds."""

    screen: Terminal
    reader: PromptReader
    session: Session
    settings: Settings
    console: Console
    _saved: set[Path] = field(default_factory=set)

    def run(self, ids: Ids) -> None:
        """Answer line after line until the user leaves. ``ids`` (N,) are the beginning, if it is given."""
        self.screen.note(WELCOME)
        if len(ids):
            self._act(lambda: self._write(ids))
        while True:
            try:
                line = self.console.ask(self._prompt(), self.settings.status())
            except EOFError:
                return
            except KeyboardInterrupt:
                self.screen.error("Ctrl-D leaves")
                continue
            if not self.answer(line):
                return

    def answer(self, line: str) -> bool:
        """Act on one line; whether the session goes on."""
        if line.strip() in HELP_WORDS:
            self.screen.write(HELP.encode())
            return True
        if line.startswith("/") and not line.startswith("//"):
            name, _, value = line[1:].strip().partition(" ")
            return self._command(name, value.strip())
        if self.session.drafts:
            self._act(lambda: self._choose(line.strip()))
        elif line:
            text = unescape(line[1:] if line.startswith("//") else line)
            self._act(lambda: self._write(self.reader.encode(text)))
        else:
            self._act(self._continue)
        return True

    def _prompt(self) -> str:
        return f"1-{len(self.session.drafts)}> " if self.session.drafts else "> "

    def _act(self, action: Callable[[], None]) -> None:
        """Do what the user asks; a mistake is one line."""
        try:
            action()
        except (CharrnnError, OSError) as error:
            self.screen.error(str(error))

    def _command(self, name: str, value: str) -> bool:
        matches = [command for command in COMMANDS if name and command[1:].startswith(name)]
        if len(matches) != 1:
            self.screen.error(f"no command /{name}; ? lists the commands, // begins a text with a slash")
            return True
        if matches[0] == "/quit":
            return False
        self._act(lambda: getattr(self, "_" + matches[0][1:])(value))
        return True

    # --- the text ---

    def _write(self, ids: Ids) -> None:
        self._begin_another_after_the_end()
        self.session.write(ids)
        self._generate()

    def _continue(self) -> None:
        self._begin_another_after_the_end()
        self._generate()

    def _begin_another_after_the_end(self) -> None:
        """Remember this moment; where the document has ended, begin another one."""
        self.session.remember()
        if self.session.has_ended:
            self.session.begin_another()

    def _choose(self, line: str) -> None:
        count = len(self.session.drafts)
        if line not in map(str, range(1, count + 1)):
            raise ConfigError(f"choose from 1 to {count}; /retry draws others, /undo goes back")
        self.session.keep(int(line) - 1)
        self._note_end()

    def _retry(self, value: str) -> None:
        if self.session.drafts:
            self._generate()
        elif self.session.can_retry:
            self.session.remember()
            self._generate(again=True)
        else:
            raise ConfigError("there is no continuation yet; Enter asks for one")

    def _undo(self, value: str) -> None:
        if not self.session.undo():
            raise ConfigError("there is nothing to undo")
        self._show(self._tail() or "(an empty text)")

    def _edit(self, value: str) -> None:
        try:
            text = self.console.edit(self._text())
        except (EOFError, KeyboardInterrupt):
            self.screen.error("the text is as it was")
            return
        ids = self.reader.encode(text)
        self.session.remember()
        self.session.replace(ids)

    def _new(self, value: str) -> None:
        self.session.remember()
        self.session.begin_another()

    def _print(self, value: str) -> None:
        self._show(self._text())

    def _save(self, value: str) -> None:
        if not value.isprintable() or not value:
            raise ConfigError("/save FILE: name a file")
        path = Path(os.path.expanduser(value))  # that of pathlib raises an error for an unknown user
        if path.exists() and path.resolve() not in self._saved:
            raise ConfigError(f"{path} exists: give another name")
        with atomic_write(path) as file:
            file.write(self.reader.vocabulary.decode_bytes(list(self.session.position.ids)))
        self._saved.add(path.resolve())
        self.screen.error(f"saved {path}: {len(self.session.position.ids):,} characters")

    # --- the settings ---

    def _temperature(self, value: str) -> None:
        try:
            ramp = parse_ramp(value)
        except ValueError as error:
            raise ConfigError(f"/temperature {value}: {error}") from error
        choice = self.settings.choice
        self.settings.choice = replace(choice, temperature=ramp.start, final_temperature=ramp.end)

    def _length(self, value: str) -> None:
        length = _number("/length", value, 0, 1_000_000)
        self.settings.constraints(length)  # raises ConfigError where the other options need another
        self.settings.length = length

    def _count(self, value: str) -> None:
        self.settings.count = _number("/count", value, 1, MOST)

    # --- the model's part ---

    def _generate(self, again: bool = False) -> None:
        """Show continuations as they are generated, and keep a single one; of several the user chooses."""
        settings, session = self.settings, self.session
        if settings.count > 1 and not settings.length:
            raise ConfigError("several continuations need an end: /length N, or /count 1")
        constraints = settings.constraints(settings.length)
        chunks = session.generate(settings.count, settings.choice, constraints, again)
        origin = session.origin
        tail = self._tail_ids(origin.ids)
        samples = [Sample(Prompt("", tail, origin.cursor), row, None) for row in range(settings.count)]
        if len(samples) == 1:
            self._stream(samples, chunks)
            session.keep(0)
            self._note_end()
            return
        self._collect(samples, chunks)
        for number, sample in enumerate(samples, 1):
            self.screen.write(f"[{number}] ".encode())
            writer = self._writer()
            writer.update(sample)
            writer.end(sample)
            self.screen.finish()

    def _note_end(self) -> None:
        if self.session.has_ended:
            self.screen.error("the document has ended: what follows is another one")

    def _stream(self, samples: Sequence[Sample], chunks: Iterator[Chunk]) -> None:
        try:
            write_samples(samples, chunks, self._writer())
        except KeyboardInterrupt:
            self.screen.finish()
            self.screen.error("stopped")
        self.screen.finish()

    def _collect(self, samples: Sequence[Sample], chunks: Iterator[Chunk]) -> None:
        try:
            for chunk in chunks:
                samples[chunk.row].add(chunk)
        except KeyboardInterrupt:
            self.screen.error("stopped")

    def _writer(self) -> TextWriter:
        return TextWriter(
            self.screen, self.reader.vocabulary, None, None, True, self.screen.colours(self.settings.colour)
        )

    # --- what is shown ---

    def _text(self) -> str:
        return self.reader.vocabulary.decode(list(self.session.position.ids))

    def _tail_ids(self, ids: Sequence[int]) -> Ids:
        """The last line of a text, so that its continuation is read with what is before it."""
        import numpy as np

        line = np.array(ids[-LENGTH:], np.int64)
        newline = self.reader.vocabulary.symbols.find("\n")
        ends = np.flatnonzero(line == newline)
        return line[ends[-1] + 1 :] if len(ends) else line

    def _tail(self) -> str:
        return self.reader.vocabulary.decode(list(self._tail_ids(self.session.position.ids)))

    def _show(self, text: str) -> None:
        self.screen.write_text(text.encode("utf-8", "replace"))
        self.screen.finish()


def _number(command: str, value: str, low: int, high: int) -> int:
    """The number given to a command. Raises ConfigError."""
    if not value.isdecimal() or len(value) > 9 or not low <= int(value) <= high:
        raise ConfigError(f"{command} {value}: must be a number from {low} to {high:,}")
    return int(value)
