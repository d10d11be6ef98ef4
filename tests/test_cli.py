"""The commands as a user meets them: what stdout carries, what stderr says, how they end."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import typer
from safetensors.numpy import load_file

from charrnn import __version__
from charrnn.cli import app, main
from charrnn.cli.terminal import Terminal, printable
from charrnn.cli.train_options import parse_params
from charrnn.cli.train_plan import BUDGET, WITH_RESUME, make_plan
from charrnn.cli.train_progress import stopped
from charrnn.config import LEARNING_RATES, ModelConfig, TrainConfig
from charrnn.errors import CheckpointError
from charrnn.origin import Origin
from charrnn.runs import checkpoint, history
from charrnn.runs import find as find_module
from charrnn.runs.checkpoint import BEST
from charrnn.runs.lock import LOCK, locked
from charrnn.runs.new_run import new_run_folder
from tests.conftest import TEXT, Ran, charrnn

TINY = ["--hidden", "8", "--embedding", "4", "--streams", "4", "--bptt", "16"]


def process(*arguments: str, **settings) -> subprocess.CompletedProcess[bytes]:
    """Run one command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "charrnn", *arguments], capture_output=True, check=False, **settings
    )


def train(*arguments: str, **settings) -> Ran:
    """Train a tiny model for 12 steps."""
    return charrnn("train", *arguments, *TINY, "--steps", "12", **settings)


def one_line(done: Ran, status: int = 1) -> str:
    """The only line that a mistake prints."""
    assert done.status == status, done.err
    assert done.out == b""
    (line,) = done.err.splitlines()
    assert "Traceback" not in line
    return line


@pytest.fixture
def text() -> Path:
    path = Path("notes.txt")
    path.write_text(TEXT, encoding="utf-8")
    return path


# --- the chain ---


@pytest.mark.slow
def test_train_prints_only_the_path_of_the_checkpoint_which_other_commands_take(text: Path) -> None:
    done = train(str(text))
    assert done.status == 0
    assert done.text == "checkpoints/notes/model.safetensors\n"
    sampled = charrnn("sample", done.text.strip(), "--prompt", "the", "--length", "40", "--seed", "1")
    assert len(sampled.text) == 43
    assert sampled.text.startswith("the")
    values = charrnn("inspect-cell", "notes", "--unit", "3", "--json", stdin=sampled.out)
    lines = [json.loads(line) for line in values.text.splitlines()]
    assert "".join(line["char"] for line in lines) == sampled.text
    assert all(-1 <= line["value"] <= 1 for line in lines)
    info = json.loads(charrnn("info", "--json").text)
    assert (info["cell"], info["layers"], info["hidden"], info["embedding"]) == ("lstm", 1, 8, 4)
    assert info["steps"] == 12
    assert info["vocabulary"] == len(set(TEXT))
    assert info["validation_bpc"] == pytest.approx(info["validation_nats"] / np.log(2))
    weights = load_file(done.text.strip())
    assert info["parameters"] == sum(array.size for array in weights.values())


def test_a_second_run_on_the_same_text_gets_another_name(text: Path) -> None:
    train(str(text))
    before = Path("checkpoints/notes/model.safetensors").read_bytes()
    done = train(str(text), "--seed", "9")
    assert done.text == "checkpoints/notes-2/model.safetensors\n"
    assert "run notes exists: this run is called notes-2" in done.err
    assert Path("checkpoints/notes/model.safetensors").read_bytes() == before


def test_a_name_that_is_taken_is_refused_and_the_resume_it_suggests_works(text: Path) -> None:
    where = ("--name", "mine", "--checkpoints", "my runs")
    train(str(text), *where)
    before = sorted((p.name, p.read_bytes()) for p in Path("my runs/mine").iterdir())
    line = one_line(train(str(text), *where))
    command = shlex.split(line.partition("resume it: charrnn ")[2])
    assert sorted((p.name, p.read_bytes()) for p in Path("my runs/mine").iterdir()) == before
    assert charrnn(*command).status == 0


@pytest.mark.parametrize(
    "left", [[], [LOCK], [LOCK, ".last.safetensors.0123abcd-99-0123abcd", "events.out.tfevents.1.host.2.0"]]
)
@pytest.mark.parametrize("name", [["--name", "notes"], []])
def test_the_folder_of_a_run_that_died_before_its_first_save_is_taken_over(
    text: Path, left: list[str], name: list[str]
) -> None:
    folder = Path("checkpoints/notes")
    folder.mkdir(parents=True)
    for file in left:
        (folder / file).touch()
    if left:
        line = one_line(charrnn("train", "--resume", "notes"))
        assert line.endswith(
            "run notes holds no checkpoint: to train it again: charrnn train TEXT --name notes"
        )
    done = train(str(text), *name)
    assert done.text == "checkpoints/notes/model.safetensors\n"
    assert "exists" not in done.err


