"""The file that keeps the fitted weights of a mixture, in the cache of texts: a checksum, then JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from charrnn.inference.fit_mixing import Fitted
from charrnn.inference.mixing import Mixing
from charrnn.runs.checkpoint import Checkpoint
from charrnn.text.cache import cache_folder, write_private

VERSION = 1
"""Changes where the features or the forms do: files of other versions are fitted again."""


def path_of(checkpoints: Sequence[Checkpoint]) -> Path:
    """The file for the mixture of these models, in this order."""
    first = checkpoints[0].header
    models = [checkpoint.record()["weights_sha256"] for checkpoint in checkpoints]
    known = [VERSION, models, first.corpus.get("sha256"), list(first.training.split)]
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    return cache_folder() / f"{key[:32]}.json"


def save(path: Path, fitted: Fitted) -> None:
    """Write the file. Raises CorpusError."""
    text = json.dumps(asdict(fitted), default=np.ndarray.tolist).encode()
    with write_private(path) as file:
        file.write(_checksum(text) + b"\n" + text)


def load(path: Path) -> Fitted | None:
    """The weights in a file; None where it is missing or damaged."""
    try:
        if not path.is_file():  # opening a pipe would wait
            return None
        checksum, _, text = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if checksum != _checksum(text):
        return None
    record = json.loads(text)
    mixing = record.pop("mixing")
    hidden = None if mixing["hidden"] is None else np.array(mixing["hidden"], float)
    return Fitted(Mixing(mixing["kind"], np.array(mixing["coefficients"], float), hidden), **record)


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
