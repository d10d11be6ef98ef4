"""From the options of ``charrnn sample`` to what the generators need.

V: vocabulary
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import Origin, read_corpus
from charrnn.errors import ConfigError, UnknownCharacterError

if TYPE_CHECKING:
    from charrnn.cli.sample_cursors import Cursors
    from charrnn.cli.sample_output import CopyFinder, Sample
    from charrnn.inference.beam import Search
    from charrnn.inference.choice import Choice
    from charrnn.inference.constraints import Constraints, Stop
    from charrnn.inference.network import Mask, Predictor
    from charrnn.inference.pattern import Pattern
    from charrnn.inference.sample import Chunk
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.text.novel import Run
    from charrnn.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Plan:
    """How samples are generated; without ``search`` each is drawn by itself."""

    predictor: Predictor
    choice: Choice
    constraints: Constraints
    search: Search | None
    seed: int

    def generate(self, cursors: Cursors, samples: Sequence[Sample], scored: bool) -> Iterator[Chunk]:
        """Chunks of these samples; of a search, whose samples have one prompt, the best first.

        ``scored`` asks for log-probabilities, which a search always gives.
        """
        from charrnn.inference import sample as sampling

        start = cursors.start([sample.prompt for sample in samples])
        generators = [sampling.generator(self.seed, sample.index) for sample in samples]
        if self.search is None:
            return sampling.sample(self.predictor, start, self.choice, self.constraints, generators, scored)
        from charrnn.inference.beam import beam

        count = len(samples)
        return beam(
            self.predictor, start[0], self.choice, self.constraints, self.search, count, generators[0]
        )


def make_pattern(
    match: str | None, vocabulary: Vocabulary, allowed: Mask | None, min_length: int, length: int
) -> Pattern | None:
    """What --match asks for, None without it; ``allowed`` is (V,). Raises ConfigError."""
    if match is None:
        return None
    from charrnn.inference.pattern import Pattern

    return Pattern(match, vocabulary, allowed, min_length, length)


def mixed_predictor(checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None) -> Predictor:
    """The network of one checkpoint, or the mixture of several. Raises ConfigError."""
    from charrnn.inference.mixture import Mixture, check_vocabularies
    from charrnn.inference.network import Inference

    predictors = [Inference(checkpoint.header.model, checkpoint.weights) for checkpoint in checkpoints]
    if len(checkpoints) == 1 and weights is None:
        return predictors[0]
    check_vocabularies(
        [checkpoint.path.parent.name for checkpoint in checkpoints],
        [checkpoint.header.vocabulary for checkpoint in checkpoints],
    )
    return Mixture(predictors, [1.0] * len(checkpoints) if weights is None else weights)


def allowed_mask(
    out: Terminal, vocabulary: Vocabulary, allow: list[str] | None, ban: list[str] | None
) -> Mask | None:
    """(V,) the characters that --allow and --ban leave; None where they leave all. Raises ConfigError."""
    import numpy as np

    allowed = np.ones(len(vocabulary), bool)
    for option, strings in (("--allow", allow), ("--ban", ban)):
        if strings is None:
            continue
        characters = "".join(strings)
        if vocabulary.byte_level and not characters.isascii():
            raise ConfigError(f"{option} {characters}: a byte-level model accepts only ASCII characters here")
        if unknown := "".join(dict.fromkeys(c for c in characters if c not in vocabulary.symbols)):
            out.note(f"{option}: {unknown!r} has no effect: not in the model's vocabulary")
        listed = np.array([symbol in characters for symbol in vocabulary.symbols])
        allowed &= listed if option == "--allow" else ~listed
    return None if allowed.all() else allowed


def stop_ids(vocabulary: Vocabulary, strings: list[str] | None, newline: bool) -> tuple[Stop, ...]:
    """The stop strings as ids. Raises ConfigError."""
    stops = []
    for string in [*(strings or ()), *(["\n"] if newline else ())]:
        try:
            stops.append(tuple(vocabulary.encode(string).tolist()))
        except UnknownCharacterError as error:
            raise ConfigError(f"--stop {string!r} can never be generated: {error}") from error
    return tuple(stops)


def copy_finder(out: Terminal, vocabulary: Vocabulary, corpus: str, folder: Path) -> CopyFinder:
    """Finds the longest run of each sample that also occurs in a corpus. Raises CharrnnError."""
    import numpy as np

    from charrnn.text.novel import longest_runs
    from charrnn.text.vocabulary import code_points

    origin = Origin([corpus], byte_level=vocabulary.byte_level)
    source = read_corpus(out, origin, folder, advice="--novel reads UTF-8")
    corpus_ids = source.vocabulary.lookup(code_points(vocabulary.symbols))

    def find_copies(samples: Sequence[Sample]) -> list[Run]:
        with out.bar(desc="looking for copies", unit="char", unit_scale=True, total=len(source.ids)) as bar:
            texts = [corpus_ids[np.array(sample.ids, int)] for sample in samples]
            return longest_runs(texts, source.ids, bar.update)

    return find_copies
