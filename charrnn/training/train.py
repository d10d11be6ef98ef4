"""The training loop: truncated backpropagation through time, one window a step.

Yields what happens and prints nothing. The state that learning moves is the learner's; where
the run is, what it has saved and what it does when something fails is written here.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from charrnn.config import ModelConfig, TrainConfig
from charrnn.errors import CharrnnError, CheckpointError
from charrnn.inference import sample
from charrnn.inference.network import Inference
from charrnn.runs import checkpoint, history
from charrnn.runs.checkpoint import BEST, LAST, Checkpoint, Header
from charrnn.runs.history import Report
from charrnn.text.corpus import Corpus
from charrnn.training.budget import fit, rate
from charrnn.training.devices import ProcessGroup
from charrnn.training.learner import Arrays, Learner

LOCK = ".lock"
SAMPLE_LENGTH = 120
PROGRESS_SECONDS = 0.1
RETRY_SECONDS = 30.0
"""How long after a save that the disk refused the next one is tried."""
ROLLBACKS = 3
"""How often a lost loss is met with half the learning rate before the run gives up."""
EXPLODED = 3.0
"""Times the loss of a uniform guess at which a loss counts as lost."""


@dataclass(frozen=True)
class Progress:
    """Where training is. ``nats`` is the mean training loss since the last of these."""

    step: int
    steps: int
    epoch: float
    nats: float
    characters_per_second: float


@dataclass(frozen=True)
class Notice:
    """Something that went wrong and was dealt with."""

    text: str


Event = Progress | Report | Notice


def bits(nats: float) -> float:
    """Nats per character -> bits per character."""
    return nats / math.log(2)


class _Lost(Exception):
    """The loss is no number, or far above a guess's."""


