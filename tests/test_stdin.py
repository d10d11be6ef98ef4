"""Standard input: what is piped in is read, ``-`` is stdin, and nothing piped is ignored silently."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charrnn.cli.stdin import arrives, has_data, is_piped
from charrnn.cli.terminal import Terminal
from charrnn.files import atomic_write
from charrnn.runs.checkpoint import BEST, read_header
from charrnn.runs.piped import copy_tensors
from tests.conftest import TEXT, Ran, charrnn

TINY = ["--hidden", "8", "--embedding", "4", "--streams", "4", "--bptt", "16"]
PIPED = TEXT.encode()


def train(*arguments: str, **settings) -> Ran:
    return charrnn("train", *arguments, *TINY, "--steps", "12", **settings)


def sample(*arguments: str, **settings) -> Ran:
    done = charrnn("sample", "--seed", "1", "--length", "9", *arguments, **settings)
    assert done.status == 0, done.err
    return done


def one_line(done: Ran, status: int) -> str:
    """The only line that a mistake prints."""
    assert (done.status, done.out) == (status, b""), done.err
    (line,) = done.err.splitlines()
    return line


def shell(command: str, **settings: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a command of bash, in which ``charrnn`` is this interpreter's; nothing is piped in by default."""
    function = f'charrnn() {{ {shlex.quote(sys.executable)} -m charrnn "$@"; }}; '
    if "input" not in settings:
        settings.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(["bash", "-c", function + command], capture_output=True, check=False, **settings)


# --- train ---


def test_train_without_a_text_learns_what_is_piped_in() -> None:
    assert train(stdin=PIPED).text == "checkpoints/stdin/model.safetensors\n"
    assert read_header(Path("checkpoints/stdin", BEST)).corpus["characters"] == len(TEXT)


def test_a_run_from_another_model_learns_what_is_piped_in(run: Path) -> None:
    done = charrnn("train", "--from", "tiny", "--steps", "3", "--name", "piped", stdin=PIPED)
    assert done.status == 0, done.err
    assert read_header(Path("checkpoints/piped", BEST)).corpus["characters"] == len(TEXT)


def test_a_run_on_stdin_resumes_on_what_is_piped_in() -> None:
    train("-", stdin=PIPED)
    done = charrnn("train", "--resume", "stdin", stdin=PIPED)
    assert (done.status, done.text) == (0, "checkpoints/stdin/model.safetensors\n"), done.err


def test_training_on_an_empty_pipe_says_how_to_give_a_text() -> None:
    line = one_line(train(stdin=b""), 1)
    assert line.endswith("standard input is empty: pipe something in, or name a file")
    assert "standard input is empty" in one_line(train("-", stdin=b""), 1)
    assert not Path("checkpoints", "stdin").exists()


@pytest.mark.parametrize(
    ("texts", "stdin", "origin"),
    [([], None, []), (["notes.txt"], PIPED, ["notes.txt"]), ([], PIPED, ["-"])],
    ids=["nothing piped", "a text beside the pipe", "piped"],
)
def test_stdin_is_the_text_only_when_no_other_is_given(texts, stdin, origin, monkeypatch) -> None:
    class OriginError(Exception):
        pass

    def read_corpus(out, origin, *_, **__):
        raise OriginError(origin.texts)

    monkeypatch.setattr("charrnn.cli.train.read_corpus", read_corpus)
    with pytest.raises(OriginError) as error:
        charrnn("train", *texts, stdin=stdin)
    assert error.value.args == (origin,)


