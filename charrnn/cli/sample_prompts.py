"""What ``charrnn sample`` goes on from: prompts, and the states that other calls have left."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from charrnn.cli.options import read_ids, read_units
from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from charrnn.inference.network import Ids, Predictor
    from charrnn.inference.states import Cursor
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.text.vocabulary import Vocabulary

LONG_PROMPT = 100_000
"""Characters from which on reading a prompt is told, and has a bar."""
LONGEST_LINE = 1 << 26
"""Bytes of a line from which on it is taken for a file without lines."""


class Unknown(StrEnum):
    """What to do with characters of a prompt that the model does not know."""

    error = "error"
    skip = "skip"
    nearest = "nearest"


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt: as it was given, as ids (N,), and the other fields of its JSON line."""

    text: str
    ids: Ids
    fields: dict[str, Any] = field(default_factory=dict)


def literal(argument: str) -> str:
    """An argument's text: the command line is UTF-8 whatever the locale says."""
    return os.fsencode(argument).decode("utf-8", "surrogateescape")


class Prompts:
    """Reads prompts for a vocabulary, and tells once what it has read for a character that is not known."""

    def __init__(self, out: Terminal, vocabulary: Vocabulary, unknown: Unknown) -> None:
        from charrnn.text.unknown import Replacement

        self.out, self.vocabulary, self.unknown = out, vocabulary, unknown
        self._replacement = Replacement(vocabulary, skip=unknown is Unknown.skip)
        self._told = set[str]()

    def of_text(self, text: str, fields: dict[str, Any] | None = None) -> Prompt:
        """Raises UnknownCharacterError."""
        read = text if self.unknown is Unknown.error else self._replacement(text)
        with self._advised():
            return Prompt(text, self.vocabulary.encode(read), fields or {})

    def of_file(self, path: str) -> Prompt:
        """All of a file, or of stdin for "-". Raises CorpusError, UnknownCharacterError."""
        import numpy as np

        if self.unknown is Unknown.error:
            with self._advised():
                ids = np.concatenate([np.empty(0, np.int64), *read_ids(self.out, self.vocabulary, path)])
            return Prompt(self.vocabulary.decode(ids), ids)
        text = "".join(read_units(self.out, self.vocabulary, path))
        if self.vocabulary.byte_level:
            text = text.encode("latin-1").decode("utf-8", "surrogateescape")
        return self.of_text(text)

    def of_lines(self, path: str) -> Iterator[Prompt]:
        """One prompt a line, as the lines come: the line itself, or its JSON object's "prompt".

        What the first line is, all are. Raises CorpusError, UnknownCharacterError, which name the line.
        """
        from charrnn.errors import CorpusError

        if path == "-":
            yield from self._of_lines(self.out.stdin)
            return
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open(path, "rb"))
            except OSError as error:
                raise CorpusError(f"--prompts {path}: {error.strerror or error}") from error
            yield from self._of_lines(file)

    def _of_lines(self, file: BinaryIO) -> Iterator[Prompt]:
        from charrnn.errors import CharrnnError, CorpusError

        as_json = False
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            try:
                if len(line) == LONGEST_LINE:
                    raise CorpusError(f"it has more than {LONGEST_LINE:,} bytes")
                text = self._decoded(line if number > 1 else line.removeprefix(b"\xef\xbb\xbf"))
                if number == 1:
                    as_json = _prompt_of(text) is not None
                if as_json and not text.strip():
                    continue
                if as_json:
                    found = _prompt_of(text)
                    if found is None:
                        raise CorpusError('it is no JSON object with a "prompt", as the first line is')
                    yield self.of_text(found["prompt"], found)
                else:
                    yield self.of_text(text)
            except CharrnnError as error:
                raise type(error)(f"--prompts, line {number}: {error}") from error

    def _decoded(self, line: bytes) -> str:
        from charrnn.errors import CorpusError

        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            return line.decode("utf-8", "surrogateescape" if self.vocabulary.byte_level else "strict")
        except UnicodeDecodeError as error:
            bad = f"byte 0x{line[error.start]:02X} at offset {error.start}"
            raise CorpusError(f"{bad} is not utf-8; it must be UTF-8") from error

    @contextmanager
    def _advised(self) -> Iterator[None]:
        from charrnn.errors import UnknownCharacterError

        try:
            yield
        except UnknownCharacterError as error:
            if self.unknown is not Unknown.error:
                raise
            raise UnknownCharacterError(f"{error}; --unknown nearest or skip reads on") from error

    def tell(self) -> None:
        """Tell on stderr what was read for characters that are not known, each once."""
        for character, instead in self._replacement.replaced.items():
            if character not in self._told:
                self._told.add(character)
                self.out.note(f"{character!r} was {f'read as {instead!r}' if instead else 'left out'}")


