"""How ``charrnn sample`` writes texts: as they are drawn, shaded, or as JSON lines."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from charrnn.cli import shades
from charrnn.cli.sample_prompts import Prompt
from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from charrnn.inference.sample import Chunk
    from charrnn.inference.states import Cursor
    from charrnn.text.novel import Run
    from charrnn.text.vocabulary import Vocabulary

SURPRISE = 8.0
"""Bits of surprise from which on a character is shaded in full."""


@dataclass
class Text:
    """One text as it comes: number ``index`` of its seed."""

    prompt: Prompt
    index: int
    seed: int | None
    ids: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ended: str | None = None
    end: Cursor | None = None
    rank: float | None = None

    def add(self, piece: Chunk) -> None:
        """What is new of it."""
        self.ids += piece.ids
        self.scores += piece.scores
        self.ended, self.end, self.rank = piece.ended, piece.end, piece.rank


Copied = Callable[[Sequence[Text]], "list[Run]"]
"""The longest run of each that stands in the corpus given."""


class Writer(Protocol):
    """Writes texts in order: the first that has not ended as it comes, each when it has ended, then all."""

    out: Terminal

    def come(self, text: Text) -> None:
        """More of it is there."""

    def end(self, text: Text) -> None:
        """All of it is there."""

    def finish(self, texts: Sequence[Text]) -> None:
        """All texts of a batch have ended."""


def deliver(texts: Sequence[Text], pieces: Iterable[Chunk], writer: Writer) -> int:
    """Texts drawn side by side, written one after the other: how many there were."""
    current = 0
    for piece in pieces:
        texts[piece.row].add(piece)
        writer.out.keep_up()
        while current < len(texts) and piece.row <= current:
            text = texts[current]
            writer.come(text)
            if text.ended is None:
                break
            writer.end(text)
            if text.ended == "stuck":
                writer.out.note(f"text {text.index} ends early: no character is left that may come")
            current += 1
    writer.finish(texts[:current])
    writer.out.flush()
    return current


class Plain:
    """Text alone, as it comes; at byte level in whole characters.

    delimiter  written after each; None where there is but one
    echo       whether the prompt stands before it
    colour     whether characters are shaded by surprise
    """

    def __init__(
        self,
        out: Terminal,
        vocabulary: Vocabulary,
        delimiter: bytes | None,
        echo: bool,
        colour: bool,
        copied: Copied | None,
    ) -> None:
        self.out, self.vocabulary, self.delimiter = out, vocabulary, delimiter
        self.echo, self.colour, self.copied = echo, colour, copied
        self._begun = False
        self._written = 0
        self._held = b""
        byte_level = vocabulary.byte_level
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace" if byte_level else "surrogatepass")
        self._surprise = 0.0

    def come(self, text: Text) -> None:
        """Write what is new; what is written is forgotten, but for those that look for copies."""
        if not self._begun:
            self._begun = True
            if self.echo:
                self.out.write(self.vocabulary.decode_bytes(text.prompt.ids))
        new = text.ids[self._written :]
        if self.colour:
            self._shade(new, text.scores[self._written :])
        elif new:
            self._write(self.vocabulary.decode_bytes(new))
        if self.copied is None:
            text.ids.clear()
            text.scores.clear()
        else:
            self._written = len(text.ids)

    def end(self, text: Text) -> None:
        """Write what was held back, and the delimiter."""
        self.out.write(self._held + (self.delimiter or b""))
        self._held, self._begun, self._written = b"", False, 0
        self._decoder.reset()
        self._surprise = 0.0

    def finish(self, texts: Sequence[Text]) -> None:
        """Tell of each what it has copied."""
        if self.copied is None:
            return
        self.out.finish()  # a terminal's line, before stderr speaks
        for text, run in zip(texts, self.copied(texts), strict=True):
            which = f"text {text.index}: " if self.delimiter is not None else ""
            if not run.length:
                self.out.note(f"{which}nothing of it stands in the corpus")
                continue
            shown = self.vocabulary.decode(text.ids[run.start : run.start + run.length])
            self.out.note(
                f"{which}the longest run copied has {run.length:,} of {len(text.ids):,} characters, at"
                f" {run.found:,} of the corpus: {shown if len(shown) <= 60 else shown[:59] + '…'!r}"
            )

    def _write(self, data: bytes) -> None:
        if self.vocabulary.byte_level:
            data = self._held + data
            whole = len(data) - unfinished(data)
            data, self._held = data[:whole], data[whole:]
        if data:
            self.out.write(data)

    def _shade(self, ids: Sequence[int], scores: Sequence[float]) -> None:
        for id, score in zip(ids, scores, strict=True):
            self._surprise -= score / math.log(2)
            for character in self._decoder.decode(self.vocabulary.decode_bytes([id])):
                value = -min(1.0, self._surprise / SURPRISE)
                self.out.write(shades.shaded(character, value).encode("utf-8", "replace"))
                self._surprise = 0.0


class Lines:
    """A JSON line for each text.

    every   whether each character's log-probability is in it
    """

    def __init__(self, out: Terminal, vocabulary: Vocabulary, every: bool, copied: Copied | None) -> None:
        self.out, self.vocabulary, self.every, self.copied = out, vocabulary, every, copied

    def come(self, text: Text) -> None:
        """A line waits for its text to end."""

    def end(self, text: Text) -> None:
        """Write it, unless it waits for what is copied."""
        if self.copied is None:
            self._write(text, None)

    def finish(self, texts: Sequence[Text]) -> None:
        """Write them with what each has copied."""
        if self.copied is not None:
            for text, run in zip(texts, self.copied(texts), strict=True):
                self._write(text, run)

    def _write(self, text: Text, run: Run | None) -> None:
        from charrnn.files import json_line

        line: dict[str, Any] = text.prompt.fields | {
            "index": text.index,
            "prompt": text.prompt.text,
            "text": self.vocabulary.decode(text.ids),
            "seed": text.seed,
            "log_probability": _number(math.fsum(text.scores)),
            "ended": text.ended,
        }
        if text.rank is not None:
            line["score"] = _number(text.rank)
        if self.every:
            line["log_probabilities"] = [_number(score) for score in text.scores]
        if run is not None:
            copied = self.vocabulary.decode(text.ids[run.start : run.start + run.length])
            line["copied"] = {**run._asdict(), "text": copied}
        self.out.write(json_line(line))


def _number(value: float) -> float | None:
    """JSON knows no infinity; and the digits in which batches of other sizes differ are of no use."""
    return round(value, 4) if math.isfinite(value) else None


def unfinished(data: bytes) -> int:
    """How many bytes at the end begin a character of UTF-8 that is not whole."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC2:
            length = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return back if back < length and byte <= 0xF4 else 0
        if byte < 0x80:
            return 0
    return 0