def test_processes_of_a_group_do_not_share_stdin(monkeypatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "several processes cannot share standard input" in one_line(train("-", stdin=PIPED), 2)
    with open(__file__) as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert not Terminal.of_process().stdin_piped
        monkeypatch.delenv("RANK")
        assert Terminal.of_process().stdin_piped


# --- sample ---


def test_sample_continues_what_is_piped_in_exactly(run: Path) -> None:
    for prompt in ("the cat", "the cat\n"):
        piped = sample(stdin=prompt.encode())
        assert piped.text == sample("--prompt-file", "-", stdin=prompt.encode()).text
        assert piped.text == sample("--prompt", prompt).text
        assert piped.text.startswith(prompt)


def test_an_empty_pipe_is_no_prompt(run: Path) -> None:
    assert sample(stdin=b"").text == sample().text


def test_a_saved_state_is_continued_by_what_is_piped_in(run: Path) -> None:
    sample("--save-state", "state")
    piped = sample("--scores", "--load-state", "state", stdin=b"the").out
    assert piped == sample("--scores", "--load-state", "state", "--prompt", "the").out
    assert piped != sample("--scores", stdin=b"the").out


# --- a dash is stdin wherever a file is taken ---


def test_a_checkpoint_can_be_piped_in(run: Path) -> None:
    model = (run / BEST).read_bytes()
    run.rename("elsewhere")
    assert sample("-", stdin=model).text == sample("elsewhere").text
    done = charrnn("inspect-cell", "-", "--sample", "5", "--seed", "1", "--json", stdin=model)
    assert len(done.text.splitlines()) == 5
    assert json.loads(charrnn("info", "-", "--json", stdin=model).text)["hidden"] == 6
    done = charrnn("gradient-flow", "-", "--length", "2", "--json", stdin=model)
    assert len(done.text.splitlines()) == 2 * 2 * 2
    Path("notes.txt").write_text(TEXT)
    done = charrnn("train", "notes.txt", "--from", "-", "--steps", "3", stdin=model)
    assert done.status == 0, done.err
    parent = read_header(Path("checkpoints/notes", BEST)).parent
    assert parent is not None
    assert parent["weights_sha256"] == read_header(Path("elsewhere", BEST)).weights_sha256


def test_a_temporary_copy_of_stdin_is_removed(run: Path, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    sample("-", stdin=(run / BEST).read_bytes())
    assert "not a checkpoint" in one_line(charrnn("sample", "-", stdin=b"no model"), 1)
    assert "CHECKPOINT: standard input is empty" in one_line(charrnn("sample", "-", stdin=b""), 1)
    assert not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "charrnn info /dev/zero",
        "charrnn sample link",
        "charrnn sample tiny --load-state /dev/zero",
        f"cat checkpoints/tiny/{BEST} /dev/zero | charrnn info -",
    ],
)
def test_what_is_endless_is_refused_and_not_copied(run: Path, command: str) -> None:
    Path("link").symlink_to("/dev/zero")
    (line,) = shell(f"ulimit -f 100000; {command}").stderr.decode().splitlines()
    assert re.search("is not a (checkpoint|saved state), or is damaged", line)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b'{"a": 1}',
        b'{"a": {"data_offsets": [0, 1e999]}}',
        b'{"a": {"data_offsets": [0]}}',
        b"\xff",
    ],
)
def test_of_a_pipe_with_a_wrong_header_only_the_header_is_copied(header: bytes) -> None:
    start = struct.pack("<Q", len(header)) + header
    copy = io.BytesIO()
    copy_tensors(io.BytesIO(start + bytes(1000)), copy)
    assert start == copy.getvalue()[: len(start)]
    assert len(copy.getvalue()) <= len(start) + 1


def test_a_saved_state_and_a_text_to_compare_with_can_be_piped_in(run: Path) -> None:
    sample("--save-state", "state")
    expected = sample("--load-state", "state").text
    assert sample("--load-state", "-", stdin=Path("state").read_bytes()).text == expected
    done = sample("--novel", "-", "--prompt", "the cat", stdin=PIPED)
    assert done.text == sample("--prompt", "the cat").text
    assert "longest copied run" in done.err


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_texts_to_look_at_can_be_piped_in(run: Path, arguments: list[str]) -> None:
    Path("text.txt").write_text(TEXT)
    for command in (["inspect-cell", "tiny"], ["gradient-flow", "tiny", "--length", "3", "--json"]):
        expected = charrnn(*command[:2], "text.txt", *command[2:]).out
        assert expected
        assert charrnn(*command[:2], *arguments, *command[2:], stdin=PIPED).out == expected


def test_several_models_read_one_piped_text(run: Path) -> None:
    command = ["gradient-flow", "tiny", "--length", "3", "--json", "--beside", "tiny"]
    Path("text.txt").write_text(TEXT)
    expected = charrnn("gradient-flow", "tiny", "text.txt", *command[2:])
    assert expected.status == 0, expected.err
    assert charrnn("gradient-flow", "tiny", "-", *command[2:], stdin=PIPED).out == expected.out
    assert charrnn(*command, stdin=PIPED).out == expected.out


