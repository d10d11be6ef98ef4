"""``charrnn sample --interactive``: writing together with a model, and every step back."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import stat
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from charrnn.cli import consoles
from charrnn.cli.reading_options import Unknown
from charrnn.cli.sample_interactive import COMMANDS, HELP, HELP_WORDS, Dialogue, Settings
from charrnn.cli.sample_prompts import PromptReader
from charrnn.cli.terminal import Terminal
from charrnn.files import data_path
from charrnn.inference import sample as sampling
from charrnn.inference.choice import Choice
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import Inference, Logits
from charrnn.inference.sample import opening_ids
from charrnn.inference.session import Session
from charrnn.runs.checkpoint import BEST, load
from tests.conftest import charrnn

LENGTH = 12


class Typist(consoles.Console):
    """A console that types prepared lines; an exception in them is raised."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self.lines = list(lines)
        self.prompts: list[str] = []
        self.edited: list[str] = []

    def ask(self, prompt: str, status: str = "") -> str:
        self.prompts.append(prompt)
        return self._next()

    def edit(self, text: str) -> str:
        self.edited.append(text)
        return self._next()

    def _next(self) -> str:
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        if isinstance(line, str):
            return line
        raise line


class Stage:
    """A dialogue, what it shows, and the text."""

    def __init__(self, run: Path, *lines: str | type[BaseException], beginning: str = "", count: int = 1):
        loaded = load(run / BEST)
        vocabulary = loaded.header.vocabulary
        self.predictor = Inference(loaded.header.network, loaded.weights)
        self.shown, self.messages = io.BytesIO(), io.StringIO()
        screen = Terminal(io.BytesIO(), self.shown, self.messages, stdout_tty=True)
        reader = PromptReader(screen, vocabulary, Unknown.error, self.predictor, None)

        def constraints_for(length: int, note: Callable[[str], object]) -> Constraints:
            return Constraints(len(vocabulary), length=length)

        self.session = Session(self.predictor, opening_ids(vocabulary), None, seed=1)
        settings = Settings(Choice(), constraints_for, LENGTH, count)
        self.typist = Typist(*lines)
        self.dialogue = Dialogue(screen, reader, self.session, settings, self.typist)
        self.vocabulary = vocabulary
        self.dialogue.run(vocabulary.encode(beginning))

    @property
    def text(self) -> str:
        return self.vocabulary.decode(list(self.session.position.ids))

    @property
    def texts(self) -> list[str]:
        return [self.vocabulary.decode(list(ids)) for ids in self.session.texts]

    def logits(self) -> Logits:
        """(V,) the logits of the next character, by the cursor."""
        cursor = self.session.position.cursor
        logits, _ = self.predictor(cursor.unread[None], cursor.state)
        last: Logits = logits[0, -1]
        return last

    def logits_of_the_text(self) -> Logits:
        """(V,) the logits of the next character, by reading the whole text."""
        ids = np.array(self.session.position.ids)[None]
        logits, _ = self.predictor(ids, self.predictor.start(1))
        last: Logits = logits[0, -1]
        return last


def sampled(prompt: str, index: int = 0) -> str:
    """What the command generates after a prompt."""
    arguments = ("--seed", "1", "--index", str(index), "--length", str(LENGTH))
    return charrnn("sample", *arguments, "--prompt", prompt).text


# --- the text ---


def test_a_beginning_is_continued_as_the_command_continues_it(run: Path) -> None:
    assert Stage(run, "the cat").text == sampled("the cat") == Stage(run, beginning="the cat").text
    assert Stage(run, "").text == sampled("")


def test_enter_goes_on_and_text_is_added_without_reading_the_text_again(run: Path) -> None:
    stage = Stage(run, "the", "", r"\ncat")
    first = sampled("the")
    assert stage.text.startswith(first)
    assert len(stage.text) == 3 + LENGTH + LENGTH + 4 + LENGTH
    assert stage.text[3 + 2 * LENGTH :].startswith("\ncat")
    assert len(stage.session.position.cursor.unread) == 1
    np.testing.assert_allclose(stage.logits(), stage.logits_of_the_text(), rtol=1e-5)


def test_retry_draws_another_continuation_of_the_same_text(run: Path) -> None:
    stage = Stage(run, "the", "/retry")
    assert stage.text == sampled("the", index=1) != sampled("the")
    assert Stage(run, "the", "/r", "/undo").text == sampled("the")
    assert "no continuation yet" in Stage(run, "/retry").messages.getvalue()