def test_the_folder_that_a_living_run_has_not_saved_in_yet_is_not_taken_over(text: Path) -> None:
    folder = Path("checkpoints/notes")
    folder.mkdir(parents=True)
    with locked(folder):
        assert "run checkpoints/notes exists" in train(str(text), "--name", "notes").err.splitlines()[-1]
        assert train(str(text)).text == "checkpoints/notes-2/model.safetensors\n"
    assert [path.name for path in folder.iterdir()] == [LOCK]


def test_the_folder_of_another_program_is_no_run_to_resume_or_take_over(text: Path) -> None:
    Path("checkpoints/mine").mkdir(parents=True)
    Path("checkpoints/mine/diary.txt").write_text("mine")
    assert one_line(train(str(text), "--name", "mine")).endswith("mine exists: give another --name")
    assert Path("checkpoints/mine/diary.txt").read_text() == "mine"


def test_a_users_file_is_no_temporary_file_of_a_run(text: Path) -> None:
    runs = Path("checkpoints")
    (runs / "notes").mkdir(parents=True)
    mine = runs / "notes" / f".{BEST}.bak"
    mine.write_text("mine")
    assert "run checkpoints/notes exists" in one_line(train(str(text), "--name", "notes"))
    mine.unlink()
    events = runs / "notes" / "events.out.tfevents.1.host.2.0"
    events.write_text("measured")
    with new_run_folder(runs, "notes", "notes") as lock:
        assert lock.folder == runs / "notes"
    assert [path.name for path in (runs / "notes").iterdir()] == [events.name]


