"""``charrnn runs`` and ``info``: runs are listed, removed, renamed, compared; nothing else is touched."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.cli.table import age_text
from charrnn.config import ModelConfig, TrainConfig
from charrnn.files import json_line
from charrnn.runs.checkpoint import BEST, LAST, Header, load, save_checkpoint
from charrnn.runs.history import LOG
from charrnn.runs.lock import LOCK, is_locked, locked
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TEXT, Ran, charrnn, random_weights

RUNS = Path("checkpoints")
MODEL = ModelConfig("gru", layers=2, hidden=5, embedding=3)
HEADER = Header(
    MODEL,
    Vocabulary("abc"),
    corpus={"name": "abc.txt", "sha256": "0" * 64, "characters": 900},
    results={"step": 9, "steps": 9, "validation_nats": 1.5, "validation_bpc": 2.164, "train_nats": 1.25},
)
POSITION = {"step": 9, "steps": 9}


def make_run(name: str, age: float = 0, folder: Path = RUNS, **changes: Any) -> Path:
    """A run that was saved ``age`` seconds ago, as a training leaves it."""
    run = folder / name
    run.mkdir(parents=True)
    header = replace(HEADER, name=name, **changes)
    weights = random_weights(header.network, len(header.vocabulary))
    save_checkpoint(run / BEST, header, weights)
    state = {"resume.adam": np.arange(4, dtype=np.float32)}
    save_checkpoint(run / LAST, replace(header, resume=POSITION), weights | state)
    lines = [
        {"step": 3 * n, "epoch": n / 2, "train_nats": 3 / n, "validation_nats": 2 / n} for n in (1, 2, 3)
    ]
    (run / LOG).write_bytes(b"".join(map(json_line, lines)))
    (run / LOCK).touch()
    for path in run.iterdir():
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    return run


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    """The facts that ``charrnn runs --json`` prints, by name, in order."""
    done = charrnn("runs", "--json", *arguments)
    assert done.status == 0, done.err
    lines = map(json.loads, done.text.splitlines())
    return {line["name"]: line for line in lines if not line["pretrained"]}


def files(folder: Path = RUNS) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def failed(done: Ran, status: int = 1) -> str:
    """The one line that a failed command prints."""
    assert done.status == status, done.err
    assert done.out == b""
    (line,) = done.err.splitlines()
    return line


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pretrained models."""
    for module in ("find", "runs"):
        monkeypatch.setattr(f"charrnn.runs.{module}.pretrained", dict)


# --- the list ---


def test_runs_are_listed_with_their_text_model_loss_age_and_size_the_newest_first(no_models: None) -> None:
    make_run("old", age=3 * 3600 + 60)
    make_run("new", model=ModelConfig("lstm", hidden=7), results={})
    done = charrnn("runs")
    lines = [re.split(r"  +", line) for line in done.text.splitlines()]
    size = sum(path.stat().st_size for path in (RUNS / "old").iterdir())
    assert lines[0] == ["NAME", "TEXT", "MODEL", "BPC", "AGE", "SIZE", "RESUMABLE"]
    assert [line[0] for line in lines[1:]] == ["new", "old"]
    assert lines[2] == ["old", "abc.txt", "gru 2 x 5", "2.164", "3 h", f"{size / 1000:.1f} kB", "yes"]
    assert lines[1][2:4] == ["lstm 1 x 7", "-"]
    assert done.err == "runs in checkpoints\n"


def test_json_has_every_fact_of_info_and_of_the_folder() -> None:
    run = make_run("one", age=60)
    facts = listed()["one"]
    info = json.loads(charrnn("info", "one", "--json").text)
    assert facts | info == facts
    assert facts["size_bytes"] == sum(path.stat().st_size for path in run.iterdir())
    assert facts["saved"].endswith("+00:00")
    assert (facts["resumable"], facts["in_training"], facts["problem"]) == (True, False, None)


def test_a_run_without_its_last_checkpoint_cannot_be_resumed() -> None:
    (make_run("one") / LAST).unlink()
    assert listed()["one"]["resumable"] is False
    assert json.loads(charrnn("info", "one", "--json").text)["resumable"] is False


@pytest.mark.parametrize("exists", [True, False])
def test_without_runs_a_note_names_the_folder_and_the_command_that_trains(
    no_models: None, exists: bool
) -> None:
    if exists:
        RUNS.mkdir()
    done = charrnn("runs")
    assert (done.status, done.out) == (0, b"")
    assert done.err == "no runs in checkpoints: train one with `charrnn train TEXT`\n"