@pytest.mark.parametrize(
    ("command", "readers"),
    [
        ("train - -", "TEXT"),
        ("train - --from -", "--from and TEXT"),
        ("sample - -", "CHECKPOINT"),
        ("sample - --prompt-file -", "CHECKPOINT and --prompt-file"),
        ("sample - --prompts -", "CHECKPOINT and --prompts"),
        ("sample --novel - --prompts -", "--novel and --prompts"),
        ("sample - --load-state -", "CHECKPOINT and --load-state"),
        ("inspect-cell - -", "CHECKPOINT and TEXT"),
        ("gradient-flow - -", "TEXT and CHECKPOINT"),
    ],
)
def test_stdin_cannot_be_given_twice(run: Path, command: str, readers: str) -> None:
    text_first = readers.split()[0] in ("TEXT", "--novel")
    stdin = PIPED if text_first else (run / BEST).read_bytes()
    done = charrnn(*command.split(), stdin=stdin)
    assert (done.status, done.out) == (2, b"")
    assert done.err.endswith(f"charrnn: {readers}: give - only once, there is one standard input\n")


def test_a_run_cannot_be_resumed_from_stdin() -> None:
    assert "--resume -: a run is resumed in its folder" in one_line(charrnn("train", "--resume", "-"), 2)


def test_no_product_goes_to_a_file_called_dash(run: Path) -> None:
    assert sample("-o", "-").text == sample().text
    for option in ("--save-state", "--png", "--svg"):
        command = "sample" if option == "--save-state" else "gradient-flow"
        assert "name a file" in one_line(charrnn(command, option, "-"), 2)
    assert not Path("-").exists()


def test_a_description_of_stdin_names_no_temporary_file(run: Path) -> None:
    facts = json.loads(charrnn("info", "-", "--json", stdin=(run / BEST).read_bytes()).text)
    assert facts["path"] == "-"


