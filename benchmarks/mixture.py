"""The loss of a mixture on a part of a text that its weights are not fitted on.

    charrnn train tinyshakespeare --split 90,10,0 --name net
    charrnn ngram tinyshakespeare --split 90,10,0 --name counts
    python benchmarks/mixture.py net counts

The validation part is cut into halves. The weights are fitted on each half and measured on the other one. The
last column is the mean over both.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from charrnn.cli.terminal import Terminal
from charrnn.cli.text_source import read_corpus
from charrnn.files import user_folder
from charrnn.inference import fit_mixing
from charrnn.inference.mixing import LOWEST
from charrnn.inference.mixture import Mixture, mixture_of
from charrnn.inference.network import CHUNK, Ids
from charrnn.origin import Origin
from charrnn.runs.checkpoint import load
from charrnn.runs.find import find


def main() -> None:
    """Print the loss of each model and of each form of mixture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", help="runs, pretrained models or checkpoint files")
    parser.add_argument("--text", help="the text, where the first checkpoint does not say where it is")
    parser.add_argument("--folder", type=Path, default=user_folder("checkpoints"))
    chosen = parser.parse_args()
    checkpoints = [load(find(name, chosen.folder)) for name in chosen.checkpoints]
    header = checkpoints[0].header
    origin = Origin([chosen.text]) if chosen.text else Origin.from_record(header.origin)
    corpus = read_corpus(Terminal.of_process(), origin, user_folder("corpora"), header.vocabulary.symbols)
    part = corpus.splits(header.training.split)[1]
    mixture = mixture_of(checkpoints)
    data = _read(mixture, corpus.ids, part)
    print(f"{len(data.targets):,} characters, nats per character")
    for name, loss in zip(chosen.checkpoints, data.losses, strict=True):
        print(f"{name:32} {loss:.4f}")
    half = len(data.targets) // 2
    halves = data.rows(0, half), data.rows(half, len(data.targets))
    for form in fit_mixing.CONSTANT + fit_mixing.FEATURED:
        losses = []
        for fitted_on, measured in (halves, halves[::-1]):
            mixing = fit_mixing.fit_form(form, fitted_on)
            x = measured.features if form.featured else measured.features[:, :1]
            losses.append(mixing.loss(measured.log_probabilities, x, measured.targets).nats)
        mean = np.average(losses, weights=[len(half.targets) for half in halves[::-1]])
        print(f"{tuple(form)!s:32} {losses[0]:.4f} {losses[1]:.4f} {mean:.4f}", flush=True)


def _read(mixture: Mixture, ids: Ids, part: range) -> fit_mixing.Predictions:
    """What the models predict for the whole part, which is read as one stream."""
    state, parts = mixture.start(1), []
    for start in range(part.start, part.stop, CHUNK):
        window = ids[start - 1 : min(start + CHUNK, part.stop)].astype(np.int64)
        log_probabilities, x, state = mixture.components(window[None, :-1], state, with_features=True)
        parts.append((log_probabilities.clip(LOWEST).astype(np.float32), x, window[1:]))
    return fit_mixing.Predictions(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


if __name__ == "__main__":
    main()
