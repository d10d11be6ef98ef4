"""A run's log and its diagnosis."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from charrnn.runs import history


def reports(*rows: tuple[float, float | None, float]) -> list[dict]:
    """(train, validation, epoch) of each report."""
    return [
        {"train_nats": t, "validation_nats": v, "epoch": e, "step": k} for k, (t, v, e) in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("rows", "says", "option"),
    [
        ([(2.0, 2.0, 1), (1.2, 1.5, 5), (0.9, 1.6, 9)], "overfitted after epoch 5.0", "--dropout"),
        ([(2.0, 2.0, 1), (1.3, 1.45, 9)], "starting to overfit", "--dropout"),
        ([(2.0, 2.0, 1), (1.6, 1.6, 2)], "ran out of budget after 2.0 epochs", "--minutes"),
        ([(2.0, 2.0, 5), (1.6, 1.6, 20)], "underfitted", "--hidden"),
        ([(2.0, None, 1)], "no validation loss", "--split"),
        ([(2.0, None, 1), (1.3, 1.45, 9), (1.2, None, 10)], "starting to overfit", "--dropout"),
        ([], "no report", ""),
    ],
)
def test_the_diagnosis_names_what_happened_and_what_to_try(rows: list, says: str, option: str) -> None:
    line = history.diagnosis(reports(*rows))
    assert line.startswith(says)
    assert option in line
    assert "\n" not in line
    if "(" in line:  # the lowest validation loss, and the training loss of the last report with one
        validated = [(training, validation) for training, validation, _ in rows if validation is not None]
        lowest = min(validation for _, validation in validated)
        assert f"validation {lowest:.3f}, training {validated[-1][0]:.3f}" in line


def test_a_report_is_appended_and_read_back(tmp_path: Path) -> None:
    first = history.Report(5, 10, 0.5, 640, 1.5, 1e-3, 0.7, 2.5, 2.4, 3.46, 426.0, True, "é\n")
    second = dataclasses.replace(first, step=10, validation_nats=None, validation_bpc=None, best=False)
    for report in (first, second):
        history.append(tmp_path, report)
    assert history.read(tmp_path) == [dataclasses.asdict(first), dataclasses.asdict(second)]


def test_an_incomplete_line_is_skipped_and_reports_after_a_step_are_removed(tmp_path: Path) -> None:
    (tmp_path / history.LOG).write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    assert [line["step"] for line in history.read(tmp_path)] == [1, 2, 3]
    history.remove_after(tmp_path, 2)
    assert (tmp_path / history.LOG).read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_run_without_a_log_has_no_reports(tmp_path: Path) -> None:
    history.remove_after(tmp_path, 5)
    assert history.read(tmp_path) == []
