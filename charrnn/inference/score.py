"""The probability of a text under a model.

N: characters   V: vocabulary
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.choice import log_softmax
from charrnn.inference.network import Ids, Predictor, read
from charrnn.inference.sample import opening_ids
from charrnn.text.vocabulary import Vocabulary


def log_probabilities(predictor: Predictor, vocabulary: Vocabulary, ids: Ids) -> NDArray[np.float64]:
    """(N,) ids of a text -> (N,) log-probability in nats of each character after those before it.

    The first one is that of a sample's first character when no prompt is given.
    """
    inputs = np.concatenate([opening_ids(vocabulary), ids])[:-1]
    result = np.zeros(len(ids))
    start = 0
    for piece, logits, _ in read(predictor, inputs, predictor.start(1)):
        stop = start + len(piece)
        result[start:stop] = log_softmax(logits)[np.arange(len(piece)), ids[start:stop]]
        start = stop
    return result
