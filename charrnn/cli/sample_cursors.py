"""Where the samples of ``charrnn sample`` begin: after a saved state or nothing, then a prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.sample_prompts import Prompt
from charrnn.cli.terminal import Terminal

if TYPE_CHECKING:
    from charrnn.inference.network import Predictor
    from charrnn.inference.states import Cursor
    from charrnn.runs.checkpoint import Checkpoint

LONG_PROMPT = 100_000
"""Characters from which on reading a prompt is reported, with a progress bar."""


class Cursors:
    """Makes the cursors that samples begin at, and saves the cursor that a sample ends at."""

    def __init__(
        self, out: Terminal, checkpoints: Sequence[Checkpoint], predictor: Predictor, saved: Path | None
    ) -> None:
        """``saved``: a state file to begin from. Raises CheckpointError when it is of another model."""
        from charrnn.inference.states import load_state

        self.out, self.checkpoints, self.predictor = out, checkpoints, predictor
        self.vocabulary = checkpoints[0].header.vocabulary
        self._long: tuple[Prompt, Cursor] | None = None  # the long prompt that was read last
        self._saved: Cursor | None = None
        if saved is not None:
            self._saved = load_state(saved, self._identity, predictor, len(self.vocabulary))

    def start(self, prompts: Sequence[Prompt]) -> list[Cursor]:
        """A cursor for each prompt; equal prompts share one, so that they are read once."""
        cursors = {prompt: self._start(prompt) for prompt in dict.fromkeys(prompts)}
        return [cursors[prompt] for prompt in prompts]

    def _start(self, prompt: Prompt) -> Cursor:
        import numpy as np

        from charrnn.inference.sample import opening_ids
        from charrnn.inference.states import Cursor

        if self._long and self._long[0] is prompt:
            return self._long[1]
        if self._saved is not None:
            cursor = Cursor(np.concatenate([self._saved.unread, prompt.ids]), self._saved.state)
        else:
            ids = prompt.ids if len(prompt.ids) else opening_ids(self.vocabulary)
            cursor = Cursor(ids, self.predictor.start(1))
        if len(cursor.unread) >= LONG_PROMPT:
            cursor = self._read(cursor)
            self._long = prompt, cursor
        return cursor

    def _read(self, cursor: Cursor) -> Cursor:
        """The cursor after all but the last unread character, read with a progress bar."""
        from charrnn.inference.network import read
        from charrnn.inference.states import Cursor

        unread, state = cursor.unread, cursor.state
        self.out.note(
            f"reading a prompt of {len(unread):,} characters; --save-state saves reading it again next time"
        )
        with self.out.bar(desc="reading the prompt", unit="char", unit_scale=True, total=len(unread)) as bar:
            for ids, _, state_after in read(self.predictor, unread[:-1], state):
                bar.update(len(ids))
                state = state_after
        return Cursor(unread[-1:], state)

    def save(self, path: Path, end: Cursor) -> None:
        """Write a state file. Raises CheckpointError."""
        from charrnn.inference.states import save_state

        save_state(path.resolve(), end, self._identity)

    @cached_property
    def _identity(self) -> dict[str, str]:
        """What a state file records of the models; a state fits only models that have the same."""
        symbols, weights = hashlib.sha256(), hashlib.sha256()
        for checkpoint in self.checkpoints:
            vocabulary = checkpoint.header.vocabulary
            symbols.update(repr((vocabulary.byte_level, vocabulary.symbols)).encode())
            for name in sorted(checkpoint.weights):
                weights.update(checkpoint.weights[name].tobytes())
        models = [checkpoint.header.model for checkpoint in self.checkpoints]
        return {
            "cells": ", ".join(f"{model.cell} {model.layers} x {model.hidden}" for model in models),
            "symbols": symbols.hexdigest()[:16],
            "weights": weights.hexdigest()[:16],
        }