def test_a_pipe_that_is_larger_than_the_temporary_folder_names_that_folder(monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfileobj", full)
    line = one_line(train("-", stdin=PIPED), 1)
    assert tempfile.gettempdir() in line
    assert "$TMPDIR" in line


def test_an_empty_text_is_not_the_current_folder() -> None:
    Path("notes.txt").write_text(TEXT, encoding="utf-8")
    assert "TEXT is empty" in one_line(train(""), 2)


def test_a_pattern_of_file_names_has_no_effect_on_stdin() -> None:
    assert "--glob has no effect" in one_line(train("-", "--glob", "*.txt", stdin=PIPED), 2)


def test_a_file_that_is_written_whole_never_replaces_a_pipe_or_a_device() -> None:
    os.mkfifo("pipe")
    with open(os.open("pipe", os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        with atomic_write(Path("pipe")) as file:
            file.write(b"abc")
        assert reader.read() == b"abc"
    assert Path("pipe").is_fifo()


# --- looking at stdin without reading it ---


@pytest.fixture
def pipe() -> Iterator[SimpleNamespace]:
    """Both ends of a pipe, unbuffered."""
    read, write = os.pipe()
    with open(read, "rb", 0) as reader, open(write, "wb", 0) as writer:
        yield SimpleNamespace(reader=reader, writer=writer)


def test_waiting_data_is_seen_and_not_read(pipe: SimpleNamespace, tmp_path: Path) -> None:
    assert is_piped(pipe.reader)
    assert not has_data(pipe.reader)
    assert not arrives(pipe.reader, 0)
    pipe.writer.write(b"abc")
    assert has_data(pipe.reader)
    assert arrives(pipe.reader, 0)
    assert pipe.reader.read(9) == b"abc"
    pipe.writer.close()
    assert not has_data(pipe.reader)
    assert arrives(pipe.reader, 0)  # the end

    (tmp_path / "file").write_bytes(b"abc")
    with (tmp_path / "file").open("rb", 0) as file:
        assert has_data(file)
        file.read(3)
        assert is_piped(file)
        assert not has_data(file)

    near, far = socket.socketpair()
    with near, far, near.makefile("rb") as stream:
        far.sendall(b"abc")
        assert is_piped(stream)
        assert has_data(stream)


def test_the_null_device_a_terminal_and_a_closed_stdin_are_not_piped() -> None:
    with open(os.devnull, "rb") as null:
        assert not is_piped(null)
        assert not has_data(null)
    main_end, other_end = os.openpty()
    with open(main_end, "wb", 0) as keyboard, open(other_end, "rb", 0) as terminal:
        keyboard.write(b"typed\n")
        assert not is_piped(terminal)
        assert not has_data(terminal)
    assert not is_piped(None)
    assert not is_piped(io.BytesIO(b"abc"))


# --- real processes ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("sample --prompt t --length 5", "--prompt-file - continues it"),
        ("inspect-cell tiny text.txt", "give - as TEXT to read it"),
        ("inspect-cell tiny --sample 5", "give - as TEXT to read it"),
        ("train text.txt --steps 1 --hidden 8", "give - as TEXT to learn it"),
        ("gradient-flow --cells rnn --length 2 --hidden 4", "give - as TEXT to read it"),
    ],
)
def test_what_is_piped_in_and_not_read_is_reported(run: Path, command: str, advice: str) -> None:
    Path("text.txt").write_text(TEXT)
    done = shell(f"charrnn {command}", input=b"something")
    assert done.returncode == 0, done.stderr
    note = f"standard input was not read; {advice}"
    assert done.stderr.decode().splitlines().count(note) == 1
    if command.startswith("sample"):
        assert note not in shell(f"charrnn {command} -q", input=b"something").stderr.decode()
        assert note not in shell(f"charrnn {command}").stderr.decode()
        assert note not in shell(f"charrnn {command} <&-").stderr.decode()


@pytest.mark.slow
def test_a_command_that_reads_no_text_says_nothing_of_stdin(run: Path) -> None:
    assert shell("charrnn info tiny", input=b"something").stderr == b""


@pytest.mark.slow
def test_a_prompt_is_enough_while_a_pipe_stays_open(run: Path) -> None:
    read, write = os.pipe()
    with open(read, "rb") as reader, open(write, "wb"):
        done = shell("charrnn sample --prompt t --length 5 --seed 1", stdin=reader)
    assert (done.returncode, len(done.stdout.decode()), done.stderr) == (0, 6, b"seed 1\n")


@pytest.mark.slow
def test_waiting_for_a_silent_pipe_is_announced(run: Path) -> None:
    command = [sys.executable, "-m", "charrnn", "sample", "--length", "5"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as waiting:
        assert waiting.stderr
        assert waiting.stderr.readline() == b"reading --prompt-file from standard input\n"
        out, _ = waiting.communicate(b"the")
        assert out.startswith(b"the")
        assert len(out.decode()) == 8


@pytest.mark.slow
def test_a_loop_over_lines_keeps_its_lines(run: Path) -> None:
    loop = "while read -r line; do charrnn sample --prompt $line --length 1 --allow a; done"
    assert shell(f"printf 'the\\ncat\\nno\\n' | {loop}").stdout == b"theacatanoa"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "charrnn sample <(cat checkpoints/tiny/model.safetensors) --prompt the",
        "cat checkpoints/tiny/model.safetensors | charrnn sample - --prompt the",
        "charrnn sample - --prompt the < checkpoints/tiny/model.safetensors",
        "charrnn sample --prompt-file <(echo -n the)",
        "mkfifo named; echo -n the > named & charrnn sample --prompt-file named",
        "mkfifo named; echo -n the > named & charrnn sample < named",
        "echo -n the | charrnn sample",
        "charrnn sample <<< the --allow t --prompt the",
        "charrnn sample --prompt the <&-",
        "charrnn sample --prompt the < /dev/null",
    ],
)
def test_pipes_of_every_kind_are_read(run: Path, command: str) -> None:
    done = shell(command.replace("charrnn sample", "charrnn sample --length 6 --seed 1"))
    assert done.returncode == 0, done.stderr
    assert done.stdout[:3] == b"the"
    assert len(done.stdout.decode()) == 9
