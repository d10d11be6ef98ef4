"""Run a scenario once for each operation and fault: ``python -m tests.faults SCENARIO FOLDER``.

One process imports torch and runs the scenario without a fault, and then forks a child for each trial. Every
broken law is a line of JSON on stdout: the fault, the number and the name of the operation, the problem of
the command, and that of the law. The last line has the number of trials for each fault.

With --power, the power fails instead, after each operation.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import pickle
import shutil
import signal
import sys
import threading
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import torch

from charrnn.files import temporary_of
from tests.conftest import TEXT
from tests.faults.disk import FAULTS, KILLS, Disk
from tests.faults.power import Event, contents_after_failures
from tests.faults.scenarios import SCENARIOS, TRAIN, Files, Scenario, begin_text, done, files, prepare


def in_child(function: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    """The exit status of a forked child that calls the function, and the result. Negative: a signal."""
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiver)
        try:
            result = function(*arguments)
        except BaseException:
            result = traceback.format_exc()
            os.write(sender, pickle.dumps(result))
            os._exit(1)
        with os.fdopen(sender, "wb") as file:
            file.write(pickle.dumps(result))
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as file:
        data = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, pickle.loads(data) if data else None


def begin(scenario: Scenario, folder: Path) -> Files:
    """Make the folder that the command begins from; its files."""
    folder.mkdir()
    os.chdir(folder)
    scenario.begin()
    return files()


def run(scenario: Scenario, folder: Path, at: int = 0, fault: str = "") -> tuple[str, int, str, Files]:
    """Run the command with one fault: the operation that failed, the exit status, stderr, the files after."""
    os.chdir(folder)
    with Disk(folder, at, fault) as disk:
        ran = scenario.run()
    return disk.triggered, ran.status, ran.err, files()


def contents(folder: Path) -> frozenset[tuple[str, bytes]]:
    """The folders and files of a folder; those with the same contents need to be checked only once."""
    os.chdir(folder)
    found = {path: b"" for path in Path().rglob("*") if path.is_dir()} | files()
    names = {path: f"temporary {name}" if (name := temporary_of(path.name)) else path.name for path in found}
    return frozenset((str(path.with_name(names[path])), data) for path, data in found.items())


def check(scenario: Scenario, folder: Path, before: Files, expected: Files) -> None:
    """Check the laws after a trial. Raises AssertionError."""
    os.chdir(folder)
    scenario.after(before, expected)
    orphans = [str(path) for path in files() if temporary_of(path.name)]
    assert not orphans, f"temporary files are left: {orphans}"


def problem_of(status: int, ran: tuple[str, int, str, Files] | str | None, fault: str) -> str:
    """The broken law of a command itself: how it ended, and what it printed; "" for none."""
    if fault in KILLS and status == -signal.SIGKILL:
        return ""
    if not isinstance(ran, tuple):
        return f"exit status {status}: {ran}"
    _, exit_status, errors, _ = ran
    if "Traceback" in errors or exit_status not in (0, 1):
        return f"exit status {exit_status}: {errors}"
    lines = errors.splitlines()
    if [line for line in lines if line.startswith("charrnn: ")] != (lines[-1:] if exit_status else []):
        return f"the error is not one line, the last: {errors}"
    return ""


def prepared(scenario: Scenario, folder: Path) -> tuple[Path, Path, Files]:
    """Two equal folders that the command begins from, and their files; trials take place in the second.

    All trials have the same path, which checkpoints record.
    """
    beginning, trial = folder / "begin", folder / "trial"
    status, before = in_child(begin, scenario, beginning)
    assert not status, before
    shutil.copytree(beginning, trial)
    return beginning, trial, before


def trials(scenario: Scenario, folder: Path) -> Counter[str]:
    """Run the trials, and write the broken laws to stdout. Returns the number of trials of each fault."""
    beginning, trial, before = prepared(scenario, folder)
    status, whole = in_child(run, scenario, trial)
    assert not status, whole
    assert whole[1] == 0, whole[2]
    expected, counts, checked = whole[3], Counter[str](), dict[frozenset[tuple[str, bytes]], str]()
    for fault in FAULTS:
        for at in itertools.count(1):
            shutil.rmtree(trial)
            shutil.rmtree(folder / "trial-expected", ignore_errors=True)
            shutil.copytree(beginning, trial)
            status, ran = in_child(run, scenario, trial, at, fault)
            if isinstance(ran, tuple) and not ran[0]:
                break
            counts[fault] += 1
            problem = problem_of(status, ran, fault)
            if (left := contents(trial)) not in checked:
                status, broken = in_child(check, scenario, trial, before, expected)
                checked[left] = broken if status else ""
            if problem or checked[left]:
                operation = ran[0] if isinstance(ran, tuple) else ""
                write_line([fault, at, operation, problem, checked[left]])
    return counts


def record(scenario: Scenario, folder: Path) -> tuple[list[Event], Files]:
    """Run the command without a fault: what it did to the disk, and the files after."""
    os.chdir(folder)
    events: list[Event] = []
    with Disk(folder, record=lambda *event: events.append(event)):
        ran = scenario.run()
    assert ran.status == 0, ran.err
    return events, files()


def power_failures(scenario: Scenario, folder: Path) -> Counter[str]:
    """Check the laws for all that the disk may hold after a power failure. Returns the number of trials."""
    _, trial, before = prepared(scenario, folder)
    status, recorded = in_child(record, scenario, trial)
    assert not status, recorded
    events, expected = recorded
    states, at_the_end = contents_after_failures(before, events)
    if at_the_end != {frozenset((str(path), data) for path, data in expected.items())}:
        write_line(
            [
                "power failure",
                len(events),
                "after the command",
                "the result is not durable when the command ends",
                "",
            ]
        )
    for number, state in enumerate(sorted(states, key=sorted)):
        shutil.rmtree(trial)
        shutil.rmtree(folder / "trial-expected", ignore_errors=True)
        for path, data in state:
            (trial / path).parent.mkdir(parents=True, exist_ok=True)
            (trial / path).write_bytes(data)
        status, broken = in_child(check, scenario, trial, before, expected)
        if status:
            sizes = {path: len(data) for path, data in state}
            write_line(["power failure", number, str(sizes), "", broken])
    return Counter({"power failure": len(states)})


def write_line(value: object) -> None:
    """Write a line of JSON to stdout."""
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def serve() -> HTTPServer:
    """A server on this machine, which sends a zip archive; its address is in $FAULTS_ADDRESS."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("plays.txt", TEXT * 40)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(archive.getvalue())))
            self.end_headers()
            self.wfile.write(archive.getvalue())

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    os.environ |= {"FAULTS_ADDRESS": f"http://127.0.0.1:{server.server_port}", "no_proxy": "*"}
    return server


def main(name: str, folder: Path, power: bool) -> None:
    """Run the trials of a scenario in a folder that does not exist yet."""
    torch.set_num_threads(1)  # a process with other threads cannot be forked
    os.environ |= {
        "CHARRNN_CACHE": "cache",
        "CHARRNN_CHECKPOINTS": "checkpoints",
        "CHARRNN_CORPORA": "corpora",
        "XDG_DATA_HOME": "data",
    }
    prepare()
    threading.Thread(target=serve().serve_forever, daemon=True).start()  # in this process alone
    warm = folder / "warm"
    warm.mkdir(parents=True)
    os.chdir(warm)
    begin_text()
    done(TRAIN)  # the children begin with all that this has imported and compiled
    write_line(power_failures(SCENARIOS[name], folder) if power else trials(SCENARIOS[name], folder))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), power="--power" in sys.argv)
