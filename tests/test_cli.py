"""The commands as a user meets them: what stdout carries, what stderr says, how they end."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from charrnn.cli import main
from charrnn.cli.terminal import Terminal
from charrnn.cli.train_progress import new_run_folder
from charrnn.errors import ConfigError
from charrnn.runs import checkpoint
from tests.conftest import TEXT, Ran, charrnn

TINY = ["--hidden", "8", "--embedding", "4", "--streams", "4", "--bptt", "16"]


def process(*arguments: str, **settings) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "charrnn", *arguments], capture_output=True, check=False, **settings
    )


def train(*arguments: str, **settings) -> Ran:
    return charrnn("train", *arguments, *TINY, "--steps", "12", **settings)


def a_line(done: Ran, status: int = 1) -> str:
    """The one line a mistake is told in."""
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


def test_train_prints_the_checkpoints_path_alone_and_the_rest_chains(text: Path) -> None:
    done = train(str(text))
    assert done.status == 0
    assert done.text == "checkpoints/notes/model.safetensors\n"
    sampled = charrnn("sample", done.text.strip(), "--prompt", "the", "--length", "40", "--seed", "1")
    assert len(sampled.text) == 43
    assert sampled.text.startswith("the")
    seen = charrnn("inspect-cell", "notes", "--unit", "3", stdin=sampled.out)
    lines = [json.loads(line) for line in seen.text.splitlines()]
    assert "".join(line["char"] for line in lines) == sampled.text
    assert all(-1 <= line["value"] <= 1 for line in lines)
    told = json.loads(charrnn("info", "--json").text)
    assert (told["cell"], told["layers"], told["hidden"], told["embedding"]) == ("lstm", 1, 8, 4)
    assert told["steps"] == 12
    assert told["vocabulary"] == len(set(TEXT))
    assert told["validation_bpc"] == pytest.approx(told["validation_nats"] / np.log(2))
    weights = load_file(done.text.strip())
    assert told["parameters"] == sum(array.size for array in weights.values())


def test_a_second_run_of_the_same_text_gets_a_name_of_its_own(text: Path) -> None:
    train(str(text))
    before = Path("checkpoints/notes/model.safetensors").read_bytes()
    done = train(str(text), "--seed", "9")
    assert done.text == "checkpoints/notes-2/model.safetensors\n"
    assert "run notes exists" in done.err
    assert Path("checkpoints/notes/model.safetensors").read_bytes() == before


def test_a_name_that_is_taken_is_refused_and_nothing_is_touched(text: Path) -> None:
    train(str(text), "--name", "mine")
    before = sorted((p.name, p.read_bytes()) for p in Path("checkpoints/mine").iterdir())
    assert "--resume mine" in a_line(train(str(text), "--name", "mine"))
    assert sorted((p.name, p.read_bytes()) for p in Path("checkpoints/mine").iterdir()) == before


@pytest.mark.parametrize("name", ["../x", ".", "a/b", "", ".hidden"])
def test_a_name_that_is_no_folder_name_is_refused(text: Path, name: str) -> None:
    assert "--name" in a_line(train(str(text), "--name", name))


def test_standard_input_trains(text: Path) -> None:
    done = train("-", stdin=TEXT.encode())
    assert done.text == "checkpoints/stdin/model.safetensors\n"


def test_folders_and_several_files_and_packed_ones_train_as_one_text(text: Path) -> None:
    folder = Path("deep/er")
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("abc " * 30)
    (folder / "b.md").write_text("xyz " * 30)
    subprocess.run(["gzip", "-k", str(text)], check=True)
    done = train("deep", "notes.txt.gz", "--glob", "*.txt", "--name", "all")
    assert done.status == 0
    symbols = json.loads(charrnn("info", "all", "--json").text)["symbols"]
    assert set(symbols) == set(TEXT) | set("abc ")


def test_bytes_are_learnt_and_written_as_bytes() -> None:
    Path("raw").write_bytes(bytes(range(256)) * 8)
    assert train("raw", "--bytes").status == 0
    done = charrnn("sample", "raw", "--length", "200", "--seed", "1", "--temperature", "5")
    assert len(done.out) == 200
    assert max(done.out) > 127
    line = json.loads(charrnn("inspect-cell", "raw", stdin=b"\xff\x00").text.splitlines()[0])
    assert (line["byte"], line["char"]) == (255, "\ufffd")


def test_resume_goes_on_with_the_runs_own_settings(text: Path) -> None:
    train(str(text))
    done = charrnn("train", "--resume", "notes")
    assert (done.status, done.text) == (0, "checkpoints/notes/model.safetensors\n")
    assert "--hidden" in a_line(charrnn("train", "--resume", "notes", "--hidden", "9"))
    text.write_text(TEXT + "more")
    assert "not the text this run was learning" in charrnn("train", "--resume", "notes").err


def test_a_model_is_the_start_of_another_and_new_characters_get_new_rows(text: Path) -> None:
    train(str(text))
    Path("other.txt").write_text(TEXT.upper() + "zé" * 20)
    done = charrnn("train", "other.txt", "--from", "notes", "--steps", "1", "--lr", "1e-12", "--muon", "0")
    assert done.text == "checkpoints/other/model.safetensors\n"
    assert "its 17 symbols stay, new rows for 'A' 'C'" in done.err
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


def test_a_start_keeps_its_architecture_and_its_unit(text: Path) -> None:
    train(str(text))
    assert "leave out --hidden" in a_line(charrnn("train", str(text), "--from", "notes", "--hidden", "9"))
    assert "leave out --bytes" in a_line(charrnn("train", str(text), "--from", "notes", "--bytes"))
    assert "a quarter of the usual" in charrnn("train", str(text), "--from", "notes", "--steps", "1").err


@pytest.mark.parametrize(
    ("given", "settings"),
    [("7", {"save_every": 7}), ("90s", {"save_minutes": 1.5}), ("1h", {"save_minutes": 60})],
)
def test_save_every_is_steps_or_a_time(text: Path, given: str, settings: dict) -> None:
    assert train(str(text), "--save-every", given).status == 0
    training = json.loads(charrnn("info", "--json").text)["training"]
    assert settings.items() <= training.items()


def test_resuming_says_what_to_do_when_the_text_has_moved(text: Path) -> None:
    train(str(text))
    text.rename("moved.txt")
    assert "give TEXT beside --resume" in a_line(charrnn("train", "--resume", "notes"))
    assert charrnn("train", "moved.txt", "--resume", "notes").status == 0


def test_a_run_from_a_pipe_asks_for_it_again() -> None:
    train("-", stdin=TEXT.encode())
    assert "pipe it in again" in a_line(charrnn("train", "--resume", "stdin"))
    assert charrnn("train", "-", "--resume", "stdin", stdin=TEXT.encode()).status == 0


def test_ctrl_c_saves_says_how_to_go_on_and_exits_130_and_sigterm_143(text: Path) -> None:
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
        assert f"{name}: saved at step" in err.decode()
        assert f"charrnn train --resume {name}" in err.decode()
        assert charrnn("sample", name, "--length", "3").status == 0
        assert Path(f"checkpoints/{name}/last.safetensors").exists()


def test_tensorboard_gets_every_report_where_it_is_installed(text: Path, monkeypatch) -> None:
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

    module = types.SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    assert train(str(text), "--tensorboard", "--save-every", "6", "--name", "board").status == 0
    assert [event[2] for event in written if event[0] == "validation_nats"] == [6, 12]


def test_a_terminal_sees_the_curve_of_a_run_and_a_pipe_does_not(text: Path) -> None:
    train(str(text), "--save-every", "4")
    seen = charrnn("info", tty=True).text
    assert "nats per character, over epochs" in seen
    assert "validation" in seen.splitlines()[-2]
    assert "ran out of budget" in seen.splitlines()[-1]
    assert "over epochs" not in charrnn("info").text


# --- sampling ---


def test_the_prompt_is_echoed_unless_asked_not_to(run: Path) -> None:
    both = charrnn("sample", "--prompt", "the cat", "--length", "20", "--seed", "5").out
    alone = charrnn("sample", "--prompt", "the cat", "--length", "20", "--seed", "5", "--no-echo").out
    assert both == b"the cat" + alone
    assert len(alone.decode()) == 20


def test_a_prompt_comes_from_a_file_or_a_pipe_whole(run: Path) -> None:
    Path("p").write_text("the cat\nsat\n")
    literal = charrnn("sample", "--prompt", "the cat\nsat\n", "--seed", "5", "--length", "9").out
    assert charrnn("sample", "--prompt-file", "p", "--seed", "5", "--length", "9").out == literal
    piped = charrnn(
        "sample", "--prompt-file", "-", "--seed", "5", "--length", "9", stdin=b"the cat\r\nsat\r\n"
    )
    assert piped.out == literal


def test_the_drawn_seed_is_told_and_draws_the_same_again(run: Path) -> None:
    first = charrnn("sample", "--length", "30")
    seed = first.err.split()[-1]
    assert charrnn("sample", "--length", "30", "--seed", seed).out == first.out


def test_greedy_needs_no_seed_and_repeats_itself(run: Path) -> None:
    one, two = (charrnn("sample", "--length", "30", "--temperature", "0", "--prompt", "t") for _ in range(2))
    assert one.out == two.out
    assert one.err == ""


@pytest.mark.parametrize("temperature", ["0", "1e-9", "0.5", "100"])
def test_any_temperature_from_0_up_draws(run: Path, temperature: str) -> None:
    assert len(charrnn("sample", "--length", "30", "--temperature", temperature).text) == 30


def test_an_unknown_character_is_named_with_code_point_and_position(run: Path) -> None:
    line = a_line(charrnn("sample", "--prompt", "the ☃"))
    assert "'☃' (U+2603 SNOWMAN) at position 4" in line
    assert "at position 700001" in a_line(
        charrnn("sample", "--prompt-file", "-", stdin=b"t" * 700_001 + b"\x00")
    )


def test_a_person_gets_a_last_newline_and_a_pipe_exactly_the_text(run: Path) -> None:
    arguments = ("sample", "--length", "5", "--seed", "1", "--prompt", "t")
    plain = charrnn(*arguments).out
    assert not plain.endswith(b"\n")
    assert charrnn(*arguments, tty=True).out == plain + b"\n"


def test_the_newest_run_is_taken_where_none_is_named(run: Path) -> None:
    newer = shutil.copytree(run, run.parent / "newer")
    os.utime(newer / "model.safetensors", (2e9, 2e9))
    assert "newer" in json.loads(charrnn("info", "--json").text)["path"]


def test_checkpoints_are_found_where_the_environment_says(run: Path, monkeypatch) -> None:
    elsewhere = shutil.move(run.parent, "elsewhere")
    monkeypatch.setenv("CHARRNN_CHECKPOINTS", elsewhere)
    assert charrnn("sample", "tiny", "--length", "3").status == 0


class Closing(io.BytesIO):
    """A reader that goes away after a few bytes."""

    def write(self, data) -> int:
        if self.tell() > 50:
            raise BrokenPipeError
        return super().write(data)


def test_a_reader_that_goes_away_ends_it_quietly(run: Path) -> None:
    err = io.StringIO()
    assert main(["sample", "--length", "0"], Terminal(io.BytesIO(), Closing(), err)) == 0
    assert err.getvalue().startswith("seed")
    assert len(err.getvalue().splitlines()) == 1


def test_head_ends_an_endless_sample_without_a_word(run: Path) -> None:
    pipeline = (
        f"{sys.executable} -m charrnn sample --length 0 --seed 1 | head -c 100; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", pipeline], capture_output=True, check=True)
    assert done.stdout[-2:] == b"0\n"
    assert len(done.stdout) == 102
    assert done.stderr == b"seed 1\n"


def test_output_reaches_a_pipe_while_it_is_drawn(run: Path) -> None:
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


def test_a_terminal_gets_colour_and_a_pipe_gets_json_lines(run: Path) -> None:
    pipe = charrnn("inspect-cell", "tiny", "-", stdin=b"the cat\n")
    assert [json.loads(line)["char"] for line in pipe.text.splitlines()] == list("the cat\n")
    painted = charrnn("inspect-cell", "tiny", "-", "--colour", "always", stdin=b"the cat\n").text
    assert "tiny layer 0 unit 0 memory: -1" in painted
    assert "\x1b[" in painted
    plain = "".join(part.partition("m")[2] for part in painted.split("\n", 1)[1].split("\x1b["))
    assert plain == "the cat⏎\n"


def test_a_text_cannot_steer_the_terminal() -> None:
    Path("esc.txt").write_bytes(b"\x1b[2J\x07\x9b" * 40)
    train("esc.txt", "--encoding", "latin-1")
    painted = charrnn("inspect-cell", "--colour", "always", "esc.txt", "--sample", "50")
    assert painted.status == 1  # a text and a sample
    painted = charrnn("inspect-cell", "--colour", "always", "--sample", "50", "--seed", "1")
    assert "\x1b[2J" not in painted.text
    assert "\x07" not in painted.text
    assert "␛" in painted.text


def test_json_wins_over_a_terminal_and_no_color_is_heeded(run: Path, monkeypatch) -> None:
    assert json.loads(charrnn("inspect-cell", "--json", "--sample", "1", tty=True).text)
    monkeypatch.setenv("NO_COLOR", "1")
    assert json.loads(charrnn("inspect-cell", "--sample", "1", tty=True).text)


def test_a_fresh_sample_is_inspected_where_nothing_is_piped_in(run: Path) -> None:
    done = charrnn("inspect-cell", "--json", tty=True)
    assert len(done.text.splitlines()) == 500


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "missing.txt"], "no file or folder missing.txt"),
        (["train", "empty.txt"], "the text is empty"),
        (["train", "one.txt"], "at least 2"),
        (["train", "folder"], "holds no file that matches"),
        (["train", "bad.txt"], "byte 0xFF at offset 3 is not utf-8"),
        (["train", "notes.txt", "--cell", "lstn"], "no cell is called 'lstn'"),
        (["train", "notes.txt", "--hidden", "0"], "--hidden 0"),
        (["train", "notes.txt", "--split", "90,5"], "--split 90,5"),
        (["train", "notes.txt", "--split", "0,50,50"], "--split 0,50,50"),
        (["train", "notes.txt", "--lr", "nan"], "--lr nan"),
        (["train", "notes.txt", "--encoding", "utf-9"], "--encoding utf-9"),
        (["train", "notes.txt", "--newlines", "cr"], "--newlines cr"),
        (["train", "notes.txt", "--save-every", "5x"], "--save-every 5x"),
        (["train", "notes.txt", "--save-every", "0s"], "--save-every 0s"),
        (["train", "notes.txt", "--params", "99999999M"], "--params 99999999000000"),
        (["train", "notes.txt", "--params", "many"], "--params many"),
        (["train", "notes.txt", "--params", "1M", "--hidden", "8"], "give one of the two"),
        (["train", "--resume", "checkpoints/tiny/model.safetensors"], "holds no state to resume from"),
        (["train", "notes.txt", "--save-every", "0.5"], "--save-every 0.5"),
        (["train", "notes.txt", "--device", "abacus"], "--device abacus"),
        (["train", "--resume", "nothing"], "no checkpoint is called nothing"),
        (["sample", "nothing"], "no checkpoint is called nothing; runs in checkpoints: tiny"),
        (["sample", "notes.txt"], "not a checkpoint, or is damaged"),
        (["sample", "cut.safetensors"], "not a checkpoint, or is damaged"),
        (["sample", "--temperature", "-1"], "--temperature -1"),
        (["sample", "--top-p", "0"], "--top-p 0"),
        (["sample", "--prompt", "a", "--prompt-file", "b"], "give only one of them"),
        (["sample", "--prompt-file", "missing"], "no file or folder missing"),
        (["inspect-cell", "--layer", "2", "--sample", "5"], "--layer 2: the model has layers 0 to 1"),
        (["inspect-cell", "--unit", "6", "--sample", "5"], "--unit 6: the model has units 0 to 5"),
        (["inspect-cell", "--of", "reset", "--sample", "5"], "--of reset: cell lstm has"),
        (["corpus", "get", "nothing"], "no corpus is called nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_on_stderr_and_exit_1(
    run: Path, text: Path, arguments: list[str], says: str
) -> None:
    Path("empty.txt").touch()
    Path("one.txt").write_text("a")
    Path("folder").mkdir()
    Path("bad.txt").write_bytes(b"abc\xffdef")
    Path("cut.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:900])
    assert says in a_line(charrnn(*arguments))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "--length", "-1"], "--length"),
        (["sample", "--length", "many"], "--length"),
        (["sample", "--wrong"], "--wrong"),
        (["trian"], "trian"),
        (["inspect-cell", "--unit", "-3"], "--unit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_slip_of_the_command_line_is_one_line_and_exit_2(arguments: list[str], says: str) -> None:
    assert says in a_line(charrnn(*arguments), 2)


def test_no_checkpoint_at_all_says_how_to_get_one() -> None:
    assert "charrnn train TEXT" in a_line(charrnn("sample"))


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


# --- what a process meets ---


def shell(command: str, **settings) -> subprocess.CompletedProcess[bytes]:
    """A command line of bash, ``charrnn`` in it the program."""
    program = f'charrnn() {{ {sys.executable} -m charrnn "$@"; }}; '
    return subprocess.run(["bash", "-c", program + command], capture_output=True, check=False, **settings)


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
def test_a_stream_that_is_closed_or_full_is_no_traceback(run: Path, command: str, status: int) -> None:
    done = shell(command)
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr
    if status:
        assert b"cannot write to standard output" in done.stderr.splitlines()[-1]
    elif "sample" in command:
        assert len(done.stdout.decode()) == 6


def test_training_goes_on_when_nobody_reads_its_notes(text: Path) -> None:
    done = shell(f"charrnn train notes.txt {' '.join(TINY)} --steps 300 --save-every 10 2> >(head -n 1 >&2)")
    assert done.returncode == 0
    assert done.stdout == b"checkpoints/notes/model.safetensors\n"


def test_a_process_substitution_is_read_like_a_pipe(text: Path) -> None:
    done = shell(f"charrnn train <(cat notes.txt) {' '.join(TINY)} --steps 3")
    assert done.stdout == b"checkpoints/stdin/model.safetensors\n", done.stderr
    assert json.loads(charrnn("info", "--json").text)["corpus_characters"] == len(TEXT)


def test_a_name_that_is_not_utf_8_is_printed_as_it_is(text: Path) -> None:
    done = shell(f"charrnn train notes.txt --name $'\\xff' {' '.join(TINY)} --steps 3")
    assert done.stdout == b"checkpoints/\xff/model.safetensors\n", done.stderr


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
    assert "File name too long" in a_line(charrnn(*arguments))


def test_a_network_that_does_not_fit_the_memory_is_one_line_and_leaves_no_folder(text: Path) -> None:
    done = charrnn("train", str(text), "--hidden", "1000000", "--steps", "3")
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith("charrnn: not enough memory: try a smaller --hidden")
    assert not list(Path("checkpoints").iterdir())


def test_a_folder_with_a_part_that_cannot_be_read_is_not_read_in_part(text: Path, monkeypatch) -> None:
    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", "texts/closed"))

    Path("texts").mkdir()
    monkeypatch.setattr(os, "walk", walk)
    assert "cannot read folder texts/closed: Permission denied" in a_line(train("texts"))


def test_two_runs_started_together_get_a_folder_each(text: Path) -> None:
    terminal = Terminal(io.BytesIO(), io.BytesIO(), io.StringIO())
    runs = Path("checkpoints")
    with (
        new_run_folder(terminal, runs, None, "notes") as one,
        new_run_folder(terminal, runs, None, "notes") as two,
    ):
        assert (one.name, two.name) == ("notes", "notes-2")
        with pytest.raises(ConfigError, match="a run called notes is in checkpoints"):
            new_run_folder(terminal, runs, "notes", "notes").__enter__()
        (two / "model.safetensors").touch()
    assert not one.exists()  # nothing was saved in it
    assert two.exists()


def test_a_run_that_fails_before_it_saves_leaves_no_folder(text: Path) -> None:
    assert train(str(text), "--device", "abacus").status == 1
    assert not Path("checkpoints").exists()


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
    resume = dict(last.header.resume)
    if name.startswith("resume."):
        tensors |= {} if value is None else {name: value}
    else:
        resume[name] = value
    checkpoint.save_checkpoint(path, dataclasses.replace(last.header, resume=resume), tensors)
    done = charrnn("train", "--resume", "notes")
    assert done.status == 1
    assert "Traceback" not in done.err
    assert "damaged" in done.err.splitlines()[-1] or "how its text was read" in done.err


def test_what_a_checkpoint_says_cannot_steer_the_terminal(
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


def test_greedy_is_the_same_each_time_without_a_newline_too() -> None:
    Path("two.txt").write_text("ab" * 20)
    train("two.txt")
    texts = {charrnn("sample", "--temperature", "0", "--length", "9").out for _ in range(8)}
    assert len(texts) == 1


def test_an_empty_text_to_inspect_and_a_folder_as_a_prompt_are_mistakes(run: Path) -> None:
    assert "the text is empty" in a_line(charrnn("inspect-cell", "tiny", stdin=b""))
    assert "is a folder" in a_line(charrnn("sample", "--prompt-file", "."))
    assert "CHECKPOINT given is empty" in a_line(charrnn("sample", ""))


def test_the_version_is_printed() -> None:
    assert process("--version").stdout.startswith(b"charrnn ")