def test_undo_goes_back_step_by_step(run: Path) -> None:
    lines = ["the", "", " cat", "/retry", "/new", "no"]
    texts = [Stage(run, *lines[:number]).text for number in range(len(lines) + 1)]
    assert len(set(texts)) == len(texts) - 1  # the empty text, twice
    for number, text in enumerate(reversed(texts)):
        stage = Stage(run, *lines, *["/u"] * number)
        assert stage.text == text
        if text:
            np.testing.assert_allclose(stage.logits(), stage.logits_of_the_text(), rtol=1e-5)
    assert "nothing to undo" in Stage(run, *lines, *["/u"] * 7).messages.getvalue()


def test_an_edited_text_is_continued_like_any_other(run: Path) -> None:
    stage = Stage(run, "the cat", "/edit", "the mat", "")
    assert stage.typist.edited == [sampled("the cat")]
    assert stage.text == sampled("the mat", index=1)
    kept = Stage(run, "the cat", "/edit", KeyboardInterrupt)
    assert kept.text == sampled("the cat")
    assert Stage(run, "the cat", "/edit", "the mat", "/undo").text == sampled("the cat")


def test_an_edit_keeps_the_state_of_the_part_that_did_not_change(run: Path) -> None:
    longer = sampled("the cat") + " sat"
    stage = Stage(run, "the cat", "/edit", longer)
    assert stage.text == longer
    assert len(stage.session.position.cursor.unread) == 1 + len(" sat")
    np.testing.assert_allclose(stage.logits(), stage.logits_of_the_text(), rtol=1e-5)


def test_one_of_several_continuations_is_chosen_by_its_number(run: Path) -> None:
    stage = Stage(run, "the", "4", "cat", "2", count=3)
    assert stage.typist.prompts == ["> ", "1-3> ", "1-3> ", "1-3> ", "> "]
    assert stage.text == sampled("the", index=1)
    shown = stage.shown.getvalue().decode()
    for number in range(3):
        assert f"[{number + 1}] {sampled('the', index=number)}\n" in shown
    assert stage.messages.getvalue().count("choose from 1 to 3") == 2
    assert Stage(run, "the", "/retry", "1", count=3).text == sampled("the", index=3)
    assert Stage(run, "the", "/undo", count=3).text == ""


def test_every_text_of_a_session_is_kept(run: Path) -> None:
    stage = Stage(run, "the", "/new", "no")
    assert stage.texts == [sampled("the"), sampled("no", index=1)]
    assert Stage(run, "/quit", "the").texts == []


def test_ctrl_c_stops_a_continuation_and_keeps_its_beginning(run: Path, monkeypatch) -> None:
    def interrupted(*arguments, **settings) -> Iterator:
        for number, chunk in enumerate(sampling.sample(*arguments, **settings)):
            if number == 5:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr("charrnn.inference.session.sample", interrupted)
    stage = Stage(run, "the")
    assert stage.text == sampled("the")[: 3 + 5]
    np.testing.assert_allclose(stage.logits(), stage.logits_of_the_text(), rtol=1e-5)
    assert "stopped" in stage.messages.getvalue()
    several = Stage(run, "the", "1", count=2)
    assert several.text.startswith("the")
    assert 3 < len(several.text) < 3 + LENGTH


# --- the commands ---


