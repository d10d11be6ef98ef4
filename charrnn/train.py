"""The training loop: truncated backpropagation through time, one window a step.

Yields what happens and prints nothing. S: streams   T: characters of a window   V: vocabulary
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from charrnn import checkpoint, devices, sample
from charrnn.checkpoint import BEST, LAST, RESUME, Checkpoint, Header
from charrnn.config import ModelConfig, TrainConfig
from charrnn.corpus import Batches, Corpus
from charrnn.errors import CharrnnError, CheckpointError
from charrnn.evaluate import evaluate
from charrnn.files import replacing
from charrnn.inference import Inference
from charrnn.model import CharRNN, State, detached, load_weights, weights

LOG = "log.jsonl"
SAMPLE_LENGTH = 120
REHEARSAL = 0.02
"""Share of a budget in minutes that is spent on timing steps before the first counts."""
REPORTS = 20
"""Reports in a run, unless they would take more than ..."""
REPORTS_SHARE = 0.1
"""... this share of a budget in minutes."""
PROGRESS_SECONDS = 0.1


@dataclass(frozen=True)
class Progress:
    """Where training is. ``nats`` is the mean training loss since the last of these."""

    step: int
    steps: int
    epoch: float
    nats: float
    characters_per_second: float


@dataclass(frozen=True)
class Report:
    """A line of log.jsonl: what was saved, and how good it is. Losses in nats and bits per character."""

    step: int
    steps: int
    epoch: float
    characters: int
    seconds: float
    lr: float
    gradient_norm: float
    train_nats: float
    validation_nats: float | None
    validation_bpc: float | None
    characters_per_second: float
    best: bool
    sample: str


def bits(nats: float) -> float:
    """Nats per character -> bits per character."""
    return nats / math.log(2)


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to ``final_lr``: the rate of step ``step`` (from 0) of ``steps``."""
    warmup = max(1, round(config.warmup * steps))
    if step < warmup:
        return config.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return config.lr * (config.final_lr + (1 - config.final_lr) * (1 + math.cos(math.pi * done)) / 2)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A disk that refuses is the user's to put right."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


