"""The file that keeps the fitted weights of a mixture: JSON, in the cache of texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.files import atomic_write
from charrnn.inference.fit_mixing import Fitted
from charrnn.inference.mixing import Mixing
from charrnn.runs.checkpoint import Checkpoint
from charrnn.text.cache import PRIVATE_FILE, cache_folder

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
    """Write the file. Raises OSError."""
    mixing = fitted.mixing
    arrays = {"coefficients": mixing.coefficients, "hidden": mixing.hidden}
    record = {
        **{name: None if array is None else array.tolist() for name, array in arrays.items()},
        **{name: value for name, value in asdict(fitted).items() if name != "mixing"},
        "kind": mixing.kind,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, PRIVATE_FILE) as file:
        file.write(json.dumps(record).encode())


def load(path: Path, models: int, features: int) -> Fitted | None:
    """The weights in a file; None where it is missing or damaged, or does not fit the models."""
    try:
        record = json.loads(path.read_bytes())
        return _fitted(record, models, features)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _fitted(record: dict[str, Any], models: int, features: int) -> Fitted:
    """The weights of a record. Raises ValueError, TypeError, KeyError for one that is damaged."""
    coefficients = np.array(record["coefficients"], float)
    hidden = None if record["hidden"] is None else np.array(record["hidden"], float)
    rows = {1, features} if hidden is None else {1 + hidden.shape[-1]}
    sound = coefficients.ndim == 2 and len(coefficients) in rows and coefficients.shape[1] == models
    sound = sound and (hidden is None or (hidden.ndim == 2 and len(hidden) == features))
    numbers = [*record["weights"], *record["losses"], record["loss"]]
    sound = sound and len(record["weights"]) == len(record["losses"]) == models
    arrays = (coefficients, np.array(numbers, float), *([] if hidden is None else [hidden]))
    if (
        not sound
        or record["kind"] not in ("linear", "log-linear")
        or not all(np.isfinite(a).all() for a in arrays)
    ):
        raise ValueError
    mixing = Mixing(record["kind"], coefficients, hidden)
    *means, loss = map(float, numbers)
    return Fitted(mixing, means[:models], means[models:], loss, int(record["characters"]))
