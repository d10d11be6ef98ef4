"""``charrnn score --candidates``: continuations of a prompt, the most probable first."""

from __future__ import annotations

from typing import Any

from charrnn.cli.score_documents import line_scorer
from charrnn.cli.score_input import Model
from charrnn.cli.score_line_reader import windows
from charrnn.cli.table import RowWriter, probability, rounded
from charrnn.cli.terminal import Terminal
from charrnn.errors import CorpusError


def rank(out: Terminal, model: Model, options: dict[str, Any]) -> None:
    """Write the candidates as continuations of the prompt, the most probable first. Raises CharrnnError."""
    import numpy as np

    from charrnn.inference.choice import log_softmax

    path, prompt = options["candidates"], options["prompt"]
    scorer = line_scorer(out, model, options["unknown"], False, "none")
    lines = [
        line for window in windows(out, path, "--candidates") for line in window if line.content.rstrip(b"\r")
    ]
    if not lines:
        raise CorpusError(f"--candidates {path}: it has no candidates: write one on each line")
    scorer.begin(prompt or "")
    scores = scorer.score(lines)
    for line, score in zip(lines, scores, strict=True):
        if not score.characters:
            raise CorpusError(
                f"--candidates {path}, line {line.number}: the model knows none of its characters"
            )
    shares = log_softmax(np.array([-score.nats for score in scores])).tolist()
    rows = sorted(zip(lines, scores, shares, strict=True), key=lambda row: rounded(row[1].nats))
    writer = RowWriter(out, options["as_json"])
    for line, score, share in rows:
        writer.write(line.row(False, score.figures() | {"probability": probability(share)}))
    scorer.reader.report()