def test_damaged_runs_are_listed_with_their_problem_and_other_folders_are_not() -> None:
    run = make_run("damaged")
    (run / BEST).write_bytes(b"no checkpoint")
    make_run("fine")
    (RUNS / "empty").mkdir()
    (RUNS / "killed").mkdir()
    (RUNS / "killed" / LOCK).touch()
    (RUNS / "README.md").touch()
    facts = listed()
    assert set(facts) == {"damaged", "fine", "killed"}
    assert str(run / BEST) in facts["damaged"]["problem"]
    assert facts["damaged"]["hidden"] == 5  # the last checkpoint says it too
    assert facts["killed"]["problem"] == "no checkpoint was saved"
    rows = {line.split()[0]: line for line in charrnn("runs").text.splitlines()}
    assert "damaged" in rows["damaged"].partition("yes")[2]
    assert rows["killed"].endswith("no checkpoint was saved")


def test_a_run_that_is_being_trained_says_so() -> None:
    with locked(make_run("busy")):
        assert listed()["busy"]["in_training"]
        assert "in training" in charrnn("runs").text
    assert not listed()["busy"]["in_training"]


def test_looking_at_a_run_makes_no_file_and_leaves_the_lock_free() -> None:
    run = make_run("one")
    (run / LOCK).unlink()
    before = files()
    assert not is_locked(run)
    listed()
    assert files() == before
    with locked(run):
        assert is_locked(run)


def test_pretrained_models_come_last_and_a_run_of_that_name_hides_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = {name: make_run(name, folder=Path("shipped")) / BEST for name in ("mine", "theirs")}
    for module in ("find", "runs"):
        monkeypatch.setattr(f"charrnn.runs.{module}.pretrained", lambda: models)
    make_run("mine", age=1e6)
    lines = charrnn("runs").text.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "mine", "theirs"]
    assert lines[2].endswith("comes with charrnn")
    assert not lines[1].endswith("comes with charrnn")


