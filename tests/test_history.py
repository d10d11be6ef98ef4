"""A run's log and its diagnosis."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.files import json_line
from charrnn.runs import history
from tests.faults.disk import Disk

REPORT = history.Report(5, 10, 0.5, 640, 1.5, 1e-3, 0.7, 0.5, 2.5, 2.4, 3.46, 426.0, True, "é")


def reports(*rows: tuple[float, float | None, float]) -> list[dict]:
    """(train, validation, epoch) of each report."""
    return [
        {"train_nats": t, "validation_nats": v, "epoch": e, "step": k} for k, (t, v, e) in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("rows", "says", "remedy"),
    [
        ([(2.0, 2.0, 1), (1.2, 1.5, 5), (0.9, 1.6, 9)], "overfitted", "regularise"),
        ([(2.0, 2.0, 1), (1.2, 1.5, 5), (0.9, 1.505, 9)], "starting to overfit", "regularise"),
        ([(2.0, 2.0, 1), (1.0, 1.9, 9)], "still improving: train longer", "longer"),
        ([(2.0, 2.0, 1), (1.6, 1.6, 2)], "still improving: train longer", "longer"),
        ([(2.0, 2.0, 5), (1.6, 1.6, 20)], "still improving: train longer", "longer"),
        ([(2.0, 1.9, 5)], "still improving: train longer", "longer"),
        ([(2.0, 1.9, 5), (2.0, 1.95, 6)], "no longer improving", None),
        ([(2.0, 1.9, 5), (2.3, 2.5, 6)], "no longer improving", None),
        ([(2.0, None, 1)], "still learning: train longer", "longer"),
        ([(2.0, None, 1), (2.1, None, 2)], "no longer learning", None),
        ([(2.0, None, 1), (0.01, None, 2)], "learnt by heart", None),
        ([(2.0, None, 1), (1.3, 1.45, 9), (1.2, None, 10)], "still improving", "longer"),
        ([], "no report", None),
    ],
)
def test_the_diagnosis_says_what_happened_and_what_helps(rows: list, says: str, remedy: str | None) -> None:
    diagnosis = history.diagnosis(reports(*rows))
    assert diagnosis.says.startswith(says)
    assert diagnosis.remedy == remedy
    assert "\n" not in diagnosis.says
    validated = [(training, validation) for training, validation, _ in rows if validation is not None]
    if validated:  # the lowest validation loss, and the training loss of the last report with one
        lowest = min(validation for _, validation in validated)
        assert f"validation {lowest:.3f}, training {validated[-1][0]:.3f}" in diagnosis.says


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1))
def test_a_run_whose_last_report_is_its_best_is_still_improving_whatever_the_gap(losses: list) -> None:
    rows = [(training, validation, epoch) for epoch, (training, validation) in enumerate(losses)]
    diagnosis = history.diagnosis(reports(*rows))
    last_is_best = losses[-1][1] == min(validation for _, validation in losses)
    assert diagnosis.says.startswith("still improving: train longer") == last_is_best


def test_a_report_is_appended_and_read_back(tmp_path: Path) -> None:
    first = dataclasses.replace(REPORT, sample="é\n")
    second = dataclasses.replace(first, step=10, validation_nats=None, validation_bpc=None, best=False)
    for report in (first, second):
        history.append(tmp_path, report)
    assert history.read(tmp_path) == [dataclasses.asdict(first), dataclasses.asdict(second)]


def test_an_incomplete_line_is_skipped_and_reports_after_a_step_are_removed(tmp_path: Path) -> None:
    (tmp_path / history.LOG).write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    assert [line["step"] for line in history.read(tmp_path)] == [1, 2, 3]
    history.remove_after(tmp_path, 2)
    assert (tmp_path / history.LOG).read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_report_is_appended_whole_or_not_at_all_also_where_the_disk_stays_full(tmp_path: Path) -> None:
    with Disk(tmp_path, 1, "torn write"):
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                history.append(tmp_path, REPORT)
    assert (tmp_path / history.LOG).read_bytes() == b""
    for _ in range(2):
        history.append(tmp_path, REPORT)
    with Disk(tmp_path, 1, "short write"):
        history.append(tmp_path, REPORT)
    assert history.read(tmp_path) == [dataclasses.asdict(REPORT)] * 3


@pytest.mark.parametrize("line", [b"my note", b"{}", b'{"a": "', b"{'step': 1}", b'{"step": 3}'])
def test_a_last_line_of_the_users_stays_and_gets_a_newline(tmp_path: Path, line: bytes) -> None:
    (tmp_path / history.LOG).write_bytes(b'{"step": 1}\n' + line)
    history.remove_after(tmp_path, 5)
    assert (tmp_path / history.LOG).read_bytes() == b'{"step": 1}\n' + line + b"\n"


@given(st.binary(max_size=20), st.integers(0, 300))
def test_what_a_power_failure_leaves_of_a_report_is_removed(zeros: bytes, length: int) -> None:
    whole = json_line(dataclasses.asdict(REPORT))
    torn = whole[:length][: len(whole) - 2] + b"\0" * len(zeros)
    with TemporaryDirectory() as folder:
        log = Path(folder) / history.LOG
        log.write_bytes(whole + torn)
        history.remove_after(Path(folder), 5)
        assert log.read_bytes() == whole


def test_a_line_ends_with_a_newline_and_with_nothing_else(tmp_path: Path) -> None:
    (tmp_path / history.LOG).write_bytes(b'a note\r{"step": 1}\n{"step": 9}\n')
    assert history.read(tmp_path) == [{"step": 9}]
    history.remove_after(tmp_path, 5)
    assert (tmp_path / history.LOG).read_bytes() == b'a note\r{"step": 1}\n'


def test_a_run_without_a_log_has_no_reports(tmp_path: Path) -> None:
    history.remove_after(tmp_path, 5)
    assert history.read(tmp_path) == []


FOREIGN = [
    b"a note of the user",
    b"\xff\xfe",
    b"[" * 100_000,
    b"{}",
    b"5",
    b'{"step": "3"}',
    b'{"step": NaN}',
    b'{"step": 2, "train_nats": "x"}',
    b'{"step": 2, "train_nats": null}',
    b'{"step": 2, "validation_nats": NaN}',
    b'{"step": 2, "epoch": ' + b"9" * 400 + b"}",
    b'{"step": 2, "sample": 5}',
]


@pytest.mark.parametrize("line", FOREIGN)
def test_a_line_that_is_no_report_is_skipped_and_kept_when_a_run_resumes(tmp_path: Path, line: bytes) -> None:
    early, late = (json_line({"step": step, "train_nats": 1.0, "epoch": 1.0}) for step in (1, 9))
    (tmp_path / history.LOG).write_bytes(early + line + b"\r\n" + late)
    assert [report["step"] for report in history.read(tmp_path)] == [1, 9]
    assert "learning" in history.diagnosis(history.read(tmp_path)).says
    history.remove_after(tmp_path, 5)
    assert (tmp_path / history.LOG).read_bytes() == early + line + b"\r\n"


def test_a_report_without_its_losses_is_no_part_of_the_diagnosis() -> None:
    assert history.diagnosis([{"step": 1}]).says.startswith("no report")


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "device"])
def test_a_log_that_is_not_a_file_is_no_log_and_an_error_before_training(tmp_path: Path, kind: str) -> None:
    log = tmp_path / history.LOG
    match kind:
        case "folder":
            log.mkdir()
        case "pipe":
            os.mkfifo(log)
        case _:
            log.symlink_to("/dev/zero" if kind == "device" else tmp_path / "nothing" / "there")
    assert history.read(tmp_path) == []
    with pytest.raises(OSError, match="not a file"):
        history.remove_after(tmp_path, 5)
