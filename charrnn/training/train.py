"""The training loop: truncated backpropagation through time, one window a step.

The loop yields events and prints nothing. The learner makes the steps, the run state holds the run's
position and figures, and the run folder writes its files.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charrnn.config import ModelConfig, TrainConfig, check_together
from charrnn.errors import CharrnnError, CheckpointError, is_out_of_memory
from charrnn.inference import sample
from charrnn.inference.network import Inference
from charrnn.runs import checkpoint
from charrnn.runs.checkpoint import BEST, LAST, Checkpoint, Header, unusable_tensor
from charrnn.runs.history import Report
from charrnn.runs.lock import RunLock
from charrnn.text.corpus import Corpus
from charrnn.training.budget import plan_steps
from charrnn.training.devices import ProcessGroup
from charrnn.training.learner import Arrays, Learner
from charrnn.training.run_folder import RunFolder
from charrnn.training.run_state import RunState
from charrnn.training.schedule import begin_stage, lr_factor

SAMPLE_LENGTH, SAMPLE_TEMPERATURE = 120, 0.8
PROGRESS_SECONDS = 0.1  # between progress events
RETRY_SECONDS = 30.0  # from a save that the disk refused to the next attempt
ROLLBACKS = 3  # rollbacks allowed; each one halves the learning rate
DIVERGENCE = 3.0  # divergence: a loss above this multiple of log V (a uniform guess) and of the first loss


@dataclass(frozen=True)
class Progress:
    """How far training is. ``nats`` is the mean training loss since the last progress event."""

    step: int
    steps: int
    epoch: float
    nats: float


@dataclass(frozen=True)
class Notice:
    """A problem that training continues after."""

    text: str


Event = Progress | Report | Notice


class Diverged(CharrnnError):
    """The loss is NaN, infinite, or far above that of a uniform guess and that at the start.

    Or a number of the network or of its optimisers is not finite or too large: no such file can be loaded.
    """


def bits(nats: float) -> float:
    """Nats per character -> bits per character."""
    return nats / math.log(2)


class Training:
    """One run, new or resumed. Setting ``stop`` to True ends it after the current step."""

    def __init__(
        self,
        corpus: Corpus,
        model: ModelConfig,
        config: TrainConfig,
        folder: Path | RunLock,
        group: ProcessGroup | None = None,
        resume: Checkpoint | None = None,
        origin: dict[str, Any] | None = None,
        pretrained: Checkpoint | None = None,
        new_budget: bool = False,
    ) -> None:
        """``folder`` is locked while the run is trained; where a lock is given, its owner releases it.

        ``origin`` is stored for resuming; the corpus must have all symbols of the ``pretrained`` model.

        The text is read in the direction of the model.

        With ``new_budget`` the resumed run trains on for the whole budget of ``config``; without, for what
        is left of the budget that it had.

        Nothing is written before ``run``. Raises CorpusError when the text is too short,
        CheckpointError when ``resume`` does not fit.
        """
        check_together(model, config)
        corpus = corpus.in_direction(model.backward)
        self.corpus, self.config, self.origin = corpus, config, origin or {}
        lock = folder if isinstance(folder, RunLock) else RunLock(folder)
        self.group = group or ProcessGroup(torch.device("cpu"))
        self.learner = Learner(corpus, model, config, self.group)
        self.state = RunState()
        self.loss_limit = 0.0  # the loss from which training diverges; 0 before the first step
        self.stop = False
        header = Header(
            model=model,
            vocabulary=corpus.vocabulary,
            training=config,
            corpus=corpus.record(),
            versions=checkpoint.versions(torch=torch.__version__),
            name=lock.folder.name,
            parent=None if resume is None else resume.header.parent,
            origin=self.origin,
        )
        if pretrained is not None:
            header = replace(header, parent=pretrained.record())
        self.files = RunFolder(lock, header, self.group.is_main)
        if pretrained is not None:
            self.learner.load_pretrained(pretrained)
        self.planned = False
        if resume is not None:
            self._restore(resume)
            self.planned = not new_budget
        self.started = time.perf_counter() - self.state.seconds

    @property
    def folder(self) -> Path:
        """The run's folder. It changes when the folder is lost while the run is trained."""
        return self.files.path

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step

    @property
    def steps(self) -> int:
        """Steps in the whole run; 0 before the budget is known."""
        return self.state.steps

    @property
    def epoch(self) -> float:
        """Times the training text has been read so far."""
        return self.step / self.learner.data.steps_per_epoch

    @property
    def characters_per_step(self) -> float:
        """Characters read in a step by all processes together, averaged over an epoch."""
        return self.learner.data.characters_per_step

    @property
    def done(self) -> bool:
        """Whether the budget or the patience is used up."""
        patience = self.config.patience
        impatient = patience is not None and self.state.stale >= patience
        return self.planned and (self.steps <= self.step or impatient)

    def plan(self) -> None:
        """Find the steps that a new budget allows; for minutes, steps are timed. ``run`` does it too."""
        if not self.planned:
            self.state = begin_stage(self.state, self.config, *plan_steps(self.learner))
            self.planned = True

    def run(self) -> Iterator[Event]:
        """Train until the run is done or ``stop`` is set.

        Raises CharrnnError when the loss diverges too often or another process trains this run,
        CheckpointError when the files cannot be written at the start or at the end.
        """
        with self.files.lock(self.step) as is_locked:
            if not is_locked:
                yield Notice(f"{self.folder} cannot be locked here: let no other process train this run")
            self.plan()
            if self.step == self.state.stage_start:
                self._save()  # a run killed from here on can be resumed
            yield from self._loop()
            yield from self._keep_folder()
            try:
                self._save_at_the_end()
            except CheckpointError as error:
                again = f"charrnn train --resume {shlex.quote(str(self.folder))}"
                raise CheckpointError(f"{error}; to go on from the last save: {again}") from error

    def _save_at_the_end(self) -> None:
        """Save a run that has stopped, or what is not saved yet of a done one. Raises CheckpointError."""
        if self.done:
            self.files.write()
            return
        if self.state.best == math.inf:
            self.files.add_checkpoint(BEST, self.learner.weights(), self._figures())
        self._save()

    def _loop(self) -> Iterator[Event]:
        measured: list[tuple[torch.Tensor, torch.Tensor]] = []  # losses, norms since the last progress event
        self._rollback_point = self.learner.state(), replace(self.state)
        self._last_report = self.step, time.perf_counter()
        next_progress = time.perf_counter() + PROGRESS_SECONDS
        self._next_save = time.perf_counter() + self.config.save_minutes * 60
        while not self.done:
            factor = self.state.lr_scale * lr_factor(self.step, self.state, self.config)
            measured.append(self.learner.train_step(self.step, factor))
            self.state.step += 1

            report_due = self.step % self.state.report_every == 0 or self.step == self.steps
            now = time.perf_counter()
            due = [self.stop, now >= next_progress, now >= self._next_save]
            stop, progress_due, save_due = self.group.any_of(due)
            if not (stop or report_due or progress_due or save_due):
                continue  # reading the figures waits for the device, so most steps do not read them
            yield from self._events(measured, report_due, save_due, stop)
            measured.clear()
            next_progress = time.perf_counter() + PROGRESS_SECONDS
            if stop:
                return

    def _events(
        self,
        measured: list[tuple[torch.Tensor, torch.Tensor]],
        report_due: bool,
        save_due: bool,
        stop: bool,
    ) -> Iterator[Event]:
        """Read the figures since the last progress event, and make the report or the save that is due."""
        report = None
        try:
            yield self._progress(measured)
            yield from self._keep_folder()
            if report_due or save_due or stop:
                self._check_usable()
            if report_due:
                report = self._report(*self._last_report)
                # Before the next one is made: it holds the weights and the optimisers' moments.
                del self._rollback_point
                self._rollback_point = self.learner.state(), replace(self.state)
                self._save(results(report), self._rollback_point[0])
            elif save_due:
                self._save()
            if report_due or save_due:
                self._next_save = time.perf_counter() + self.config.save_minutes * 60
        except Diverged as error:
            yield self._roll_back(str(error), *self._rollback_point)
            self._last_report = self.step, time.perf_counter()
        except CheckpointError as error:
            self._next_save = time.perf_counter() + RETRY_SECONDS
            yield Notice(f"{error}; the files saved before are kept, and saving is tried again")
        if report is not None:
            self._last_report = self.step, time.perf_counter()
            yield report

    def _progress(self, measured: list[tuple[torch.Tensor, torch.Tensor]]) -> Progress:
        """Read the losses and gradient norms since the last progress event. Raises Diverged."""
        figures = torch.stack([torch.stack(column) for column in zip(*measured, strict=True)])
        nats, norms = self.group.mean(figures).cpu().double()  # not every GPU has float64
        if not self.loss_limit:  # a pretrained model may be sure of another text, and wrong
            uniform = math.log(max(2, self.learner.model.symbols))
            self.loss_limit = DIVERGENCE * max(uniform, float(nats[0]))
        if not (nats < self.loss_limit).all():  # a comparison with NaN is False
            raise Diverged(f"the loss is {float(nats.max()):.3g} at step {self.step}")
        if not norms.isfinite().all():  # the update has spoilt the weights
            raise Diverged(f"the gradient norm is {float(norms.max()):.3g} at step {self.step}")
        self.state.add_steps(nats, norms, self.config.clip)
        return Progress(self.step, self.steps, self.epoch, float(nats.mean()))

    def _report(self, last_step: int, last_time: float) -> Report:
        """Validate and sample, in the main process; the others wait for the loss. Raises Diverged.

        ``last_step`` and ``last_time`` (of time.perf_counter) are those of the report before this one.
        """
        now = time.perf_counter()
        speed = (self.step - last_step) * self.characters_per_step / (now - last_time)
        is_main, train_nats, steps = self.group.is_main, self.state.train_nats, self.state.loss_steps
        assert train_nats is not None
        validation = self.learner.validate() if is_main else None
        nats = self.group.broadcast(train_nats if validation is None else validation)
        if not math.isfinite(nats):
            raise Diverged(f"the validation loss is {nats:g} at step {self.step}")
        weights = self.learner.weights()
        report = Report(
            step=self.step,
            steps=self.steps,
            epoch=round(self.epoch, 4),
            characters=round(self.step * self.characters_per_step),
            seconds=round(now - self.started, 2),
            lr=self.config.lr * self.state.lr_scale * lr_factor(self.step - 1, self.state, self.config),
            gradient_norm=self.state.norm_sum / steps,
            clipped=self.state.clipped_steps / steps,
            train_nats=train_nats,
            validation_nats=validation,
            validation_bpc=None if validation is None else bits(validation),
            characters_per_second=round(speed, 1),
            best=self.state.add_report(nats),
            sample=self._sample(weights) if is_main else "",
        )
        self.files.add_report(report)
        if report.best:
            self.files.add_checkpoint(BEST, weights, results(report))
        return report

    def _sample(self, weights: Arrays) -> str:
        """A short sample of the model, from a generator of its own: training's is left as it is."""
        vocabulary = self.corpus.vocabulary
        predictor = Inference(self.learner.model.config, weights)
        generator = np.random.default_rng((self.config.seed, self.step))
        return sample.sample_text(predictor, vocabulary, SAMPLE_LENGTH, generator, SAMPLE_TEMPERATURE)

    def _roll_back(self, reason: str, tensors: Arrays, state: RunState) -> Notice:
        """Return to a state, with half the learning rate. Raises CharrnnError after ROLLBACKS."""
        if self.state.rollbacks >= ROLLBACKS:
            best = f"; the best model so far is in {self.folder / BEST}" if self.state.best < math.inf else ""
            raise CharrnnError(f"{reason}, after {ROLLBACKS} rollbacks: try a lower --lr or --clip{best}")
        halved, rollbacks = self.state.lr_scale / 2, self.state.rollbacks + 1
        self.learner.restore(tensors)
        self.state = replace(state, lr_scale=halved, rollbacks=rollbacks)
        return Notice(f"{reason}: back to step {self.step}, with {halved:g} times the learning rate")

    def _keep_folder(self) -> Iterator[Notice]:
        """Go on in a new folder where the run's was removed, or another run has taken it.

        Raises CheckpointError where no folder can be made.
        """
        (lost,) = self.group.any_of([self.files.is_lost()])
        if lost:
            before = self.folder
            self.files.move()
            self.state.best, self.state.stale = math.inf, 0  # the best checkpoint is gone
            yield Notice(f"the folder {before} was removed or replaced; the run is saved in {self.folder}")

    def _figures(self) -> dict[str, Any]:
        """What a checkpoint that is saved between reports says about the training."""
        return {"step": self.step, "steps": self.steps, "train_nats": self.state.train_nats}

    def _save(self, figures: dict[str, Any] | None = None, tensors: Arrays | None = None) -> None:
        """Save the state and what the disk refused before. Raises CheckpointError.

        ``figures`` and ``tensors`` are a report's; between reports they are made here.
        """
        self.state.seconds = time.perf_counter() - self.started
        figures = figures or self._figures()
        tensors = tensors or self.learner.state()
        self.files.add_checkpoint(LAST, tensors, figures, self.state.to_dict())
        self.files.write()

    def _check_usable(self) -> None:
        """Raise Diverged where a file with the state could not be loaded."""
        if (name := unusable_tensor(self.learner.state(copy=False))) is not None:
            raise Diverged(f"{name} holds values that are not finite or too large at step {self.step}")

    def _restore(self, last: Checkpoint) -> None:
        """Continue where ``last`` was saved. Raises CheckpointError."""
        header = last.header
        if header.resume is None:
            raise CheckpointError(f"{last.path} holds no state to resume from: give {LAST} of the run")
        now = self.corpus.record()
        again = f"charrnn train TEXT --from {shlex.quote(str(self.folder))}"
        if header.corpus.get("sha256") != now["sha256"]:
            raise CheckpointError(
                f"{self.corpus.name} is not the text this run was learning"
                f" (SHA-256 {self.corpus.sha256[:12]}, the run's {str(header.corpus.get('sha256'))[:12]});"
                f" for a new run on another text: {again}"
            )
        if header.corpus.get("table_sha256") != now.get("table_sha256"):
            raise CheckpointError(
                f"{self.corpus.name}: its labels, vectors or prompts are not those this run was learning;"
                f" for a new run with them: {again}"
            )
        if self.corpus.vocabulary != header.vocabulary:
            raise CheckpointError(
                f"{last.path} is damaged: read as its origin says, the text has other symbols than the model"
            )
        try:
            self.state = RunState.from_dict(header.resume)
            self.learner.restore(last.weights)
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise CheckpointError(f"{last.path}: the state to resume from is damaged: {reason}") from error


def results(report: Report) -> dict[str, Any]:
    """A report's figures, for the header of a checkpoint."""
    return {key: value for key, value in asdict(report).items() if key not in ("sample", "best")}