def test_a_folder_that_cannot_be_read_at_the_end_hides_no_error(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = new_run_folder(Path("checkpoints"), "notes", "notes")
    lock = context.__enter__()
    monkeypatch.setattr("charrnn.runs.new_run.is_free", fail)
    assert not context.__exit__(KeyError, KeyError("the real error"), None)  # it goes on
    with locked(lock.folder):  # it was released
        pass


def fail(folder: Path) -> bool:
    """A folder that cannot be read."""
    raise PermissionError(13, "Permission denied", str(folder))


@pytest.mark.parametrize(
    "name", ["../x", ".", "a/b", "", " a", ".hidden", "two\nlines", "x" * 256, "é" * 128]
)
def test_a_name_that_is_not_a_folder_name_is_refused(text: Path, name: str) -> None:
    line = one_line(train(str(text), "--name", name), 2)
    assert f"--name {printable(shlex.quote(name))}: must be a plain folder name" in line


def test_a_text_is_read_from_standard_input(text: Path) -> None:
    done = train("-", stdin=TEXT.encode())
    assert done.text == "checkpoints/stdin/model.safetensors\n"


def test_folders_several_files_and_compressed_files_are_one_text(text: Path) -> None:
    folder = Path("deep/er")
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("abc " * 30)
    (folder / "b.md").write_text("xyz " * 30)
    subprocess.run(["gzip", "-k", str(text)], check=True)
    done = train("deep", "notes.txt.gz", "--glob", "*.txt", "--name", "all")
    assert done.status == 0
    symbols = json.loads(charrnn("info", "all", "--json").text)["symbols"]
    assert set(symbols) == set(TEXT) | set("abc ")


def test_a_note_counts_what_is_skipped_in_a_folder_and_a_change_of_it_stops_a_resumed_run(text: Path) -> None:
    for name in ("folder/a.txt", "folder/.git/b.txt", "folder/.c", "folder/run/model.safetensors"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(TEXT)
    Path("folder/d.bin").write_bytes(b"\0")
    done = train("folder")
    assert done.status == 0, done.err
    note = "skipped in folder: 1 run folder, 1 hidden folder, 1 hidden file, 1 binary file"
    assert note in done.err.splitlines()
    assert json.loads(charrnn("info", "--json").text)["corpus_characters"] == len(TEXT)
    Path("folder/.c").rename("folder/c")
    assert "folder is not the text this run was learning" in charrnn("train", "--resume", "folder").err


def test_a_model_of_bytes_writes_bytes() -> None:
    Path("raw").write_bytes(bytes(range(256)) * 8)
    assert train("raw", "--bytes").status == 0
    done = charrnn("sample", "raw", "--length", "200", "--seed", "1", "--temperature", "5")
    assert len(done.out) == 200
    assert max(done.out) > 127
    line = json.loads(charrnn("inspect-cell", "raw", "--json", stdin=b"\xff\x00").text.splitlines()[0])
    assert (line["byte"], line["char"]) == (255, "\ufffd")


def test_a_resumed_run_keeps_its_settings_and_its_text(text: Path) -> None:
    train(str(text))
    done = charrnn("train", "--resume", "notes")
    assert (done.status, done.text) == (0, "checkpoints/notes/model.safetensors\n")
    assert "this run ended at step 12" in done.err
    Path("checkpoints/notes/model.safetensors").unlink()
    done = charrnn("train", "--resume", "notes")
    assert (done.status, done.out) == (1, b"")
    assert "checkpoints/notes/model.safetensors is missing" in done.err
    text.write_text(TEXT + "more")
    done = charrnn("train", "--resume", "notes")
    assert done.status == 1
    assert "notes.txt is not the text" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--resume", "tiny", "--hidden", "6"],
            "--resume tiny keeps the run's own settings: leave out --hidden",
        ),
        (["--resume", "tiny", "--from", "tiny"], "leave out --from"),
        (["--resume", "tiny", "--bytes"], "leave out --bytes"),
        (["--resume", "tiny", "--save-every", "5"], "leave out --save-every"),
        (
            ["--from", "tiny", "--cell", "lstm"],
            "--from tiny keeps that model's architecture: leave out --cell",
        ),
        (["--from", "tiny", "--params", "9k"], "leave out --params"),
        (["--from", "tiny", "--bytes"], "--from tiny: that model reads characters: leave out --bytes"),
        (["--params", "9k", "--hidden", "8"], "--params chooses the width: leave out --hidden"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_exclude_each_other_are_a_mistake(
    run: Path, text: Path, arguments: list[str], message: str
) -> None:
    assert message in one_line(charrnn("train", str(text), *arguments), 2)


def test_every_setting_of_a_run_can_be_given(text: Path) -> None:
    given = {"streams": 3, "bptt": 7, "dropout": 0.25, "weight_drop": 0.125, "precision": "float32"}
    given |= {
        "lr": 0.5,
        "muon": 0.25,
        "clip": 2.0,
        "epochs": 9.0,
        "steps": 2,
        "minutes": 0.05,
        "seed": 5,
        "optimizer": "muon",
    }
    given |= {"patience": 4, "cell": "gru", "layers": 2, "hidden": 5, "embedding": 3}
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert charrnn("train", str(text), *options, "--split", "80,15,5").status == 0
    header = checkpoint.load(Path("checkpoints/notes/model.safetensors")).header
    recorded = header.model.to_dict() | header.training.to_dict()
    assert given.items() <= recorded.items()
    assert recorded["split"] == (80, 15, 5)
    default = TrainConfig()
    for name in ("final_lr", "save_every", "save_minutes"):
        assert recorded[name] == getattr(default, name)


@pytest.mark.parametrize(
    ("arguments", "budget", "newlines"),
    [
        ([], (None, None, None), "lf"),
        (["--steps", "3", "--bytes"], (None, None, 3), "keep"),
        (["--epochs", "2", "--bytes", "--newlines", "lf"], (None, 2.0, None), "lf"),
    ],
)
def test_the_budget_and_newlines_of_a_plan(arguments: list[str], budget: tuple, newlines: str) -> None:
    command = typer.main.get_group(app).commands["train"]
    context = cast(typer.Context, command.make_context("train", arguments))
    plan = make_plan(Terminal(io.BytesIO(), io.BytesIO(), io.StringIO()), context)
    assert (plan.config.minutes, plan.config.epochs, plan.config.steps) == budget
    assert ("steps" in plan.left_open) == (not any(budget)), "the budget is chosen with the sizes"
    assert plan.origin.newlines == newlines


def test_a_run_records_where_its_text_is_for_any_working_folder(text: Path) -> None:
    record = Origin([str(text), "-", "tinyshakespeare"]).record()
    assert record["texts"] == [str(text.absolute()), "-", "tinyshakespeare"]


def test_every_option_of_train_is_a_setting_or_is_used_by_the_plan() -> None:
    settings = {field.name for config in (ModelConfig, TrainConfig) for field in dataclasses.fields(config)}
    used = {"name", "start", "params", "glob", "encoding", "as_bytes", "newlines"}
    used |= {"label", "vector", "label_by"}
    options = {parameter.name for parameter in typer.main.get_group(app).commands["train"].params}
    assert options - settings == used | set(WITH_RESUME) - {*BUDGET, "patience"}


def test_a_run_starts_with_the_weights_of_a_checkpoint_and_new_characters_get_new_rows(text: Path) -> None:
    train(str(text))
    Path("other.txt").write_text(TEXT.upper() + "zé" * 20)
    done = charrnn(
        "train", "other.txt", "--from", "notes", "--steps", "1", "--lr", "1e-12", "--optimizer", "sgd"
    )
    assert done.text == "checkpoints/other/model.safetensors\n"
    assert "knows 17 symbols; new in this text: 'A' 'C'" in done.err
    assert "'z' 'é'" in done.err
    old, new = (checkpoint.load(Path("checkpoints", name, checkpoint.BEST)) for name in ("notes", "other"))
    rows = new.header.vocabulary.encode(old.header.vocabulary.symbols)
    for name, value in old.weights.items():
        kept = new.weights[name]
        if name.startswith(("embedding", "readout")):
            assert len(kept) > len(value)
            kept = kept[rows]
        np.testing.assert_allclose(kept, value, atol=1e-9)
    assert (new.weights["readout.bias"] >= old.weights["readout.bias"].min() - 1e-6).all()
    sampled = charrnn("sample", "other", "--prompt", "the cat é", "--length", "5")
    assert sampled.status == 0


@pytest.mark.slow
def test_info_has_the_gradient_norm_and_the_clipped_share_and_an_older_log_is_read_without(
    text: Path,
) -> None:
    train(str(text), "--clip", "1e-6")
    facts = json.loads(charrnn("info", "--json").text)
    assert facts["gradient_norm"] > 0
    assert facts["clipped"] == 1
    log = Path("checkpoints/notes") / history.LOG
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text(
        "".join(json.dumps({k: v for k, v in line.items() if k != "clipped"}) + "\n" for line in lines)
    )
    assert "still improving" in charrnn("info", "notes", tty=True).text
    assert charrnn("train", "--resume", "notes", "--steps", "2").status == 0
    assert ["clipped" in report for report in history.read(Path("checkpoints/notes"))] == [False] * len(
        lines
    ) + [True]


@pytest.mark.slow
def test_a_run_that_starts_with_trained_weights_takes_a_quarter_of_the_learning_rates(text: Path) -> None:
    train(str(text))
    quarters = [
        (["--optimizer", optimizer], rate / 4, f"({'--lr, --muon' if optimizer == 'muon' else '--lr'})")
        for optimizer, rate in LEARNING_RATES.items()
    ]
    for rates, lr, names in (*quarters, (["--lr", "0.5"], 0.5, "")):
        done = charrnn("train", str(text), "--from", "notes", "--steps", "1", *rates)
        assert ("a quarter of the default learning rates" in done.err) == bool(names)
        assert names in done.err
        assert json.loads(charrnn("info", "--json").text)["training"]["lr"] == lr


@pytest.mark.parametrize(
    ("value", "settings"),
    [
        ("7", {"save_every": 7, "save_minutes": 5.0}),
        ("90s", {"save_every": None, "save_minutes": 1.5}),
        ("1h", {"save_every": None, "save_minutes": 60.0}),
    ],
)
def test_save_every_is_steps_or_a_time(text: Path, value: str, settings: dict) -> None:
    assert train(str(text), "--save-every", value).status == 0
    training = json.loads(charrnn("info", "--json").text)["training"]
    assert settings.items() <= training.items()


@pytest.mark.parametrize(("value", "number"), [("1.27M", 1_270_000), ("375k", 375_000), ("45000", 45_000)])
def test_params_are_a_number_with_a_unit(value: str, number: int) -> None:
    assert parse_params(value) == number


def test_a_run_whose_text_has_moved_asks_for_its_path(text: Path) -> None:
    train(str(text))
    text.rename("moved.txt")
    line = one_line(charrnn("train", "--resume", "notes"))
    assert line.endswith("give its new path: charrnn train TEXT --resume notes")
    assert charrnn("train", "moved.txt", "--resume", "notes").status == 0


def test_a_run_that_read_a_pipe_asks_for_the_text_again() -> None:
    train("-", stdin=TEXT.encode())
    line = one_line(charrnn("train", "--resume", "stdin"), 2)
    assert line.endswith("pipe the text in again: charrnn train - --resume stdin")
    assert charrnn(*line.partition(": charrnn ")[2].split(), stdin=TEXT.encode()).status == 0


@pytest.mark.parametrize("piped", [True, False])
def test_the_command_that_a_stopped_run_suggests_continues_it(text: Path, piped: bool) -> None:
    texts = ["-", str(text)] if piped else [str(text)]
    stdin = b"more" if piped else b""
    train(*texts, "--name", "mine", "--checkpoints", "my runs", stdin=stdin)
    origin = checkpoint.load(Path("my runs/mine/last.safetensors")).header.origin
    training = SimpleNamespace(origin=origin, folder=Path("my runs/mine"), step=3, steps=12)
    message = stopped(training, signal.SIGTERM, {"corpora": Path("my texts")})  # type: ignore[arg-type]
    assert message.status == 143
    assert str(message).startswith("SIGTERM: saved at step 3 of 12; to continue")
    assert ("pipe the text in again" in str(message)) == piped
    command = shlex.split(str(message).partition(": charrnn ")[2])
    assert command[-4:] == ["--resume", "my runs/mine", "--corpora", "my texts"]
    assert charrnn(*command, stdin=stdin).status == 0


@pytest.mark.slow
def test_ctrl_c_and_sigterm_save_and_exit_with_130_and_143(text: Path) -> None:
    for number, status, name in ((signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")):
        command = ["train", str(text), *TINY, "--steps", "1000000", "--save-every", "5", "--name", name]
        running = subprocess.Popen(
            [sys.executable, "-m", "charrnn", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith(b"step"):
                break
        running.send_signal(number)
        out, err = running.communicate()
        assert running.returncode == status
        assert out == b""
        last_line = err.decode().splitlines()[-1]
        assert last_line.startswith(f"{name}: saved at step")
        assert last_line.endswith(f": charrnn train --resume {name}")
        assert charrnn("sample", name, "--length", "3").status == 0
        assert Path(f"checkpoints/{name}/last.safetensors").exists()


def test_tensorboard_gets_every_report(text: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "pip install tensorboard" in train(str(text), "--tensorboard").err
    written: list[tuple] = []

    class SummaryWriter(contextlib.AbstractContextManager):
        def __init__(self, folder: str) -> None:
            assert folder == "checkpoints/board"

        def __exit__(self, *failure) -> None:
            pass

        def add_scalar(self, *event) -> None:
            written.append(event)

        add_text = add_scalar

        def flush(self) -> None:
            pass

    module = SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    assert train(str(text), "--tensorboard", "--save-every", "6", "--name", "board").status == 0
    assert [event[2] for event in written if event[0] == "validation_nats"] == [6, 12]


def test_a_terminal_shows_the_loss_curve_and_a_pipe_gets_text_only(text: Path) -> None:
    train(str(text), "--save-every", "4")
    seen = charrnn("info", tty=True).text
    assert "nats per character, over epochs" in seen
    assert "validation" in seen.splitlines()[-3]
    assert "still improving" in seen.splitlines()[-2]
    assert "charrnn train --resume notes --steps 12" in seen.splitlines()[-1]
    assert "over epochs" not in charrnn("info").text


# --- sampling ---


def test_the_prompt_is_printed_first_unless_no_echo_is_given(run: Path) -> None:
    both = charrnn("sample", "--prompt", "the cat", "--length", "20", "--seed", "5").out
    alone = charrnn("sample", "--prompt", "the cat", "--length", "20", "--seed", "5", "--no-echo").out
    assert both == b"the cat" + alone
    assert len(alone.decode()) == 20


def test_a_prompt_can_be_a_whole_file_or_pipe(run: Path) -> None:
    Path("p").write_text("the cat\nsat\n")
    literal = charrnn("sample", "--prompt", "the cat\nsat\n", "--seed", "5", "--length", "9").out
    assert charrnn("sample", "--prompt-file", "p", "--seed", "5", "--length", "9").out == literal
    piped = charrnn(
        "sample", "--prompt-file", "-", "--seed", "5", "--length", "9", stdin=b"the cat\r\nsat\r\n"
    )
    assert piped.out == literal


def test_the_random_seed_is_printed_and_gives_the_same_sample_again(run: Path) -> None:
    first = charrnn("sample", "--length", "30")
    seed = first.err.split()[-1]
    assert charrnn("sample", "--length", "30", "--seed", seed).out == first.out


def test_temperature_0_needs_no_seed(run: Path) -> None:
    one, two = (charrnn("sample", "--length", "30", "--temperature", "0", "--prompt", "t") for _ in range(2))
    assert one.out == two.out
    assert one.err == ""


@pytest.mark.parametrize("temperature", ["0", "1e-9", "0.5", "100"])
def test_any_temperature_from_0_up_can_be_sampled(run: Path, temperature: str) -> None:
    assert len(charrnn("sample", "--length", "30", "--temperature", temperature).text) == 30


def test_an_unknown_character_is_reported_with_code_point_and_position(run: Path) -> None:
    line = one_line(charrnn("sample", "--prompt", "the ☃"))
    assert "'☃' (U+2603 SNOWMAN) at position 4" in line
    assert "at position 700001" in one_line(
        charrnn("sample", "--prompt-file", "-", stdin=b"t" * 700_001 + b"\x00")
    )


def test_a_terminal_gets_a_last_newline_and_a_pipe_exactly_the_text(run: Path) -> None:
    arguments = ("sample", "--length", "5", "--seed", "1", "--prompt", "t")
    plain = charrnn(*arguments).out
    assert not plain.endswith(b"\n")
    assert charrnn(*arguments, tty=True).out == plain + b"\n"


def test_the_default_checkpoint_is_the_newest_run(run: Path) -> None:
    newer = shutil.copytree(run, run.parent / "newer")
    os.utime(newer / "model.safetensors", (2e9, 2e9))
    assert Path(json.loads(charrnn("info", "--json").text)["path"]).parent.name == "newer"


def test_the_environment_sets_the_folder_of_the_runs(run: Path, monkeypatch) -> None:
    elsewhere = shutil.move(run.parent, "elsewhere")
    monkeypatch.setenv("CHARRNN_CHECKPOINTS", elsewhere)
    assert charrnn("sample", "tiny", "--length", "3").status == 0


class Closing(io.BytesIO):
    """A reader that goes away after a few bytes."""

    def write(self, data) -> int:
        if self.tell() > 50:
            raise BrokenPipeError
        return super().write(data)


def test_a_reader_that_goes_away_ends_a_sample_without_an_error(run: Path) -> None:
    err = io.StringIO()
    assert main(["sample", "--length", "0"], Terminal(io.BytesIO(), Closing(), err)) == 0
    assert err.getvalue().startswith("seed")
    assert len(err.getvalue().splitlines()) == 1


@pytest.mark.slow
def test_head_ends_an_endless_sample_without_a_message(run: Path) -> None:
    pipeline = (
        f"{sys.executable} -m charrnn sample --length 0 --seed 1 | head -c 100; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", pipeline], capture_output=True, check=True)
    assert done.stdout[-2:] == b"0\n"
    assert len(done.stdout) == 102
    assert done.stderr == b"seed 1\n"


def test_output_reaches_a_pipe_while_it_is_generated(run: Path) -> None:
    now = [0.0]
    flushed: list[bytes] = []

    class Watched(io.BytesIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    terminal = Terminal(io.BytesIO(), Watched(), io.StringIO(), clock=lambda: now[0])
    for _ in range(20):
        now[0] += 0.125
        terminal.write(b"x")
    assert [len(part) for part in flushed] == list(range(2, 21, 2))


# --- inspecting ---


def test_a_text_cannot_steer_the_terminal() -> None:
    Path("esc.txt").write_bytes(b"\x1b[2J\x07\x9b" * 40)
    train("esc.txt", "--encoding", "latin-1")
    painted = charrnn("inspect-cell", "--colour", "always", "esc.txt", "--sample", "50")
    assert painted.status == 1  # a text and a sample
    painted = charrnn("inspect-cell", "--colour", "always", "--sample", "50", "--seed", "1")
    assert "\x1b[2J" not in painted.text
    assert "\x07" not in painted.text
    assert "␛" in painted.text


def test_inspect_cell_reads_a_new_sample_where_nothing_is_piped_in(run: Path) -> None:
    done = charrnn("inspect-cell", "--json", tty=True)
    assert len(done.text.splitlines()) == 500


# --- mistakes ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "missing.txt"], "no file or folder missing.txt"),
        (["train", "empty.txt"], "the text is empty"),
        (["train", "one.txt"], "at least 2"),
        (["train", "folder"], "holds no file that matches"),
        (["train", "bad.txt"], "byte 0xFF at offset 3 is not utf-8"),
        (["train", "--resume", "checkpoints/tiny/model.safetensors"], "give the run's last.safetensors"),
        (["train", "--resume", "nothing"], "no checkpoint is called nothing"),
        (["sample", "nothing"], "no checkpoint is called nothing; runs in checkpoints: tiny"),
        (["train", "my own words"], "no file or folder my own words; to read these words themselves, pipe"),
        (["inspect-cell", "tiny", "my words"], "no file or folder my words; to read these words themselves"),
        (["sample", "notes.txt"], "notes.txt is a text, not a checkpoint; to train on a text: charrnn train"),
        (["sample", "cut.safetensors"], "not a checkpoint, or is damaged"),
        (["sample", "--prompt-file", "missing"], "no file or folder missing"),
        (["corpus", "get", "nothing"], "no corpus is called nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_on_stderr_and_exit_1(
    run: Path, text: Path, arguments: list[str], message: str
) -> None:
    Path("empty.txt").touch()
    Path("one.txt").write_text("a")
    Path("folder").mkdir()
    Path("bad.txt").write_bytes(b"abc\xffdef")
    Path("cut.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:900])
    assert message in one_line(charrnn(*arguments))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "-", "-"], "give - only once"),
        (["train", "notes.txt", "--cell", "lstn"], "no cell is called lstn; did you mean lstm?"),
        (["train", "notes.txt", "--hidden", "0"], "--hidden 0"),
        (["train", "notes.txt", "--split", "0,50,50"], "--split 0,50,50"),
        (["train", "notes.txt", "--lr", "nan"], "--lr nan"),
        (["train", "notes.txt", "--encoding", "utf-9"], "--encoding utf-9"),
        (["train", "notes.txt", "--newlines", "cr"], "--newlines cr"),
        (["train", "notes.txt", "--save-every", "9999999999"], "--save-every 9999999999"),
        (["train", "notes.txt", "--params", "99999999M"], "--params 99999999000000"),
        (["train", "notes.txt", "--device", "abacus"], "--device abacus"),
        (["sample", "--temperature", "-1"], "--temperature -1"),
        (["sample", "--top-p", "0"], "--top-p 0"),
        (["sample", "--prompt", "a", "--prompt-file", "b"], "give only one of them"),
        (["inspect-cell", "--layer", "2", "--sample", "5"], "--layer 2: the model has layers 0 to 1"),
        (["inspect-cell", "--unit", "6", "--sample", "5"], "--unit 6: the model has units 0 to 5"),
        (["inspect-cell", "--of", "reset", "--sample", "5"], "--of reset: the model's cell has"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_one_line_on_stderr_and_exit_2(
    run: Path, text: Path, arguments: list[str], message: str
) -> None:
    assert message in one_line(charrnn(*arguments), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "notes.txt", "--split", "90,5"], "--split 90,5: must be three shares"),
        (["train", "notes.txt", "--save-every", "5x"], "--save-every 5x: must be steps"),
        (["train", "notes.txt", "--save-every", "0s"], "--save-every 0s: must be steps"),
        (["train", "notes.txt", "--save-every", "0"], "--save-every 0: must be steps"),
        (["train", "notes.txt", "--save-every", "0.5"], "--save-every 0.5: must be steps"),
        (["train", "notes.txt", "--params", "many"], "--params many: must be a number"),
        (["train", "notes.txt", "--params", "9" * 400], "must be a number"),
        (["train", "notes.txt", "--name", "a\x1bb/c"], r"--name 'a\x1bb/c': must be a plain folder name"),
        (["sample", "--length", "-1"], "--length"),
        (["sample", "--length", "many"], "--length"),
        (["sample", "--wrong"], "--wrong"),
        (["trian"], "trian"),
        (["inspect-cell", "--unit", "-3"], "--unit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_cannot_be_read_is_one_line_and_exit_2(arguments: list[str], message: str) -> None:
    assert message in one_line(charrnn(*arguments), 2)


def test_without_any_checkpoint_the_message_says_how_to_train_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.runs.find.pretrained", dict)
    assert "charrnn train TEXT" in one_line(charrnn("sample"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_under_stdout_is_one_line(run: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "charrnn", "sample", "--length", "50"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_one_line(text: Path) -> None:
    Path("file").touch()  # a folder below a file can be made by nobody, root included
    done = train(str(text), "--checkpoints", "file/below")
    assert done.status == 1
    assert done.out == b""
    assert "Traceback" not in done.err
    assert "cannot write" in done.err.splitlines()[-1]


# --- processes ---


def shell(command: str, **settings) -> subprocess.CompletedProcess[bytes]:
    """Run a command line of bash, in which ``charrnn`` is this program."""
    program = f'charrnn() {{ {sys.executable} -m charrnn "$@"; }}; '
    return subprocess.run(["bash", "-c", program + command], capture_output=True, check=False, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("charrnn sample --length 5 --seed 1 --prompt t <&-", 0),
        ("charrnn sample --length 5 --seed 1 --prompt t 2>&-", 0),
        ("charrnn sample --length 5 --seed 1 --prompt t 2>/dev/full", 0),
        ("charrnn sample --length 5 --seed 1 --prompt t 2> >(true)", 0),
        ("charrnn sample --length 5 >&-", 1),
        ("charrnn info >&-", 1),
        ("charrnn train --help | true; exit ${PIPESTATUS[0]}", 0),
    ],
)
def test_a_closed_or_full_stream_gives_no_traceback(run: Path, command: str, status: int) -> None:
    done = shell(command)
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr
    if status:
        assert b"cannot write to standard output" in done.stderr.splitlines()[-1]
    elif "sample" in command:
        assert len(done.stdout.decode()) == 6


@pytest.mark.slow
def test_training_continues_when_nobody_reads_its_messages(text: Path) -> None:
    done = shell(f"charrnn train notes.txt {' '.join(TINY)} --steps 300 --save-every 10 2> >(head -n 1 >&2)")
    assert done.returncode == 0
    assert done.stdout == b"checkpoints/notes/model.safetensors\n"


@pytest.mark.slow
def test_a_process_substitution_is_read_like_a_pipe(text: Path) -> None:
    done = shell(f"charrnn train <(cat notes.txt) {' '.join(TINY)} --steps 3")
    assert done.stdout == b"checkpoints/stdin/model.safetensors\n", done.stderr
    assert json.loads(charrnn("info", "--json").text)["corpus_characters"] == len(TEXT)


@pytest.mark.slow
def test_a_path_that_is_not_utf_8_is_printed_unchanged(text: Path) -> None:
    done = shell(f"charrnn train notes.txt --checkpoints $'\\xff' {' '.join(TINY)} --steps 3")
    assert done.stdout == b"\xff/notes/model.safetensors\n", done.stderr


@pytest.mark.slow
def test_a_prompt_is_utf_8_whatever_the_locale(run: Path) -> None:
    settings = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell("charrnn sample --prompt é --length 3 --seed 1", env=os.environ | settings)
    assert done.stdout.startswith("é".encode()), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["train", "x" * 300], ["sample", "x" * 5000], ["sample", "--prompt-file", "x" * 300]],
    ids=["text", "checkpoint", "prompt"],
)
def test_a_name_that_is_too_long_is_one_line(run: Path, arguments: list[str]) -> None:
    assert "File name too long" in one_line(charrnn(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "other", "--checkpoints", "loop"],
        ["runs", "rm", "loop/other", "--yes"],
        ["train", "loop"],
        ["train", "folder"],
        ["sample", "--load-state", "loop"],
    ],
    ids=" ".join,
)
def test_a_link_to_itself_is_one_line(run: Path, arguments: list[str]) -> None:
    Path("folder").mkdir()
    for link in (Path("loop"), Path("folder/loop")):
        link.symlink_to(link.name)
    one_line(charrnn(*arguments))


def test_a_network_too_large_for_the_memory_is_one_line_and_leaves_no_folder(text: Path) -> None:
    done = charrnn("train", str(text), "--hidden", "1000000", "--steps", "3")
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith("charrnn: not enough memory: try a smaller --hidden")
    assert not list(Path("checkpoints").iterdir())


def test_a_folder_that_cannot_be_read_completely_is_not_read(text: Path, monkeypatch) -> None:
    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", "texts/closed"))

    Path("texts").mkdir()
    monkeypatch.setattr(os, "walk", walk)
    assert "cannot read folder texts/closed: Permission denied" in one_line(train("texts"))


def test_two_runs_that_start_together_get_two_folders(text: Path) -> None:
    runs = Path("checkpoints")
    with (
        new_run_folder(runs, None, "notes") as first,
        new_run_folder(runs, None, "notes") as second,
    ):
        assert (first.folder.name, second.folder.name) == ("notes", "notes-2")
        with pytest.raises(CheckpointError, match="run checkpoints/notes exists"):
            new_run_folder(runs, "notes", "notes").__enter__()
        (second.folder / "model.safetensors").touch()
    assert not first.folder.exists()  # nothing was saved in it
    assert second.folder.exists()


def test_a_run_that_fails_before_it_saves_leaves_no_folder(text: Path) -> None:
    assert train(str(text), "--device", "abacus").status == 2
    assert not Path("checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        {"step": "x"},
        {"step": -5},
        {"step": 10**6},
        {"report_every": 0},
        {"best": "low"},
        {"loss_steps": None},
        {"seconds": "long"},
        {"origin": {"texts": 5}},
        {"resume.carry.0.hidden": np.zeros((3, 8), np.float32)},
        {"resume.carry.0.memory": np.zeros((4, 7), np.float32)},
        {"resume.optimizer.readout.weight.exp_avg": np.zeros((2, 2), np.float32)},
        {"resume.optimizer.layers.0.weight_hh.momentum": np.zeros((32, 8), np.float64)},
        {"resume.optimizer.readout.bias.exp_avg": None},
        {"resume.generator": np.zeros(3, np.uint8)},
    ],
    ids=lambda damage: " ".join(f"{k} {v!r:.20}" for k, v in damage.items()),
)
def test_a_damaged_state_to_resume_from_is_one_line(text: Path, damage: dict) -> None:
    train(str(text))
    path = Path("checkpoints/notes/last.safetensors")
    last = checkpoint.load(path, resume=True)
    ((name, value),) = damage.items()
    tensors = {key: tensor for key, tensor in last.weights.items() if key != name}
    header = last.header
    if name.startswith("resume."):
        tensors |= {} if value is None else {name: value}
    elif name == "origin":
        header = dataclasses.replace(header, origin=value)
    else:
        header = dataclasses.replace(header, resume={**(header.resume or {}), name: value})
    checkpoint.save_checkpoint(path, header, tensors)
    done = charrnn("train", "--resume", "notes")
    assert done.status == 1
    assert "Traceback" not in done.err
    assert "damaged" in done.err.splitlines()[-1] or "how its text was read" in done.err


def test_the_contents_of_a_checkpoint_cannot_steer_the_terminal(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")  # so that every escape sequence would be the checkpoint's
    evil = Path("\x1b[31mred.txt")
    evil.write_text(TEXT + "\x9b\u202e")
    done = train(str(evil), "--name", "evil")
    assert "\x1b" not in done.err
    shown = charrnn("info", tty=True).text
    assert "red.txt" in shown
    assert not set(shown) & set("\x1b\x9b\u202e")


def test_a_long_value_of_a_file_is_shortened_in_an_error_and_the_advice_after_it_stays(run: Path) -> None:
    with checkpoint.FORMAT.open(run / checkpoint.BEST) as (header, tensors):
        header["model"]["cell"] = "x" * 100_000
    checkpoint.FORMAT.write(run / checkpoint.BEST, header, tensors)
    line = one_line(charrnn("info", "tiny"))
    assert len(line) < 3000
    assert "does not know its cell, xxx" in line
    assert "upgrade charrnn" in line


def test_temperature_0_gives_the_same_text_for_a_model_without_a_newline() -> None:
    Path("two.txt").write_text("ab" * 20)
    train("two.txt")
    texts = {charrnn("sample", "--temperature", "0", "--length", "9").out for _ in range(8)}
    assert len(texts) == 1


def test_an_empty_text_to_inspect_and_a_folder_as_a_prompt_are_mistakes(run: Path) -> None:
    assert "the text is empty" in one_line(charrnn("inspect-cell", "tiny", stdin=b""))
    assert "is a folder" in one_line(charrnn("sample", "--prompt-file", "."))
    assert "CHECKPOINT given is empty" in one_line(charrnn("sample", ""))


def test_a_bug_keeps_its_traceback(run: Path, monkeypatch) -> None:
    def find(*arguments):
        raise ValueError("a bug")

    monkeypatch.setattr(find_module, "find", find)
    with pytest.raises(ValueError, match="a bug"):
        charrnn("info")


def test_only_the_main_process_of_several_reports_a_mistake(text: Path, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    for arguments, status in ((["--hidden", "0"], 2), (["--split", "9"], 2)):
        done = charrnn("train", str(text), *arguments)
        assert (done.status, done.err) == (status, "")


def test_the_version_is_printed() -> None:
    assert process("--version").stdout.decode() == f"charrnn {__version__}\n"