def test_temperature_length_and_count_apply_from_then_on(run: Path) -> None:
    greedy = charrnn("sample", "--temperature", "0", "--length", "5", "--prompt", "the").text
    assert Stage(run, "/temperature 0", "/length 5", "the").text == greedy
    assert Stage(run, "/t 0", "/l 5", "/c 2", "the", "2").text == greedy
    assert Stage(run, "/t 0:1").dialogue.settings.status() == "temperature 0:1   length 12   count 1"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/temperature hot", "/temperature hot: must be a number, or a range"),
        ("/temperature -1", "--temperature -1: must be 0"),
        ("/length", "/length : must be a number from 0 to 1,000,000"),
        ("/count 0", "/count 0: must be a number from 1 to 99"),
        (f"/length {'9' * 5000}", ": must be a number from 0 to 1,000,000"),
        ("/frobnicate", "no command /frobnicate; ? lists the commands"),
        ("/", "no command /; ? lists the commands"),
        ("/save", "/save FILE: name a file"),
        ("/save a\0b", "/save FILE: name a file"),
        ("/save ~nobody-of-this-name/text", "No such file or directory"),
        ("/save taken", "taken exists: give another name"),
        ("/save nowhere/text", "No such file or directory"),
        ("☃", "'☃' (U+2603 SNOWMAN)"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(run: Path, line: str, message: str) -> None:
    Path("taken").write_text("mine")
    stage = Stage(run, "the", line)
    _, *messages = stage.messages.getvalue().splitlines()
    assert len(messages) == 1
    assert message in messages[0]
    assert stage.text == sampled("the")
    assert Path("taken").read_text() == "mine"


def test_several_continuations_need_an_end(run: Path) -> None:
    stage = Stage(run, "/length 0", "/count 2", "the")
    assert "several continuations need an end" in stage.messages.getvalue()


def test_save_writes_the_text_and_may_replace_its_own_file(run: Path) -> None:
    stage = Stage(run, "the", "/save text", "", "/s text")
    assert Path("text").read_text() == stage.text
    assert len(stage.text) == 3 + 2 * LENGTH


def test_commands_have_different_first_letters_and_a_slash_can_begin_a_text(run: Path) -> None:
    assert len({command[1] for command in COMMANDS}) == len(COMMANDS)
    assert all(len(line) <= 80 for line in HELP.splitlines())
    for words in HELP_WORDS:
        assert Stage(run, words).shown.getvalue().decode() == HELP
    assert "'/' (U+002F SOLIDUS) at position 0" in Stage(run, "//the").messages.getvalue()


def test_print_shows_the_whole_text_and_ctrl_c_at_the_prompt_says_how_to_leave(run: Path) -> None:
    stage = Stage(run, "the", KeyboardInterrupt, "/print")
    assert stage.shown.getvalue().decode().count(stage.text) == 2
    assert "Ctrl-D leaves" in stage.messages.getvalue()


# --- the command line ---


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json"],
        ["--prompts", "-"],
        ["--output", "o"],
        ["--beam", "2"],
        ["--beam", "2", "--count", "2"],
        ["--novel", "x"],
        ["--save-state", "s"],
        ["--no-echo"],
        [],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_in_a_session_is_refused(run: Path, arguments: list[str]) -> None:
    done = charrnn("sample", "--interactive", *arguments, tty=bool(arguments))
    assert (done.status, done.out) == (2, b"")
    (line,) = done.err.splitlines()
    assert "--interactive" in line
    assert ("needs a terminal" in line) == (not arguments)


def test_the_history_of_earlier_sessions_is_readable_by_its_owner_alone() -> None:
    consoles.history().append_string("the cat")
    consoles.history().append_string("é")
    assert list(consoles.history().load_history_strings()) == ["é", "the cat"]
    assert stat.S_IMODE(data_path(consoles.HISTORY).stat().st_mode) == 0o600


def test_a_session_needs_no_file_for_its_history() -> None:
    data_path("").parent.mkdir(parents=True, exist_ok=True)
    data_path("").write_bytes(b"")  # no folder can be made here
    history = consoles.history()
    history.append_string("the cat")
    assert list(history.get_strings()) == ["the cat"]


# --- a real terminal ---


class Keyboard:
    """A command in a pseudo-terminal of its own."""

    def __init__(self, *command: str, **settings) -> None:
        self._end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C reaches it
            **settings,
        )
        os.close(other)
        self.shown = ""

    def wait_for(self, pattern: str, seconds: float = 60) -> None:
        """Read what is shown, until it contains the pattern after the last one."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.shown)):
            assert time.monotonic() < deadline, self.shown
            if select.select([self._end], [], [], 0.1)[0]:
                data = os.read(self._end, 1 << 16)
                if b"\x1b[6n" in data:  # prompt_toolkit asks for the cursor's position
                    os.write(self._end, b"\x1b[1;1R")
                self.shown += data.decode(errors="replace")
        self.shown = self.shown[match.end() :]

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def end(self) -> int:
        """The exit status."""
        while True:
            with contextlib.suppress(OSError):
                if os.read(self._end, 1 << 16):
                    continue
            break
        os.close(self._end)
        return self.process.wait(60)


@pytest.mark.slow
def test_a_session_in_a_terminal(run: Path) -> None:
    keyboard = Keyboard(
        sys.executable, "-m", "charrnn", "sample", "-i", "-s", "1", "-n", str(LENGTH), "--ban", "\n"
    )
    keyboard.wait_for("Ctrl-D leaves")
    keyboard.wait_for(">")
    keyboard.type("the cat\r")
    keyboard.wait_for(">")
    keyboard.type("/save \x1b[31mtext\x1b[0m\r")  # pasted with the codes of a colour
    keyboard.wait_for("saved text")
    expected = charrnn("sample", "-s", "1", "-n", str(LENGTH), "--ban", "\n", "-p", "the cat").text
    assert Path("text").read_text() == expected
    keyboard.type("/length 0\r")
    keyboard.wait_for(">")
    keyboard.type(" no\r")
    keyboard.wait_for(re.escape(expected) + r" no[^\x1b>]{40}")
    keyboard.type("\x03")
    keyboard.wait_for("stopped")
    keyboard.wait_for(">")
    keyboard.type("/undo\r")
    keyboard.wait_for(re.escape(expected))  # after it, ">" is the next prompt, not the redrawn last one
    keyboard.wait_for(">")
    keyboard.type("\x04")
    keyboard.wait_for(re.escape(expected))
    assert keyboard.end() == 0