def test_a_name_cannot_steer_the_terminal() -> None:
    make_run("a\x1b[31m\nb")
    text = charrnn("runs", tty=True).text
    assert r"a\x1b[31m\nb" in text
    assert "\x1b[31m" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "1 s"), (59, "59 s"), (150, "2 min"), (3 * 3600, "3 h"), (47 * 3600, "47 h"), (1e6, "12 days")],
)
def test_an_age_is_said_in_one_unit(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


# --- the folder that is looked in ---


@pytest.fixture
def user_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the runs in the user's data folder, which is the default in these tests."""
    monkeypatch.delenv("CHARRNN_CHECKPOINTS")
    return Path(os.environ["XDG_DATA_HOME"]) / "charrnn" / "checkpoints"


def test_without_a_local_folder_runs_are_those_of_the_user(user_folder: Path) -> None:
    make_run("mine", folder=user_folder)
    assert list(listed()) == ["mine"]
    assert charrnn("runs").err == f"runs in {user_folder}\n"
    assert str(user_folder) in failed(charrnn("info", "other"))
    assert failed(charrnn("info", "mime")).endswith(f"did you mean mine? (looked in {user_folder})")


def test_runs_of_the_user_that_a_local_folder_hides_are_pointed_at(user_folder: Path) -> None:
    make_run("mine", folder=user_folder)
    RUNS.mkdir()
    assert f"no runs in checkpoints (1 in {user_folder}: see them with --checkpoints)" in charrnn("runs").err
    message = failed(charrnn("info", "mine"))
    assert message.endswith(f"it is not in checkpoints but in {user_folder}: add --checkpoints {user_folder}")
    suggested = shlex.split(message.partition(": add ")[2])
    assert charrnn("info", "mine", *suggested).status == 0
    make_run("local")
    assert charrnn("runs").err == f"runs in checkpoints (1 in {user_folder}: see them with --checkpoints)\n"


def test_a_pretrained_model_that_stands_in_for_a_hidden_run_says_so(user_folder: Path) -> None:
    make_run("mine", folder=user_folder)
    RUNS.mkdir()
    note = f"no runs in checkpoints (but 1 in {user_folder}): this is shakespeare"
    assert charrnn("info").err.startswith(note)


def test_local_runs_that_another_folder_hides_are_pointed_at(no_models: None) -> None:
    make_run("local")
    assert failed(charrnn("info", "local", "--checkpoints", "other")).endswith(
        "add --checkpoints checkpoints"
    )
    assert "no runs in other (but 1 in checkpoints)" in failed(charrnn("info", "--checkpoints", "other"))


def test_the_newest_run_is_the_one_whose_last_checkpoint_is_newest() -> None:
    make_run("older", age=100)
    make_run("newer", age=50)
    os.utime(RUNS / "older" / LAST)  # its best checkpoint is of long ago
    assert list(listed()) == ["older", "newer"]
    assert json.loads(charrnn("info", "--json").text)["name"] == "older"


# --- rm ---


def test_rm_deletes_the_runs_that_are_named_and_nothing_else() -> None:
    for name in ("one", "two", "three"):
        make_run(name)
    (RUNS / "README.md").touch()
    (RUNS / "one" / f".{BEST}.0123abcd-99-0123abcd").touch()  # a killed process left it
    (RUNS / "one" / "events.out.tfevents.1.host").touch()
    done = charrnn("runs", "rm", "one", "checkpoints/three/", "--yes")
    assert done.status == 0, done.err
    assert {path.split("/")[0] for path in files()} == {"two", "README.md"}
    assert not (RUNS / "one").exists()
    assert [line.split(":")[0] for line in done.err.splitlines()] == [
        "deleted checkpoints/one",
        "deleted checkpoints/three",
    ]


def test_rm_keeps_the_users_files_in_a_runs_folder() -> None:
    run = make_run("one")
    (run / "notes.md").write_text("mine")
    (run / "samples").mkdir()
    (run / "samples" / "a.txt").write_text("mine")
    assert "notes.md, samples" in charrnn("runs", "rm", "one", "-y").err
    assert files() == ["one/notes.md", "one/samples/a.txt"]


def test_rm_asks_first_in_a_terminal_and_needs_yes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("one")
    before = files()
    assert "--yes" in failed(charrnn("runs", "rm", "one"), 2)
    answers = {"Delete checkpoints/one?": False}
    monkeypatch.setattr("typer.confirm", lambda text, err: answers[text])
    assert failed(charrnn("runs", "rm", "one", tty=True)) == "charrnn: nothing was deleted"
    assert files() == before
    answers["Delete checkpoints/one?"] = True
    assert charrnn("runs", "rm", "one", tty=True).status == 0
    assert files() == []


def test_ctrl_c_at_the_question_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    def interrupted(text: str, err: bool) -> bool:
        raise typer.Abort

    make_run("one")
    before = files()
    monkeypatch.setattr("typer.confirm", interrupted)
    assert charrnn("runs", "rm", "one", tty=True).status == 130
    assert files() == before


@pytest.mark.parametrize("command", [["rm", "--yes"], ["mv"]])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tiney", "did you mean tiny"),
        ("notes", "is not the folder of a run"),
        ("foreign", "is not the folder of a run"),
        ("linked", "is a link to"),
        ("", "no run is called"),
        ("..", "no run is called"),
        ("../tiny", "is not in checkpoints"),
        ("elsewhere/tiny", "is not in checkpoints"),
        ("shipped", "comes with charrnn"),
        (".", "no run is called"),
    ],
)
def test_what_is_not_a_run_is_neither_removed_nor_renamed(
    command: list[str], name: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("tiny")
    make_run("tiny", folder=Path("elsewhere"))
    for folder in ("notes", "foreign"):
        (RUNS / folder).mkdir()
    (RUNS / "notes" / "a.txt").touch()
    (RUNS / "foreign" / BEST).write_bytes(b"the model of another program")
    (RUNS / "linked").symlink_to(Path("elsewhere/tiny").absolute())
    monkeypatch.setattr("charrnn.runs.runs.pretrained", lambda: {"shipped": Path("x")})
    before = files(Path())
    new = ["new"] if command == ["mv"] else []
    assert says in failed(charrnn("runs", *command, name, *new))
    assert files(Path()) == before


def test_one_wrong_name_among_several_deletes_nothing() -> None:
    make_run("one")
    before = files()
    assert "no run is called two" in failed(charrnn("runs", "rm", "one", "two", "--yes"))
    assert files() == before


@pytest.mark.parametrize("command", [["rm", "busy", "--yes"], ["mv", "busy", "new"]])
def test_a_run_that_is_being_trained_is_neither_removed_nor_renamed(command: list[str]) -> None:
    run = make_run("busy")
    before = files()
    with locked(run):
        assert f"another process is training {run}" in failed(charrnn("runs", *command))
    assert files() == before


# --- mv ---


def test_a_renamed_run_is_the_run_trained_under_that_name_byte_for_byte() -> None:
    for name in ("old", "new"):
        make_run(name, age=500)
    (RUNS / "new").rename("expected")
    times = {path.name: path.stat().st_mtime_ns for path in (RUNS / "old").iterdir()}
    done = charrnn("runs", "mv", "old", "new")
    assert done.status == 0, done.err
    assert done.err == "renamed checkpoints/old to checkpoints/new\n"
    assert not (RUNS / "old").exists()
    for name in (BEST, LAST, LOG):
        assert (RUNS / "new" / name).read_bytes() == (Path("expected") / name).read_bytes()
        assert (RUNS / "new" / name).stat().st_mtime_ns == times[name]
    assert load(RUNS / "new" / LAST, resume=True).header.name == "new"


@pytest.mark.slow
def test_a_renamed_run_is_resumed_to_the_weights_that_it_would_have_had() -> None:
    Path("text.txt").write_text(TEXT)
    small = ["--hidden", "6", "--dropout", "0.1", "-q"]
    assert charrnn("train", "text.txt", *small, "--steps", "6", "--name", "old").status == 0
    assert charrnn("train", "text.txt", *small, "--steps", "6", "--name", "same").status == 0
    assert charrnn("runs", "mv", "old", "new").status == 0
    for name in ("new", "same"):
        done = charrnn("train", "--resume", name, "--steps", "6", "-q")
        assert done.status == 0, done.err
    new, same = (load(RUNS / name / LAST, resume=True) for name in ("new", "same"))
    assert new.header.weights_sha256 == same.header.weights_sha256
    assert new.weights.keys() == same.weights.keys()
    for name, weight in new.weights.items():
        np.testing.assert_array_equal(weight, same.weights[name])


def test_a_name_that_is_taken_is_refused() -> None:
    make_run("one")
    (RUNS / "two").mkdir()
    (RUNS / "three").symlink_to("nowhere")
    before = files()
    for name in ("two", "three", "one"):
        assert f"checkpoints/{name} exists" in failed(charrnn("runs", "mv", "one", name))
    assert files() == before


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", " a", "x" * 256])
def test_a_new_name_that_is_not_a_folder_name_is_refused(name: str) -> None:
    make_run("one")
    before = files()
    assert "must be a plain folder name" in failed(charrnn("runs", "mv", "one", name), 2)
    assert files() == before


def test_a_run_whose_folder_cannot_be_renamed_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(path))

    run = make_run("one")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    monkeypatch.setattr(Path, "rename", fail)
    assert "checkpoints/one: Permission denied" in failed(charrnn("runs", "mv", "one", "two"))
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_what_only_looks_like_a_temporary_file_is_the_users() -> None:
    run = make_run("one")
    for name in (f".{BEST}.bak", f".{BEST}.0123abcd-99-0123abcd"):
        (run / name).write_text("mine")
    assert f".{BEST}.bak" in charrnn("runs", "rm", "one", "-y").err
    assert files() == [f"one/.{BEST}.bak"]


