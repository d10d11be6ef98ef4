"""How ``charrnn sample`` writes samples: as text while it is generated, shaded, or as JSON lines."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from charrnn.cli import shades
from charrnn.cli.sample_prompts import Prompt
from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from charrnn.inference.sample import Chunk
    from charrnn.inference.states import Cursor
    from charrnn.text.novel import Run
    from charrnn.text.vocabulary import Vocabulary

FULL_SHADE = 8.0
"""Bits of surprise from which on a character has the darkest shade."""


@dataclass
class Sample:
    """One sample while it is generated: number ``index`` of its seed; the other fields are as of Chunk."""

    prompt: Prompt
    index: int
    seed: int | None
    ids: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ended: str | None = None
    end: Cursor | None = None
    rank: float | None = None

    def add(self, chunk: Chunk) -> None:
        """Append a chunk."""
        self.ids += chunk.ids
        self.scores += chunk.scores
        self.ended, self.end, self.rank = chunk.ended, chunk.end, chunk.rank


CopyFinder = Callable[[Sequence[Sample]], "list[Run]"]
"""Finds the longest run of each sample that also occurs in a corpus."""


@dataclass
class Writer:
    """Writes samples in order."""

    out: Terminal
    vocabulary: Vocabulary
    find_copies: CopyFinder | None

    def update(self, sample: Sample) -> None:
        """The first sample that has not ended has grown."""

    def end(self, sample: Sample) -> None:
        """A sample has ended, and all before it."""

    def finish(self, samples: Sequence[Sample]) -> None:
        """All samples of a batch have ended."""


def write_samples(samples: Sequence[Sample], chunks: Iterable[Chunk], writer: Writer) -> int:
    """Write samples that are generated at once, one after the other. Returns how many there were."""
    current = 0
    for chunk in chunks:
        samples[chunk.row].add(chunk)
        writer.out.keep_up()
        while current < len(samples) and chunk.row <= current:
            sample = samples[current]
            writer.update(sample)
            if sample.ended is None:
                break
            writer.end(sample)
            if sample.ended == "stuck":
                writer.out.note(
                    f"sample {sample.index} ended early: --ban, --allow, --no-repeat or --match exclude every"
                    " character"
                )
            current += 1
    writer.finish(samples[:current])
    writer.out.flush()
    return current


@dataclass
class TextWriter(Writer):
    """Writes text alone, as it is generated; at byte level in whole characters.

    delimiter  written after each sample; None for a single sample
    echo       whether the prompt is written before each sample
    colour     whether characters are shaded by surprise
    """

    delimiter: bytes | None
    echo: bool
    colour: bool
    _started: bool = False
    _written: int = 0
    _surprise: float = 0.0  # bits, of the bytes that the decoder holds back

    def __post_init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def update(self, sample: Sample) -> None:
        """Write what is new, and drop it where no search for copies needs it: a sample can be endless."""
        if not self._started:
            self._started = True
            if self.echo:
                self.out.write(self.vocabulary.decode_bytes(sample.prompt.ids))
        ids, scores = sample.ids[self._written :], sample.scores[self._written :]
        if self.colour:
            self._shade(ids, scores)
        elif ids:
            self._write(self._decode(ids))
        if self.find_copies is None:
            sample.ids.clear()
            sample.scores.clear()
        else:
            self._written = len(sample.ids)

    def end(self, sample: Sample) -> None:
        """Write what was held back, and the delimiter."""
        self._write(self._decoder.decode(b"", final=True))
        self.out.write(self.delimiter or b"")
        self._started, self._written, self._surprise = False, 0, 0.0

    def finish(self, samples: Sequence[Sample]) -> None:
        """Report what each sample copies."""
        if self.find_copies is None:
            return
        self.out.finish()  # ends a terminal's line before stderr is written
        for sample, run in zip(samples, self.find_copies(samples), strict=True):
            prefix = f"sample {sample.index}: " if self.delimiter is not None else ""
            if not run.length:
                self.out.note(f"{prefix}no character of it occurs in the corpus")
                continue
            copy = self.vocabulary.decode(sample.ids[run.start : run.start + run.length])
            self.out.note(
                f"{prefix}longest copied run: {run.length:,} of {len(sample.ids):,} characters, at"
                f" {run.found:,} of the corpus: {copy if len(copy) <= 60 else copy[:59] + '…'!r}"
            )

    def _decode(self, ids: list[int]) -> str:
        """The characters that these ids complete."""
        if self.vocabulary.byte_level:
            return self._decoder.decode(self.vocabulary.decode_bytes(ids))
        return self.vocabulary.decode(ids)

    def _write(self, text: str) -> None:
        if text:
            errors = "surrogateescape" if self.vocabulary.byte_level else "surrogatepass"
            self.out.write(text.encode("utf-8", errors))

    def _shade(self, ids: Sequence[int], scores: Sequence[float]) -> None:
        for symbol_id, score in zip(ids, scores, strict=True):
            self._surprise -= score / math.log(2)
            for character in self._decode([symbol_id]):
                shade = -min(1.0, self._surprise / FULL_SHADE)
                self.out.write(shades.shaded(character, shade).encode("utf-8", "replace"))
                self._surprise = 0.0


@dataclass
class JsonWriter(Writer):
    """Writes a JSON line for each sample, with each character's log-probability if ``with_scores``."""

    with_scores: bool

    def end(self, sample: Sample) -> None:
        """Write the line, unless copies are still to be found."""
        if self.find_copies is None:
            self._write(sample, None)

    def finish(self, samples: Sequence[Sample]) -> None:
        """Write the lines with what each sample copies."""
        if self.find_copies is not None:
            for sample, run in zip(samples, self.find_copies(samples), strict=True):
                self._write(sample, run)

    def _write(self, sample: Sample, run: Run | None) -> None:
        from charrnn.files import json_line

        line: dict[str, Any] = sample.prompt.fields | {
            "index": sample.index,
            "prompt": sample.prompt.text,
            "text": self.vocabulary.decode(sample.ids),
            "seed": sample.seed,
            "log_probability": _number(math.fsum(sample.scores)),
            "ended": sample.ended,
        }
        if sample.rank is not None:
            line["score"] = _number(sample.rank)
        if self.with_scores:
            line["log_probabilities"] = [_number(score) for score in sample.scores]
        if run is not None:
            copy = self.vocabulary.decode(sample.ids[run.start : run.start + run.length])
            line["copied"] = {"length": run.length, "start": run.start, "found": run.found, "text": copy}
        self.out.write(json_line(line))


def _number(value: float) -> float | None:
    """A log-probability for JSON, which has no infinity; rounded, because batches differ by rounding."""
    return round(value, 4) if math.isfinite(value) else None
