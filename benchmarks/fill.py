"""Filling gaps: how often the characters and words of a text that no model learned are found again.

    charrnn train tinyshakespeare --hidden 256 --steps 1500 --name forward
    charrnn train tinyshakespeare --hidden 256 --steps 1500 --name backward --backward
    python benchmarks/fill.py forward backward

The places are drawn from the test part. A place is a letter, or a word of 3 to 8 letters, with CONTEXT
characters of the text before and after it, cut at spaces. The gap of a word is [...], which letters match.
An answer is right if it is the text's own. The three ways share one search: the forward model alone ranks its
texts, the backward model alone ranks the same texts, and both do.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import common
import numpy as np

from charrnn.inference.fill import Filling, Gap, Template, fill, ranked
from charrnn.inference.pattern import Pattern
from charrnn.inference.predictor import predictor
from charrnn.runs.checkpoint import Checkpoint, load
from charrnn.runs.find import find
from charrnn.text.corpus import cached_corpus

CONTEXT, LONGEST = 60, 12
SEED = 1
WAYS: dict[str, Callable[[Filling], float]] = {
    "forward alone": lambda filling: filling.forward,
    "backward alone": lambda filling: filling.backward or 0.0,
    "forward + backward": lambda filling: filling.sum,
}


def test_part(checkpoint: Checkpoint) -> str:
    """The test part of the text of a run, from the cache of encoded texts."""
    header = checkpoint.header
    corpus = cached_corpus(header.corpus["sha256"], header.corpus["characters"], header.vocabulary, "text")
    if corpus is None:
        raise SystemExit("the text is not in the cache: train the runs on this machine")
    part = corpus.splits(header.training.split)[2]
    return corpus.vocabulary.decode(corpus.ids[part.start : part.stop])


def places(text: str, pattern: str, count: int) -> Iterator[tuple[str, str, str]]:
    """Yields what stands before a place, in it and after it."""
    found = [
        match for match in re.finditer(pattern, text) if CONTEXT < match.start() < len(text) - 2 * CONTEXT
    ]
    chosen = np.random.default_rng(SEED).choice(len(found), count, replace=False)
    for match in (found[index] for index in sorted(chosen.tolist())):
        before = text[match.start() - CONTEXT : match.start()]
        after = text[match.end() : match.end() + CONTEXT]
        yield before[before.index(" ") + 1 :] if " " in before else before, match[0], after.rsplit(" ", 1)[0]


def measure(forward: Checkpoint, backward: Checkpoint, kind: str, count: int, beam: int) -> list[str]:
    """The share of places that each way finds, and the seconds of a place."""
    vocabulary, turned = forward.header.vocabulary, backward.header.vocabulary
    models = predictor(forward), predictor(backward)
    gap = (
        Gap(1, 1)
        if kind == "letters"
        else Gap(0, LONGEST, Pattern("[A-Za-z]+", vocabulary, max_length=LONGEST))
    )
    pattern = "[A-Za-z]" if kind == "letters" else r"(?<![A-Za-z'])[A-Za-z]{3,8}(?![A-Za-z'])"
    right = dict.fromkeys(WAYS, 0)
    start = time.perf_counter()
    for before, truth, after in places(test_part(forward), pattern, count):
        template: Template = [*vocabulary.encode(before).tolist(), gap, *vocabulary.encode(after).tolist()]
        fillings = ranked(fill(models[0], vocabulary, template, beam), models[1], turned)
        for name, score in WAYS.items():
            right[name] += vocabulary.decode(list(max(fillings, key=score).gaps[0])) == truth
    seconds = (time.perf_counter() - start) / count
    return [kind, str(count), *(f"{100 * share / count:.1f} %" for share in right.values()), f"{seconds:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("forward")
    parser.add_argument("backward")
    parser.add_argument("--checkpoints", default="checkpoints")
    parser.add_argument("--letters", type=int, default=500)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--beam", type=int, default=32)
    given = parser.parse_args()
    models = [load(find(name, Path(given.checkpoints))) for name in (given.forward, given.backward)]
    print(f"{common.machine()}\n")
    counts = {"letters": given.letters, "words": given.words}
    rows = [measure(models[0], models[1], kind, count, given.beam) for kind, count in counts.items() if count]
    common.table(["", "places", *WAYS, "s a place"], rows)


if __name__ == "__main__":
    main()
