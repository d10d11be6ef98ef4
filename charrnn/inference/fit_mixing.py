"""The weights of a mixture, fitted on a part of a text that none of its models was trained on.

Several forms of a mixing are fitted on one half of the part and compared on the other half, and the other
way round. The best form is fitted again on the whole part.

R: predictions   K: models   V: vocabulary   F: features   H: hidden units   P: parameters
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.inference.mixing import LOWEST, Floats, Mixing
from charrnn.inference.mixture import Mixture
from charrnn.inference.network import CHUNK, Ids
from charrnn.inference.states import concatenate_states

MAX_CHARACTERS = 60_000
"""The most characters of a part that are read, in pieces from all over the part."""
MAX_PIECES, MIN_PIECE, WARM_UP = 32, 1_000, 256
"""The most pieces, the fewest characters of one, and the characters that are read before it."""
MAX_NUMBERS = 1 << 26
"""The most log-probabilities in memory at once."""
MIN_CHARACTERS = 200
"""Characters below which no weights are fitted."""
MIN_FOR_FEATURES = 1_000
"""Characters below which the weights do not depend on the features."""
MIN_GAIN = 5e-4
"""Nats by which a larger form must be better than a smaller one."""
PRIOR = 20.0
"""The loss, summed over all characters, that the square of a coefficient costs: it keeps them small."""
HIDDEN = 16
"""Hidden units of the largest form."""


class Form(NamedTuple):
    """What is fitted: whether the weights depend on the features, and through how many hidden units."""

    kind: Literal["linear", "log-linear"]
    featured: bool = False
    hidden: int = 0


CONSTANT = (Form("linear"), Form("log-linear"))
FEATURED = (Form("linear", True), Form("log-linear", True), Form("log-linear", True, HIDDEN))
"""The forms, from small to large."""


class Predictions(NamedTuple):
    """What the models predicted for each character of a part.

    log_probabilities  (R, K, V) float32
    features           (R, F)
    targets            (R,) the characters
    """

    log_probabilities: NDArray[np.floating]
    features: Floats
    targets: NDArray[np.integer]

    def rows(self, start: int, stop: int) -> Predictions:
        """The predictions from ``start`` to ``stop``."""
        return Predictions(
            self.log_probabilities[start:stop], self.features[start:stop], self.targets[start:stop]
        )

    @property
    def losses(self) -> list[float]:
        """The mean loss of each model, in nats."""
        own = self.log_probabilities[np.arange(len(self.targets)), :, self.targets]
        return [float(loss) for loss in -own.astype(np.float64).mean(0)]


@dataclass(frozen=True)
class Fitted:
    """A fitted mixing, and what it was fitted on.

    weights     (K,) the mean weight of each model
    losses      (K,) the mean loss of each model, in nats
    loss        that of the mixture, on the halves that it was not fitted on
    characters  how many were read
    """

    mixing: Mixing
    weights: list[float]
    losses: list[float]
    loss: float
    characters: int


def predictions(
    mixture: Mixture,
    ids: Ids,
    part: range,
    symbols: int,
    progress: Callable[[int], object] = lambda characters: None,
) -> Predictions:
    """What the models of a mixture predict for ``ids[part]``, which is read from the character before it.

    The part is cut into pieces that are read at once; some characters before each piece give its state. Of a
    long part, only the beginning of each piece is read. ``progress`` is called with the number of characters
    since its last call. Raises ValueError for a part without a character to predict.
    """
    first = max(part.start, 1)
    if part.stop <= first:
        raise ValueError("part: no character to predict")
    most = min(MAX_CHARACTERS, max(MIN_CHARACTERS, MAX_NUMBERS // (symbols * len(mixture.predictors))))
    pieces = max(1, min(MAX_PIECES, (part.stop - first) // MIN_PIECE))
    spacing = (part.stop - first) // pieces
    length = min(spacing, -(-most // pieces))
    starts = first - 1 + spacing * np.arange(pieces)
    state = mixture.start(1)
    if pieces > 1:  # the first piece begins in the start state, as the whole part does
        before = ids[starts[1:, None] + np.arange(-WARM_UP, 0)].astype(np.int64)
        state = concatenate_states([state, mixture.components(before, mixture.start(pieces - 1)).state])
    parts = []
    for start in range(0, length, CHUNK // pieces):
        stop = min(start + CHUNK // pieces, length)
        window = ids[starts[:, None] + np.arange(start, stop + 1)].astype(np.int64)
        log_probabilities, x, state = mixture.components(window[:, :-1], state, with_features=True)
        arrays = (log_probabilities.clip(LOWEST).astype(np.float32), x, window[:, 1:].ravel())
        parts.append([array.reshape(pieces, stop - start, *array.shape[1:]) for array in arrays])
        progress(pieces * (stop - start))
    joined = (np.concatenate(arrays, 1) for arrays in zip(*parts, strict=True))
    return Predictions(*(array.reshape(-1, *array.shape[2:]) for array in joined))


def forms(characters: int) -> Sequence[Form]:
    """The forms to compare on a part of this length."""
    return CONSTANT if characters < MIN_FOR_FEATURES else CONSTANT + FEATURED


def fit(data: Predictions, progress: Callable[[Form], object] = lambda form: None) -> Fitted:
    """The best mixing for these predictions; ``progress`` is called after each of the ``forms``."""
    count = len(data.targets)
    halves = data.rows(0, count // 2), data.rows(count // 2, count)
    best, lowest = CONSTANT[0], np.inf
    for form in forms(count):
        total = 0.0
        for own, other in (halves, halves[::-1]):
            mixing = fit_form(form, own)
            total += len(other.targets) * mixing.loss(*_inputs(form, other)).nats
        if total / count < lowest - MIN_GAIN:
            best, lowest = form, total / count
        progress(form)
    mixing = fit_form(best, data)
    weights = mixing.weights(_inputs(best, data).features).mean(0)
    return Fitted(mixing, [float(weight) for weight in weights], data.losses, lowest, count)


def fit_form(form: Form, data: Predictions) -> Mixing:
    """The mixing of this form with the lowest loss, plus a small cost of large coefficients."""
    data = _inputs(form, data)
    count, models = data.log_probabilities.shape[:2]
    mean, scale = data.features.mean(0), data.features.std(0)
    mean[0], scale[0] = 0, 1  # the constant feature
    scale[scale < 1e-6] = 1
    data = data._replace(features=(data.features - mean) / scale)
    start = _start(form, data.features.shape[1], models)
    costs = [np.full_like(array, PRIOR / count) for array in start]
    for array in costs:
        array[0] = 0  # of the constant feature: a weight that is the same for every character costs nothing
    cost = _flat(costs)

    def penalised_loss(parameters: Floats) -> tuple[float, Floats]:
        """The loss and its gradient (P,)."""
        result = Mixing(form.kind, *_arrays(parameters, start)).loss(*data)
        gradient = _flat([part for part in result[1:] if part is not None])
        return result.nats + float(cost @ parameters**2), gradient + 2 * cost * parameters

    coefficients, *hidden = _arrays(minimise(penalised_loss, _flat(start)), start)
    first = hidden[0] if hidden else coefficients
    # the coefficients of the features as they are
    first[1:] /= scale[1:, None]
    first[0] -= mean[1:] @ first[1:]
    return Mixing(form.kind, coefficients, *hidden)


def _inputs(form: Form, data: Predictions) -> Predictions:
    """The predictions with the features that a form uses."""
    return data if form.featured else data._replace(features=data.features[:, :1])


def _start(form: Form, features: int, models: int) -> list[Floats]:
    """The first coefficients, which give equal weights; and those of the hidden layer."""
    equal = 0.0 if form.kind == "linear" else np.log(np.expm1(1 / models))
    rows = 1 + form.hidden if form.hidden else features
    coefficients = np.zeros((rows, models))
    coefficients[0] = equal
    if not form.hidden:
        return [coefficients]
    generator = np.random.default_rng(0)
    return [coefficients, generator.normal(0, 0.5 / np.sqrt(features), (features, form.hidden))]


def _flat(arrays: Sequence[Floats]) -> Floats:
    """(P,) the numbers of several arrays."""
    return np.concatenate([array.ravel() for array in arrays])


def _arrays(parameters: Floats, like: Sequence[Floats]) -> list[Floats]:
    """The arrays whose numbers are ``parameters`` (P,), with the shapes of others."""
    ends = np.cumsum([array.size for array in like])[:-1]
    parts = np.split(parameters, ends)
    return [part.reshape(array.shape) for part, array in zip(parts, like, strict=True)]


def minimise(
    function: Callable[[Floats], tuple[float, Floats]], start: Floats, steps: int = 60, memory: int = 10
) -> Floats:
    """(P,) where a smooth function, which gives its value and gradient, is lowest: L-BFGS from ``start``.

    Nocedal & Wright, Numerical Optimization (2006), algorithm 7.5. No step makes the value larger.
    """
    x, (value, gradient) = start, function(start)
    moves: deque[tuple[Floats, Floats]] = deque(maxlen=memory)  # of the argument and of the gradient
    for _ in range(steps):
        direction = -_inverse_curvature(gradient, moves)
        length = 1.0 if moves else min(1.0, 1 / (float(np.abs(gradient).sum()) + 1e-300))
        while True:
            new = x + length * direction
            new_value, new_gradient = function(new)
            if new_value <= value + 1e-4 * length * float(gradient @ direction):
                break
            length /= 4
            if length < 1e-6:
                return x
        move, change = new - x, new_gradient - gradient
        if float(move @ change) > 1e-12:
            moves.append((move, change))
        gained = value - new_value
        x, value, gradient = new, new_value, new_gradient
        if gained < 1e-6:
            break
    return x


def _inverse_curvature(gradient: Floats, moves: Sequence[tuple[Floats, Floats]]) -> Floats:
    """(P,) the gradient times the estimated inverse of the Hessian matrix."""
    result = gradient.copy()
    steps = []
    for move, change in reversed(moves):
        step = float(move @ result) / float(move @ change)
        result -= step * change
        steps.append(step)
    if moves:
        move, change = moves[-1]
        result *= float(move @ change) / float(change @ change)
    for (move, change), step in zip(moves, reversed(steps), strict=True):
        result += move * (step - float(change @ result) / float(move @ change))
    return result