class Training:
    """A run: its model, its data, and where it is. ``stop = True`` ends it after the step in hand."""

    def __init__(
        self,
        corpus: Corpus,
        model_config: ModelConfig,
        config: TrainConfig,
        folder: Path,
        device: torch.device | None = None,
        resume: Checkpoint | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        """Nothing is written before ``run``. ``origin`` is recorded for who resumes.

        Raises CorpusError when the text is too short, CheckpointError when ``resume`` does not fit.
        """
        self.origin = origin or {}
        self.corpus, self.config, self.folder = corpus, config, folder
        self.device = device or torch.device("cpu")
        self.train_part, self.validation_part, _ = corpus.splits(config.split)
        ids = corpus.ids[self.train_part.start : self.train_part.stop]
        self.batches = Batches.fitted(ids, config.streams, config.bptt)
        # The first weights come from a generator of their own on the CPU: the same on every device.
        first = torch.Generator().manual_seed(config.seed)
        self.model = CharRNN(model_config, len(corpus.vocabulary), first).to(self.device)
        self.model.regularise(
            config.dropout,
            config.weight_drop,
            devices.precision(self.device, config.precision),
            torch.Generator(self.device).manual_seed(config.seed),
        )
        self.optimizer = self._optimizer()
        self.carry = self.model.start(self.batches.streams)
        self.step, self.steps, self.save_every = 0, 0, 0
        self.best = math.inf
        self.seconds = 0.0
        self.stop = False
        self.loss_sum, self.loss_steps = 0.0, 0
        if resume is not None:
            self._restore(resume)

    # --- what a run is made of ---

    def _optimizer(self) -> torch.optim.AdamW:
        config = self.config
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        vectors = [p for p in self.model.parameters() if p.dim() <= 1]
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)

    @property
    def characters_per_step(self) -> float:
        """Characters learnt in a step, on average over an epoch."""
        return self.batches.streams * self.batches.length / self.batches.steps_per_epoch

    @property
    def epoch(self) -> float:
        """Times through the training text so far."""
        return self.step / self.batches.steps_per_epoch

    def _window(self, step: int, lr: float) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of learning: the window's mean nats, and the gradient's norm before clipping."""
        inputs, targets = (
            torch.from_numpy(part).to(self.device, non_blocking=True) for part in self.batches.batch(step)
        )
        began = self._begun(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        logits, carry = self.model(inputs, began)
        loss = functional.cross_entropy(logits.reshape(-1, self.model.symbols), targets.reshape(-1))
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        limit = self.config.clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.optimizer.step()
        self.carry = detached(carry)
        return loss.detach(), norm

    def _begun(self, step: int) -> State:
        """The state before a window: the last one's end, but where a stream begins anew."""
        state = self.carry
        forget = np.random.default_rng((self.config.seed, step)).random(self.batches.streams)
        fresh = forget < self.config.reset
        if self.batches.starts_epoch(step):
            # Stream s begins again where stream s - 1 ended; only the first has no text before it.
            state = tuple(tuple(part.roll(1, 0) for part in carry) for carry in state)
            fresh[0] = True
        if not fresh.any():
            return state
        keep = torch.from_numpy(~fresh).to(self.device)[:, None]
        return tuple(tuple(part * keep for part in carry) for carry in state)

    def validate(self) -> float | None:
        """Nats per character over the validation part, None where there is none."""
        if not self.validation_part:
            return None
        return evaluate(self.model, self.corpus.ids, self.validation_part)

    # --- the budget ---

    def _fit_budget(self) -> None:
        """Turn the budget into a number of steps, once; the schedule then keeps to it."""
        config, limits = self.config, []
        if config.steps is not None:
            limits.append(config.steps)
        if config.epochs is not None:
            limits.append(math.ceil(config.epochs * self.batches.steps_per_epoch))
        reports = REPORTS
        if config.minutes is not None:
            budget = config.minutes * 60
            step_seconds, report_seconds = self._rehearse(budget * REHEARSAL)
            reports = max(1, min(REPORTS, int(budget * REPORTS_SHARE / report_seconds)))
            left = budget - self.seconds - reports * report_seconds
            limits.append(max(1, int(left / step_seconds)))
        if not limits:
            raise ValueError("config: no budget; give steps, epochs or minutes")
        self.steps = min(limits)
        self.save_every = config.save_every or max(1, math.ceil(self.steps / reports))

    def _rehearse(self, seconds: float) -> tuple[float, float]:
        """Time steps and a report that leave no trace: (seconds a step, seconds a report)."""
        generator = self.model.generator
        assert generator is not None
        state, carry, began = generator.get_state(), self.carry, time.perf_counter()
        times: list[float] = []
        while len(times) < 3 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            loss, _ = self._window(len(times), lr=0.0)  # moments move, weights do not
            float(loss)
            times.append(time.perf_counter() - start)
        step_seconds = float(np.median(times[1:]))
        self.optimizer, self.carry = self._optimizer(), carry
        generator.set_state(state)

        part = self.validation_part[: 64 * len(self.batches.ids) // 1000 + 20_000]
        start = time.perf_counter()
        if part:
            evaluate(self.model, self.corpus.ids, part)
        report_seconds = (time.perf_counter() - start) * len(self.validation_part) / max(1, len(part)) + 0.1
        self.seconds += time.perf_counter() - began
        return step_seconds, report_seconds

    # --- the loop ---

    def run(self) -> Iterator[Progress | Report]:
        """Train to the end of the budget, or until ``stop``. Raises CharrnnError when the loss is lost."""
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        clock = time.perf_counter()
        if not self.steps:
            self._fit_budget()
            clock = time.perf_counter()
        told, told_step, told_loss = clock, self.step, (self.loss_sum, self.loss_steps)
        pending: list[torch.Tensor] = []
        norm = torch.zeros(())
        reported_seconds, reported_step = self.seconds, self.step

        while self.step < self.steps and not self.stop:
            loss, norm = self._window(self.step, learning_rate(self.step, self.steps, self.config))
            pending.append(loss)
            self.step += 1
            now = time.perf_counter()
            report = self.step % self.save_every == 0 or self.step == self.steps
            if report or self.stop or now - told >= PROGRESS_SECONDS:
                # Reading the losses waits for the device, so it is done now and then, not at each step.
                self._count(pending)
                pending.clear()
                now = time.perf_counter()
                steps = max(1, self.loss_steps - told_loss[1])
                speed = (self.step - told_step) * self.characters_per_step / max(now - told, 1e-9)
                recent = (self.loss_sum - told_loss[0]) / steps
                yield Progress(self.step, self.steps, self.epoch, recent, speed)
                told, told_step, told_loss = now, self.step, (self.loss_sum, self.loss_steps)
            if report:
                self.seconds += time.perf_counter() - clock
                clock = time.perf_counter()
                span = max(self.seconds - reported_seconds, 1e-9)
                speed = (self.step - reported_step) * self.characters_per_step / span
                done = self._report(float(norm), speed)
                self.seconds += time.perf_counter() - clock
                clock = time.perf_counter()
                reported_seconds, reported_step = self.seconds, self.step
                yield done
                told, told_step, told_loss = time.perf_counter(), self.step, (0.0, 0)
        self.seconds += time.perf_counter() - clock
        if self.stop and self.step < self.steps:
            self._save_last()
            if not (self.folder / BEST).exists():
                self._save(BEST, {"train_nats": self._train_nats()}, {})

    def _count(self, pending: list[torch.Tensor]) -> None:
        losses = torch.stack(pending).double().cpu()
        if not torch.isfinite(losses).all():
            kept = f"; the best so far stays in {self.folder / BEST}" if self.best < math.inf else ""
            raise CharrnnError(
                f"the loss is no longer a number at step {self.step} (lr {self.config.lr:g}):"
                f" try a lower --lr or --clip{kept}"
            )
        self.loss_sum += float(losses.sum())
        self.loss_steps += len(pending)

    def _train_nats(self) -> float | None:
        return self.loss_sum / self.loss_steps if self.loss_steps else None

    def _report(self, norm: float, speed: float) -> Report:
        """Validate, sample, save, log."""
        train_nats, validation = self._train_nats(), self.validate()
        assert train_nats is not None
        judged = train_nats if validation is None else validation
        best = judged < self.best
        self.best = min(self.best, judged)
        report = Report(
            step=self.step,
            steps=self.steps,
            epoch=round(self.epoch, 4),
            characters=round(self.step * self.characters_per_step),
            seconds=round(self.seconds, 2),
            lr=learning_rate(self.step - 1, self.steps, self.config),
            gradient_norm=norm,
            train_nats=train_nats,
            validation_nats=validation,
            validation_bpc=None if validation is None else bits(validation),
            characters_per_second=round(speed, 1),
            best=best,
            sample=self._sample(),
        )
        results = {key: value for key, value in asdict(report).items() if key not in ("sample", "best")}
        self.loss_sum, self.loss_steps = 0.0, 0
        if best:
            self._save(BEST, results, {})
        self._save_last(results)
        self._log(report)
        return report

    def _sample(self) -> str:
        """A few characters of what the model writes now; training's generators are not touched."""
        vocabulary = self.corpus.vocabulary
        predictor = Inference(self.model.config, weights(self.model))
        generator = np.random.default_rng((self.config.seed, self.step))
        choice = sample.Choice(temperature=0.8)
        first = sample.opening(vocabulary, generator)
        drawn = sample.sample(predictor, first, choice, SAMPLE_LENGTH, generator)
        return vocabulary.decode(list(drawn))

    # --- files ---

    def _save(self, name: str, results: dict[str, Any], more: dict[str, NDArray[Any]], **resume: Any) -> None:
        header = Header(
            model=self.model.config,
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
        checkpoint.save_checkpoint(self.folder / name, header, weights(self.model) | more)

    def _save_last(self, results: dict[str, Any] | None = None) -> None:
        """Weights and all that going on needs: moments, carry, generator, place."""
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{name}.{key}"] = value
        for index, carry in enumerate(self.carry):
            for key, part in zip(self.model.stack[index].cell.carries, carry, strict=True):
                tensors[f"carry.{index}.{key}"] = part
        assert self.model.generator is not None
        tensors["generator"] = self.model.generator.get_state()
        self._save(
            LAST,
            results or {"step": self.step, "steps": self.steps, "train_nats": self._train_nats()},
            {RESUME + name: value.detach().cpu().numpy() for name, value in tensors.items()},
            origin=self.origin,
            step=self.step,
            steps=self.steps,
            save_every=self.save_every,
            seconds=self.seconds,
            best=self.best if math.isfinite(self.best) else None,
            loss_sum=self.loss_sum,
            loss_steps=self.loss_steps,
        )

    def _restore(self, last: Checkpoint) -> None:
        """Everything as it was when ``last`` was saved. Raises CheckpointError when it cannot be."""
        header, arrays = last.header, last.weights
        if header.resume is None:
            raise CheckpointError(f"{last.path} holds no state to resume from: give the run's {LAST}")
        if header.corpus.get("sha256") != self.corpus.sha256:
            raise CheckpointError(
                f"{self.corpus.name} is not the text this run was learning"
                f" (SHA-256 {self.corpus.sha256[:12]}, the run's {str(header.corpus.get('sha256'))[:12]})"
            )
        load_weights(self.model, arrays)
        try:
            place = header.resume
            self.step, self.steps, self.save_every = place["step"], place["steps"], place["save_every"]
            self.seconds = place["seconds"]
            self.best = math.inf if place["best"] is None else place["best"]
            self.loss_sum, self.loss_steps = place["loss_sum"], place["loss_steps"]
            tensors = {
                name.removeprefix(RESUME): torch.from_numpy(value.copy())
                for name, value in arrays.items()
                if name.startswith(RESUME)
            }
            for name, parameter in self.model.named_parameters():
                prefix = f"optimizer.{name}."
                self.optimizer.state[parameter] = {
                    key.removeprefix(prefix): value.to(self.device)
                    for key, value in tensors.items()
                    if key.startswith(prefix)
                }
            self.carry = tuple(
                tuple(tensors[f"carry.{index}.{key}"].to(self.device) for key in layer.cell.carries)
                for index, layer in enumerate(self.model.stack)
            )
            assert self.model.generator is not None
            self.model.generator.set_state(tensors["generator"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{last.path}: the state to resume from is damaged: {error}") from error
        self._cut_log()

    def _log(self, report: Report) -> None:
        with _writing(self.folder / LOG), (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(report), ensure_ascii=False) + "\n")

    def _cut_log(self) -> None:
        """Drop the lines of steps that were taken but not kept."""
        path = self.folder / LOG
        if not path.exists():
            return
        kept = []
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                if json.loads(line)["step"] <= self.step and line.endswith(b"\n"):
                    kept.append(line)
            except (ValueError, KeyError):
                continue  # the process ended in the middle of this line
        with _writing(path), replacing(path) as file:
            file.writelines(kept)
