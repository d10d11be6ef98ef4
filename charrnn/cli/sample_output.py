"""How ``charrnn sample`` writes samples: as text while it is generated, shaded, or as JSON lines."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.cli import shades
from charrnn.cli.sample_prompts import Prompt
from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import read_corpus
from charrnn.files import json_line
from charrnn.origin import Origin

if TYPE_CHECKING:
    from charrnn.inference.sample import Chunk
    from charrnn.inference.states import Cursor
    from charrnn.text.documents import Division
    from charrnn.text.novel import Run
    from charrnn.text.vocabulary import Vocabulary


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
    score: float | None = None

    def add(self, chunk: Chunk) -> None:
        """Append a chunk."""
        self.ids += chunk.ids
        self.scores += chunk.scores
        self.ended, self.end, self.score = chunk.ended, chunk.end, chunk.score

    def reverse(self) -> None:
        """Put the characters of a backward model's sample in text order.

        The score of END stays the last one.
        """
        size = len(self.ids)
        self.ids.reverse()
        self.scores[:size] = self.scores[:size][::-1]


class Copied(NamedTuple):
    """What a sample copies from a corpus: the longest run; whether it is a whole document of the corpus."""

    run: Run
    whole: bool | None


CopySearch = Callable[[Sequence[Sample]], "list[Copied]"]
"""Returns what each sample copies."""


def copy_search(
    out: Terminal, vocabulary: Vocabulary, corpus: str, folder: Path, division: Division | None
) -> CopySearch:
    """Read a corpus, to search it for runs of samples, and for whole documents. Raises CharrnnError."""
    import numpy as np

    from charrnn.text.document_corpus import DocumentCorpus
    from charrnn.text.novel import longest_runs
    from charrnn.text.vocabulary import code_points

    documents = division.kind if division else ""
    origin = Origin([corpus], byte_level=vocabulary.byte_level, documents=documents)
    source = read_corpus(out, origin, folder, advice="--novel reads UTF-8", option="--novel")
    corpus_ids = source.vocabulary.lookup(code_points(vocabulary.symbols))

    def search(samples: Sequence[Sample]) -> list[Copied]:
        with out.bar(desc="searching for copies", unit="char", unit_scale=True, total=len(source.ids)) as bar:
            texts = [corpus_ids[np.array(sample.ids, int)] for sample in samples]
            prompts = [corpus_ids[vocabulary.reversed_if_backward(sample.prompt.ids)] for sample in samples]
            runs = longest_runs(texts, source.ids, bar.update)
        whole: list[bool | None] = [None] * len(runs)
        if isinstance(source, DocumentCorpus):
            first, second = (texts, prompts) if vocabulary.backward else (prompts, texts)
            whole = [*source.holds([np.concatenate(pair) for pair in zip(first, second, strict=True)])]
        return [Copied(*pair) for pair in zip(runs, whole, strict=True)]

    return search


@dataclass
class Writer:
    """Writes samples in order; with ``copy_search``, also what they copy from a corpus.

    vocabulary  for ids in text order
    backward    whether a backward model writes the samples, which then come before their prompts
    """

    out: Terminal
    vocabulary: Vocabulary
    copy_search: CopySearch | None
    backward: bool = field(default=False, kw_only=True)
    documents: int = field(default=0, init=False)
    whole: int = field(default=0, init=False)

    def update(self, sample: Sample) -> None:
        """Called when a sample has grown, once all samples before it have ended."""

    def end(self, sample: Sample) -> None:
        """Called when a sample has ended, after its last update."""

    def copied(self, sample: Sample, copied: Copied, text: str) -> None:
        """Called with what a sample copies, after all samples of a batch have ended."""

    def finish(self) -> None:
        """Called after all samples."""
        if self.documents:
            self.out.note(f"{self.whole} of {self.documents} documents are in the corpus, word for word")


def write_samples(samples: Sequence[Sample], chunks: Iterable[Chunk], writer: Writer) -> int:
    """Write samples that are generated at once, one after the other. Returns how many there were."""
    current = 0
    for chunk in chunks:
        samples[chunk.row].add(chunk)
        writer.out.flush_if_due()
        while current < len(samples) and chunk.row <= current:
            sample = samples[current]
            if writer.backward and sample.ended is None:
                break
            if writer.backward:
                sample.reverse()
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
    if writer.copy_search is not None:
        ended = samples[:current]
        for sample, copied in zip(ended, writer.copy_search(ended), strict=True):
            run = copied.run
            if copied.whole is not None:
                writer.documents += 1
                writer.whole += copied.whole
            text = writer.vocabulary.decode(sample.ids[run.start : run.start + run.length])
            writer.copied(sample, copied, text)
    writer.out.flush()
    return current


@dataclass
class TextWriter(Writer):
    """Writes text alone, as it is generated; at byte level in whole characters.

    delimiter  written after each sample; None for a single sample
    echo       whether the prompt is written with each sample
    colour     whether characters are shaded by surprise, below a legend
    """

    delimiter: str | None
    echo: bool
    colour: bool
    _current: Sample | None = None
    _written: int = 0
    _surprise: float = 0.0  # bits, of the bytes that the decoder holds back

    def __post_init__(self) -> None:
        self._errors = "surrogateescape" if self.vocabulary.byte_level else "surrogatepass"
        self._decoder = codecs.getincrementaldecoder("utf-8")(self._errors)

    def update(self, sample: Sample) -> None:
        """Write what is new, and drop it where no search for copies needs it: a sample can be endless."""
        if sample is not self._current:
            if self.colour and self._current is None:
                self.out.write(shades.surprise_legend().encode())
            self._current, self._written, self._surprise = sample, 0, 0.0
            if not self.backward:
                self._write_prompt(sample)
        ids, scores = sample.ids[self._written :], sample.scores[self._written :]
        if self.colour:
            self._shade(ids, scores)
        else:
            self.out.write_text(self._decode(ids).encode("utf-8", self._errors))
        if self.copy_search is None:
            sample.ids.clear()
            sample.scores.clear()
        else:
            self._written = len(sample.ids)

    def end(self, sample: Sample) -> None:
        """Write what was held back, and the delimiter."""
        held_back = self._decoder.decode(b"", final=True)
        self.out.write_text(held_back.encode("utf-8", self._errors))
        if self.backward:
            self._write_prompt(sample)
        self.out.write((self.delimiter or "").encode("utf-8", "surrogateescape"))

    def _write_prompt(self, sample: Sample) -> None:
        ids = sample.prompt.ids
        if self.echo:
            self.out.write_text(self.vocabulary.decode_bytes(ids[::-1] if self.backward else ids))

    def copied(self, sample: Sample, copied: Copied, text: str) -> None:
        """Report the run on stderr, or that the whole document is in the corpus."""
        self.out.finish()  # ends a terminal's line before stderr is written
        run, prefix = copied.run, f"sample {sample.index}: " if self.delimiter is not None else ""
        if copied.whole:
            self.out.note(f"{prefix}a document of the corpus: {_shortened(text)}")
            return
        if not run.length:
            self.out.note(f"{prefix}no character of the sample occurs in the corpus")
            return
        self.out.note(
            f"{prefix}longest copied run: {run.length:,} of {len(sample.ids):,} characters, at position"
            f" {run.corpus_start:,} of the corpus: {_shortened(text)}"
        )

    def _decode(self, ids: list[int]) -> str:
        """The characters that these ids complete."""
        return self._decoder.decode(self.vocabulary.decode_bytes(ids))

    def _shade(self, ids: Sequence[int], scores: Sequence[float]) -> None:
        for symbol_id, score in zip(ids, scores, strict=False):  # that of END, the last, is not shown
            self._surprise -= score / math.log(2)
            for character in self._decode([symbol_id]):
                self.out.write(shades.surprising(character, self._surprise).encode("utf-8", "replace"))
                self._surprise = 0.0


@dataclass
class JsonWriter(Writer):
    """Writes a JSON line for each sample, with each character's log-probability if ``with_scores``."""

    with_scores: bool

    def end(self, sample: Sample) -> None:
        """Write the line, unless it waits for the copied run."""
        if self.copy_search is None:
            self._write(sample, {})

    def copied(self, sample: Sample, copied: Copied, text: str) -> None:
        """Write the line with the run."""
        run = copied.run
        values = {"length": run.length, "start": run.start, "found": run.corpus_start, "text": text}
        whole = {} if copied.whole is None else {"whole": copied.whole}
        self._write(sample, {"copied": values | whole})

    def _write(self, sample: Sample, more: dict[str, Any]) -> None:
        line: dict[str, Any] = sample.prompt.fields | {
            "index": sample.index,
            "prompt": sample.prompt.text,
            "text": self.vocabulary.decode(sample.ids),
            "seed": sample.seed,
            "log_probability": _rounded(math.fsum(sample.scores)),
            "ended": sample.ended,
        }
        if sample.score is not None:
            line["score"] = _rounded(sample.score)
        if self.with_scores:
            line["log_probabilities"] = [_rounded(score) for score in sample.scores]
        self.out.write(json_line(line | more))


def _shortened(text: str) -> str:
    """A text as a note shows it."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _rounded(value: float) -> float:
    """A log-probability with four digits after the point, because batches differ by rounding."""
    return round(value, 4)