class Training:
    """A run: its learner, and where it is. ``stop = True`` ends it after the step in hand."""

    def __init__(
        self,
        corpus: Corpus,
        model: ModelConfig,
        config: TrainConfig,
        folder: Path,
        group: ProcessGroup | None = None,
        resume: Checkpoint | None = None,
        origin: dict[str, Any] | None = None,
        start: Checkpoint | None = None,
    ) -> None:
        """Nothing is written before ``run``. ``origin`` is recorded for who resumes.

        ``start`` is a model to begin from, whose symbols the corpus's vocabulary holds.

        Raises CorpusError when the text is too short, CheckpointError when ``resume`` does not fit.
        """
        self.corpus, self.config, self.folder, self.origin = corpus, config, folder, origin or {}
        self.group = group or ProcessGroup(torch.device("cpu"))
        self.learner = Learner(corpus, model, config, self.group)
        self.step, self.steps, self.report_every = 0, 0, 0
        self.best, self.stale = math.inf, 0  # the best validation, and the reports since
        self.lr_scale, self.rollbacks = 1.0, 0
        self.loss_sum, self.loss_steps = 0.0, 0  # since the last report
        self.seconds = 0.0
        self.stop = False
        self._unsaved: tuple[dict[str, Any], Arrays] | None = None  # a best that the disk refused
        self._unlogged: list[Report] = []  # and reports
        self._behind = False  # whether the disk refused the last state too
        self._resumed = resume is not None
        if start is not None:
            self.learner.load_pretrained(start.weights, start.header.vocabulary)
        if resume is not None:
            self._restore(resume)
        self._good = self._snapshot()

    @property
    def characters_per_step(self) -> float:
        """Characters learnt in a step, on average over an epoch, by all processes together."""
        batches = self.learner.batches
        return batches.streams * batches.length / batches.steps_per_epoch

    @property
    def epoch(self) -> float:
        """Times through the training text so far."""
        return self.step / self.learner.batches.steps_per_epoch

    @property
    def done(self) -> bool:
        """Whether the run has come to its end, not to a stop on the way."""
        return 0 < self.steps <= self.step or self._out_of_patience

    @property
    def _out_of_patience(self) -> bool:
        return self.config.patience is not None and self.stale >= self.config.patience

    # --- the loop ---

    def run(self) -> Iterator[Event]:
        """Train to the end of the budget, or until ``stop``.

        Raises CharrnnError when the loss is lost for good, or the run is being trained already,
        CheckpointError when the end cannot be saved.
        """
        with self._locked():
            clock = _Clock(self)
            if not self.steps:
                self.steps, self.report_every = fit(self.learner)
                clock.lap()
                self._save_last(self.learner.state())  # the budget is settled: a kill now costs nothing
            elif self.group.is_main and self._resumed:
                with _writing(self.folder):
                    history.cut(self.folder, self.step)
            self._good = self._snapshot()
            yield from self._loop(clock)
            clock.lap()
            self._save_best_and_log()
            if not self.done or self._behind:
                self._save_last(self.learner.state())
                if self.group.is_main and not (self.folder / BEST).exists():
                    self._save(BEST, {"train_nats": self._train_nats()}, self.learner.weights())

    def _loop(self, clock: _Clock) -> Iterator[Event]:
        pending: list[torch.Tensor] = []
        norm = torch.zeros(())
        told_step, told = self.step, (self.loss_sum, self.loss_steps)
        told_at = saved_at = clock.now()
        reported = (self.step, self.seconds)
        wait = self.config.save_minutes * 60
        while self.step < self.steps and not self._out_of_patience:
            share = self.lr_scale * rate(self.step, self.steps, self.config)
            loss, norm = self.learner.train_step(self.step, share)
            pending.append(loss)
            self.step += 1
            now = clock.now()
            stop, tell, save = self.group.any_of(
                [self.stop, now - told_at >= PROGRESS_SECONDS, now - saved_at >= wait]
            )
            report = self.step % self.report_every == 0 or self.step == self.steps
            if not (report or stop or tell or save):
                continue
            # Reading the losses waits for the device, so it is done now and then, not at each step.
            try:
                self._count(pending)
                now = clock.now()
                speed = (self.step - told_step) * self.characters_per_step / max(now - told_at, 1e-9)
                recent = (self.loss_sum - told[0]) / max(1, self.loss_steps - told[1])
                yield Progress(self.step, self.steps, self.epoch, recent, speed)
                if report:
                    clock.lap()
                    speed = (self.step - reported[0]) * self.characters_per_step
                    for event in self._report(float(norm), speed / max(self.seconds - reported[1], 1e-9)):
                        clock.lap()
                        yield event
            except _Lost as lost:
                yield self._roll_back(str(lost))
                told_step, told, told_at = self.step, (self.loss_sum, self.loss_steps), clock.now()
                reported = (self.step, self.seconds)
                continue
            finally:
                pending.clear()
            if report:
                reported = (self.step, self.seconds)
                saved_at, wait = clock.now(), self.config.save_minutes * 60
            elif save:
                clock.lap()
                saved_at = clock.now()
                try:
                    self._save_last(self.learner.state())
                    wait = self.config.save_minutes * 60
                except CheckpointError as error:
                    wait = RETRY_SECONDS
                    yield Notice(f"{error}; what was saved before stays, and saving is tried again")
            told_step, told, told_at = self.step, (self.loss_sum, self.loss_steps), clock.now()
            if stop:
                return

    def _count(self, pending: list[torch.Tensor]) -> None:
        losses = self.group.mean(torch.stack(pending)).cpu().double()  # not every GPU has doubles
        limit = EXPLODED * math.log(max(2, self.learner.model.symbols))
        if not bool((losses < limit).all()):  # so that NaN is caught too
            raise _Lost(f"at step {self.step} the loss is {float(losses.max()):.3g}")
        self.loss_sum += float(losses.sum())
        self.loss_steps += len(pending)

    def _roll_back(self, why: str) -> Notice:
        """To the last report, with half the learning rate. Raises CharrnnError after ROLLBACKS of them."""
        if self.rollbacks == ROLLBACKS:
            kept = f"; the best so far stays in {self.folder / BEST}" if self.best < math.inf else ""
            raise CharrnnError(f"{why}, after {ROLLBACKS} rollbacks: try a lower --lr or --clip{kept}")
        state, place = self._good
        self.learner.restore(state)
        self._set_place(place | {"lr_scale": self.lr_scale / 2, "rollbacks": self.rollbacks + 1})
        return Notice(f"{why}: back to step {self.step}, with {self.lr_scale:g} of the learning rate")

    def _train_nats(self) -> float | None:
        return self.loss_sum / self.loss_steps if self.loss_steps else None

    def _report(self, norm: float, speed: float) -> Iterator[Event]:
        """Validate, sample, save, log; the leader does, the others wait for it."""
        train_nats = self._train_nats()
        assert train_nats is not None
        validation = self.learner.validate() if self.group.is_main else None
        judged = self.group.broadcast(train_nats if validation is None else validation)
        if not math.isfinite(judged):
            raise _Lost(f"at step {self.step} the validation is {judged:g}")
        best = judged < self.best
        self.best, self.stale = min(self.best, judged), 0 if best else self.stale + 1
        report = Report(
            step=self.step,
            steps=self.steps,
            epoch=round(self.epoch, 4),
            characters=round(self.step * self.characters_per_step),
            seconds=round(self.seconds, 2),
            lr=self.config.lr * self.lr_scale * rate(self.step - 1, self.steps, self.config),
            gradient_norm=norm,
            train_nats=train_nats,
            validation_nats=validation,
            validation_bpc=None if validation is None else bits(validation),
            characters_per_second=round(speed, 1),
            best=best,
            sample=self._sample() if self.group.is_main else "",
        )
        results = {key: value for key, value in asdict(report).items() if key not in ("sample", "best")}
        self.loss_sum, self.loss_steps = 0.0, 0
        if best:
            self._unsaved = (results, self.learner.weights())
        self._good = self._snapshot()
        self._unlogged.append(report)
        try:
            # The log before the last state: a kill between them is mended by resuming, which cuts
            # the log back to the state; the other way round the line would be lost.
            self._save_best_and_log()
            self._save_last(self._good[0], results)
        except CheckpointError as error:
            yield Notice(f"{error}; what was saved before stays, and saving is tried again")
        yield report

    def _save_best_and_log(self) -> None:
        """Write what is not yet on the disk. Raises CheckpointError, and keeps what it could not write."""
        if self._unsaved is not None:
            self._save(BEST, *self._unsaved)
            self._unsaved = None
        while self._unlogged:
            if self.group.is_main:
                with _writing(self.folder / history.LOG):
                    history.append(self.folder, self._unlogged[0])
            del self._unlogged[0]

    def _sample(self) -> str:
        """A few characters of what the model writes now; training's generators are not touched."""
        vocabulary = self.corpus.vocabulary
        predictor = Inference(self.learner.model.config, self.learner.weights())
        generator = np.random.default_rng((self.config.seed, self.step))
        return vocabulary.decode(sample.sample_ids(predictor, vocabulary, SAMPLE_LENGTH, generator, 0.8))

    # --- where the run is ---

    def _place(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "steps": self.steps,
            "report_every": self.report_every,
            "best": self.best if math.isfinite(self.best) else None,
            "stale": self.stale,
            "lr_scale": self.lr_scale,
            "rollbacks": self.rollbacks,
            "loss_sum": self.loss_sum,
            "loss_steps": self.loss_steps,
        }

    def _set_place(self, place: dict[str, Any]) -> None:
        for name, value in place.items():
            setattr(self, name, value)
        self.best = math.inf if place["best"] is None else place["best"]

    def _snapshot(self) -> tuple[Arrays, dict[str, Any]]:
        return self.learner.state(), self._place()

    def _restore(self, last: Checkpoint) -> None:
        """Everything as it was when ``last`` was saved. Raises CheckpointError when it cannot be."""
        header = last.header
        if header.resume is None:
            raise CheckpointError(f"{last.path} holds no state to resume from: give the run's {LAST}")
        if header.corpus.get("sha256") != self.corpus.sha256:
            raise CheckpointError(
                f"{self.corpus.name} is not the text this run was learning"
                f" (SHA-256 {self.corpus.sha256[:12]}, the run's {str(header.corpus.get('sha256'))[:12]})"
            )
        try:
            place = {name: header.resume[name] for name in self._place()}
            for name, value in place.items():
                whole = name not in ("best", "lr_scale", "loss_sum")
                if name == "best" and value is None:
                    continue
                if type(value) not in ((int,) if whole else (int, float)) or value < 0:
                    raise ValueError(f"{name} {value!r}")
            if not (place["report_every"] > 0 and place["step"] <= place["steps"] and place["steps"] > 0):
                raise ValueError("the step is beyond the run's end")
            self._set_place(place)
            self.seconds = float(header.resume["seconds"])
            self.learner.restore(last.weights)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{last.path}: the state to resume from is damaged: {error}") from error

    # --- files ---

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The run is this process's alone; the operating system lifts the lock from a process that dies."""
        if not self.group.is_main:
            yield
            return
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / LOCK, blocking=False)
            try:
                lock.acquire()
            except Timeout as error:
                raise CharrnnError(f"{self.folder} is being trained by another process") from error
        try:
            yield
        finally:
            lock.release()

    def _save(self, name: str, results: dict[str, Any], tensors: Arrays, **resume: Any) -> None:
        if not self.group.is_main:
            return
        header = Header(
            model=self.learner.model.config,
            vocabulary=self.corpus.vocabulary,
            training=self.config,
            corpus={
                "name": self.corpus.name,
                "sha256": self.corpus.sha256,
                "characters": len(self.corpus.ids),
            },
            results=results,
            versions=checkpoint.versions(torch=torch.__version__),
            resume=resume or None,
        )
        checkpoint.save_checkpoint(self.folder / name, header, tensors)

    def _save_last(self, state: Arrays, results: dict[str, Any] | None = None) -> None:
        """Weights and all that going on needs."""
        results = results or {"step": self.step, "steps": self.steps, "train_nats": self._train_nats()}
        self._behind = True
        self._save(LAST, results, state, origin=self.origin, seconds=self.seconds, **self._place())
        self._behind = False


class _Clock:
    """Adds the time that passes to a run's seconds, lap by lap."""

    def __init__(self, training: Training) -> None:
        self.training, self.since = training, time.perf_counter()

    @staticmethod
    def now() -> float:
        return time.perf_counter()

    def lap(self) -> None:
        now = time.perf_counter()
        self.training.seconds += now - self.since
        self.since = now


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A disk that refuses is the user's to put right."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