def _prompt_of(line: str) -> dict[str, Any] | None:
    """A line as a JSON object with a text for a prompt; None where it is none."""
    try:
        found = json.loads(line)
        json.dumps(found, allow_nan=False)  # Python reads NaN, which is no JSON
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("prompt"), str) else None


class Starts:
    """Where texts begin: a saved state, or nothing, and then a prompt; and where one ended."""

    def __init__(
        self, out: Terminal, loaded: Sequence[Checkpoint], predictor: Predictor, saved: Path | None
    ) -> None:
        """``saved`` is the file of a state. Raises CheckpointError when it is of another model."""
        from charrnn.inference.states import load_state

        self.out, self.loaded, self.predictor = out, loaded, predictor
        self.vocabulary = loaded[0].header.vocabulary
        self._begin: Cursor | None = None
        self._long: tuple[Prompt, Cursor] | None = None  # the long prompt that was read last
        if saved is not None:
            self._begin = load_state(saved, self._identity, predictor, len(self.vocabulary))

    def of(self, prompts: Sequence[Prompt]) -> list[Cursor]:
        """One for each; the same where the prompt is the same, so that it is read once."""
        found = {prompt: self._one(prompt) for prompt in dict.fromkeys(prompts)}
        return [found[prompt] for prompt in prompts]

    def _one(self, prompt: Prompt) -> Cursor:
        import numpy as np

        from charrnn.inference.sample import opening_ids
        from charrnn.inference.states import Cursor

        if self._long and self._long[0] is prompt:
            return self._long[1]
        ids = prompt.ids
        if self._begin is not None:
            start = Cursor(np.concatenate([self._begin.unread, ids]), self._begin.state)
        else:
            start = Cursor(ids if len(ids) else opening_ids(self.vocabulary), self.predictor.start(1))
        if len(start.unread) >= LONG_PROMPT:
            start = self._read(start)
            self._long = prompt, start
        return start

    def _read(self, start: Cursor) -> Cursor:
        """All but the last character read, with a bar."""
        from charrnn.inference.network import read
        from charrnn.inference.states import Cursor

        unread, state = start.unread, start.state
        self.out.note(f"the prompt has {len(unread):,} characters; --save-state keeps where a text ends")
        with self.out.bar(desc="reading the prompt", unit="char", unit_scale=True, total=len(unread)) as bar:
            for piece, _, now in read(self.predictor, unread[:-1], state):
                bar.update(len(piece))
                state = now
        return Cursor(unread[-1:], state)

    def keep(self, path: Path, then: Cursor | None) -> None:
        """Keep where a text ended. Raises CheckpointError."""
        from charrnn.errors import CheckpointError
        from charrnn.inference.states import save_state

        assert then is not None
        try:
            save_state(path.resolve(), then, self._identity)
        except OSError as error:
            raise CheckpointError(f"--save-state {path}: {error.strerror or error}") from error

    @cached_property
    def _identity(self) -> dict[str, str]:
        """What tells models apart whose states do not fit each other."""
        symbols, digest = hashlib.sha256(), hashlib.sha256()
        for each in self.loaded:
            vocabulary = each.header.vocabulary
            symbols.update(repr((vocabulary.byte_level, vocabulary.symbols)).encode())
            for name in sorted(each.weights):
                digest.update(each.weights[name].tobytes())
        models = [each.header.model for each in self.loaded]
        return {
            "cells": ", ".join(f"{model.cell} {model.layers} x {model.hidden}" for model in models),
            "symbols": symbols.hexdigest()[:16],
            "weights": digest.hexdigest()[:16],
        }