def test_a_damaged_run_is_not_renamed_in_part() -> None:
    run = make_run("one")
    (run / LAST).write_bytes(b"damaged")
    before = (run / BEST).read_bytes()
    assert str(run / LAST) in failed(charrnn("runs", "mv", "one", "two"))
    assert (run / BEST).read_bytes() == before


# --- diff and info ---


def test_diff_shows_the_results_and_only_the_settings_that_are_not_equal() -> None:
    make_run("one")
    make_run(
        "two", model=replace(MODEL, hidden=9), training=TrainConfig(lr=0.001), vocabulary=Vocabulary("abx")
    )
    done = charrnn("runs", "diff", "one", "two")
    rows = [re.split(r"  +", line) for line in done.text.splitlines()]
    assert rows[0] == ["RESULTS", "one", "two"]
    assert ["validation bpc", "2.1640", "2.1640"] in rows
    settings = rows[rows.index(["SETTINGS", "one", "two"]) + 1 :]
    assert ["hidden", "5", "9"] in settings
    assert ["lr", "0.006", "0.001"] in settings
    assert ["symbols not shared", '"c"', '"x"'] in settings
    assert {row[0] for row in settings} == {"hidden", "parameters", "lr", "symbols not shared"}


def test_diff_gives_settings_results_and_reports_as_json() -> None:
    make_run("one")
    make_run("two", training=TrainConfig(steps=5))
    facts = json.loads(charrnn("runs", "diff", "one", "two", "--json").text)
    assert facts["names"] == ["one", "two"]
    assert facts["settings"] == {"steps": [None, 5]}
    assert facts["results"]["validation_nats"] == [1.5, 1.5]
    assert [report["step"] for report in facts["reports"][1]] == [3, 6, 9]


