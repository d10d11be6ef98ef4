"""Values and machines at the edge: empty names, huge numbers, half a process group, links, no locks."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from charrnn.cli import app
from charrnn.cli.help import MAY_BE_EMPTY, PATH_KINDS
from charrnn.config import TrainConfig
from charrnn.errors import CharrnnError, ConfigError, CorpusError
from charrnn.runs.lock import is_locked, locked
from charrnn.text.sources import Reading, sources, text_files
from charrnn.training import devices
from tests.conftest import TEXT, Ran, charrnn

TINY = ["--hidden", "8", "--embedding", "4", "--streams", "4", "--bptt", "16", "--steps", "4"]


def refused(done: Ran, status: int = 2) -> str:
    """The only line that a mistake prints."""
    assert (done.status, done.out) == (status, b""), done.err
    (line,) = done.err.splitlines()
    return line


def commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """All commands with their words."""
    inner = getattr(command, "commands", {}).items()
    return [(path, command), *(pair for name, sub in inner for pair in commands(sub, (*path, name)))]


COMMANDS = commands(typer.main.get_command(app))


# --- empty names ---


PATHS = [
    (*path, next(name for name in parameter.opts if name.startswith("--")))
    for path, command in COMMANDS
    for parameter in command.params
    if parameter.param_type_name == "option" and str(parameter.metavar) in PATH_KINDS
]


@pytest.mark.parametrize("words", [words for words in PATHS if words[-1] not in MAY_BE_EMPTY], ids=" ".join)
def test_an_empty_path_is_not_the_current_folder(run: Path, words: tuple[str, ...]) -> None:
    before = sorted(Path().rglob("*"))
    for form in ((words[-1], ""), (f"{words[-1]}=",)):
        assert f"{words[-1]} is empty: name a" in refused(charrnn(*words[:-1], *form))
    assert sorted(Path().rglob("*")) == before


def test_all_options_for_paths_are_known_as_such() -> None:
    paths = {str(p.metavar) for _, command in COMMANDS for p in command.params if "Path" in str(kind(p))}
    assert paths <= set(PATH_KINDS)


def kind(parameter: Any) -> object:
    return parameter.type_descriptor.annotation


@pytest.mark.parametrize(
    "command", ["train", "ngram", "inspect-cell tiny", "gradient-flow tiny", "score tiny"]
)
def test_an_empty_text_is_not_the_current_folder(run: Path, command: str) -> None:
    Path("a.txt").write_text(TEXT)
    assert "is empty" in refused(charrnn(*command.split(), "", stdin=b"piped in"))


def test_a_prompt_and_a_delimiter_may_be_empty(run: Path) -> None:
    arguments = ("sample", "tiny", "--count", "2", "--seed", "1", "--length", "3")
    assert len(charrnn(*arguments, "--prompt", "", "--delimiter=").text) == 6


def test_an_empty_path_is_no_text_in_python_either() -> None:
    with pytest.raises(CorpusError, match="the path of a text is empty"):
        sources([""])


# --- huge and tiny numbers ---


NUMBERS = ["1e400", "-1e400", "nan", "inf", "-inf", "9" * 400, "-" + "9" * 400, "9" * 5000, "-0.5"]
NUMERIC = [
    ("train", name)
    for path, command in COMMANDS
    for parameter in command.params
    if path == ("train",) and (kind(parameter) in (int, float) or "Sequence[float]" in str(kind(parameter)))
    for name in parameter.opts[:1]
] + [("train", "--save-every")]


@pytest.mark.parametrize("words", NUMERIC, ids=" ".join)
def test_no_number_is_a_bug(words: tuple[str, str]) -> None:
    Path("text.txt").write_text(TEXT)
    for number in NUMBERS:
        line = refused(charrnn(words[0], "text.txt", f"{words[1]}={number}"))
        assert words[1] in line


@pytest.mark.parametrize("option", ["lr", "muon"])
def test_a_learning_rate_is_one_that_float32_holds(option: str) -> None:
    """A higher one was a RuntimeError of torch after the first step."""
    Path("text.txt").write_text(TEXT)
    line = refused(charrnn("train", "text.txt", *TINY, f"--{option}", "1e300"))
    assert f"--{option} 1e+300: must be above 0 and at most 1e30" in line
    with pytest.raises(ConfigError):
        TrainConfig.from_dict({option: 1e31})


# --- half a process group ---


@pytest.fixture
def no_group(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in devices.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


WHOLE = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "29500"}
PARTS: list[tuple[dict[str, str], str]] = [
    ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set, but not RANK, LOCAL_RANK"),
    ({"RANK": "1"}, "RANK is set, but not WORLD_SIZE"),
    ({"LOCAL_RANK": "0"}, "LOCAL_RANK is set, but not WORLD_SIZE"),
    ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', which is no number"),
    ({"WORLD_SIZE": ""}, "WORLD_SIZE is '', which is no number"),
    ({"WORLD_SIZE": "9" * 5000}, "which is no number"),
    ({"WORLD_SIZE": "1", "RANK": "1"}, "WORLD_SIZE is set, but not LOCAL_RANK"),
    (WHOLE, "WORLD_SIZE is set, but not MASTER_ADDR"),
    (WHOLE | {"MASTER_ADDR": "localhost", "LOCAL_RANK": "-1"}, "LOCAL_RANK is '-1', which is no number"),
    (WHOLE | {"MASTER_ADDR": "localhost", "RANK": "2"}, "RANK is 2, but WORLD_SIZE is 2"),
]


@pytest.mark.parametrize(("variables", "message"), PARTS, ids=[message[:40] for _, message in PARTS])
def test_a_part_of_torchruns_variables_is_one_line_that_names_it(
    no_group: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        no_group.setenv(name, value)
    Path("text.txt").write_text(TEXT)
    done = charrnn("train", "text.txt", *TINY, "--quiet")
    line = refused(done, status=1)
    assert message in line
    assert "torchrun --nproc-per-node" in line
    assert f"unset {next(iter(variables))}" in line


@pytest.mark.parametrize("variables", [{}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": "1", "RANK": "0"}], ids=str)
def test_a_group_of_one_process_needs_no_torchrun(
    no_group: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        no_group.setenv(name, value)
    assert devices.join("cpu") == devices.ProcessGroup(torch.device("cpu"))


def test_more_processes_than_gpus_are_one_line(no_group: pytest.MonkeyPatch) -> None:
    for name, value in (WHOLE | {"MASTER_ADDR": "localhost"}).items():
        no_group.setenv(name, value)
    no_group.setattr(devices, "select_device", lambda name: torch.device("cuda"))
    no_group.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(CharrnnError, match=r"more processes than GPUs \(1\): torchrun --nproc-per-node 1"):
        devices.join()


# --- links ---


def test_a_link_out_of_a_folder_is_skipped_and_counted_and_one_within_it_is_read() -> None:
    folder, secret = Path("folder"), Path("secret")
    (folder / "inner").mkdir(parents=True)
    secret.mkdir()
    (secret / "key.txt").write_text("secret")
    (folder / "a.txt").write_text("a")
    (folder / "inner" / "within.txt").symlink_to("../a.txt")
    (folder / "inner" / "out.txt").symlink_to(Path("../../secret/key.txt"))
    (folder / "absolute.txt").symlink_to((secret / "key.txt").resolve())
    (folder / "outer").symlink_to(secret.resolve(), target_is_directory=True)
    (folder / "chain.txt").symlink_to("inner/out.txt")
    files, skipped = text_files(folder, "*", Reading())
    assert files == [folder / "a.txt", folder / "inner" / "within.txt"]
    assert skipped == {"outward link": 4}
    done = charrnn("ngram", "folder", "--order", "2")
    assert "skipped in folder: 4 outward links" in done.err


def test_a_link_that_the_user_names_is_followed() -> None:
    folder = Path("folder")
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    Path("link").symlink_to(folder, target_is_directory=True)
    Path("file").symlink_to(folder / "a.txt")
    assert text_files(Path("link"), "*", Reading()) == ([Path("link/a.txt")], {})
    (source,) = sources(["file"])
    assert b"".join(source.blocks()) == b"a"


# --- filesystems without locks or modes ---


def fail(number: int) -> Any:
    """A system call that the filesystem does not have."""

    def call(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.ENOLCK])
def test_a_filesystem_without_locks_and_modes_trains_with_one_note(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((fcntl, "flock"), (os, "chmod"), (os, "fchmod"), (Path, "chmod")):
        monkeypatch.setattr(module, name, fail(number))
    Path("text.txt").write_text(TEXT)
    for command in (
        ["train", "text.txt", *TINY, "--name", "one"],
        ["train", "--resume", "one", "--steps", "4"],
    ):
        done = charrnn(*command)
        assert (done.status, done.out) == (0, b"checkpoints/one/model.safetensors\n"), done.err
        assert done.err.count("checkpoints/one cannot be locked here") == 1
    assert charrnn("runs", "mv", "one", "two").status == 0
    assert charrnn("runs").status == 0
    assert charrnn("runs", "rm", "two", "--yes").status == 0
    assert not Path("checkpoints/two").exists()


def test_a_lock_that_cannot_be_opened_is_still_an_error(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(CharrnnError), locked(tmp_path):
        pass
    assert not is_locked(tmp_path)