def test_equal_settings_are_said_to_be_equal() -> None:
    for name in ("one", "two"):
        make_run(name)
    assert charrnn("runs", "diff", "one", "two").text.splitlines()[-1] == "equal settings"


def test_a_terminal_gets_the_validation_curves_of_both_in_one_plot() -> None:
    for name in ("one", "two"):
        make_run(name)
    for command in (["runs", "diff"], ["info"]):
        seen = charrnn(*command, "one", "two", tty=True).text
        assert seen.count("over epochs") == 1
        assert "one validation" in seen.splitlines()[-1]
        assert "two validation" in seen.splitlines()[-1]
        assert "over epochs" not in charrnn(*command, "one", "two").text


def test_info_says_the_losses_directly_after_the_name() -> None:
    make_run("one", parent={"name": "earlier", "weights_sha256": "ab12" * 16})
    lines = [re.split(r"  +", line) for line in charrnn("info", "one").text.splitlines()]
    assert lines[:4] == [
        ["name", "one"],
        ["validation bpc", "2.1640"],
        ["validation nats", "1.5000"],
        ["train nats", "1.2500"],
    ]
    assert ["parent", "earlier (ab12ab12ab12)"] in lines
    assert ["weights sha256", load(RUNS / "one" / BEST).header.weights_sha256] in lines


def test_info_describes_several_checkpoints_in_their_order() -> None:
    for name in ("one", "two"):
        make_run(name)
    names = ["two", "one", f"checkpoints/two/{LAST}"]
    lines = [json.loads(line) for line in charrnn("info", *names, "--json").text.splitlines()]
    assert [line["name"] for line in lines] == ["two", "one", "two"]
    blocks = charrnn("info", *names).text.split("\n\n")
    assert [re.split(r"\s+", block)[1] for block in blocks] == ["two", "one", "two"]


def test_a_checkpoint_outside_a_run_has_no_curve_of_another_file() -> None:
    run = make_run("one")
    (run / BEST).rename(run / "mine.safetensors")
    assert "over epochs" not in charrnn("info", str(run / "mine.safetensors"), tty=True).text
    message = failed(charrnn("info", str(run / "mine.safetensors"), "--svg", "a.svg"))
    assert "no loss curve" in message
    assert not Path("a.svg").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_loss_curves_are_saved_as_a_picture(kind: str) -> None:
    for name in ("one", "two"):
        make_run(name)
    done = charrnn("info", "one", "two", f"--{kind}", f"curves.{kind}")
    assert done.status == 0, done.err
    assert done.err == f"wrote curves.{kind}\n"
    picture = Path(f"curves.{kind}").read_bytes()
    assert picture.startswith({"png": b"\x89PNG", "svg": b"<?xml"}[kind])


@pytest.mark.slow
def test_a_run_without_a_curve_is_named_when_a_picture_is_saved() -> None:
    make_run("one")
    (make_run("two") / "log.jsonl").unlink()
    done = charrnn("info", "one", "two", "--svg", "curves.svg")
    assert done.status == 0, done.err
    assert done.err.splitlines()[0] == "two is not in the picture: its log has fewer than two reports"


# --- options ---


@pytest.mark.parametrize(
    "arguments", [["--json", "rm", "one", "-y"], ["--checkpoints", "x", "mv", "one", "b"]]
)
def test_an_option_before_a_subcommand_is_not_ignored(arguments: list[str]) -> None:
    make_run("one")
    before = files()
    assert f"{arguments[0]}: give it after the command" in failed(charrnn("runs", *arguments), 2)
    assert files() == before


def test_quiet_leaves_the_table_alone() -> None:
    make_run("one")
    done = charrnn("runs", "-q")
    assert done.err == ""
    assert done.out == charrnn("runs").out
    assert charrnn("runs", "mv", "one", "two", "-q").err == ""
