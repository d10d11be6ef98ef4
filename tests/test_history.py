"""A run's log, and the line it amounts to."""

from __future__ import annotations

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
        ([(2.0, 2.0, 1), (1.3, 1.45, 9)], "begins to know the text by heart", "--dropout"),
        ([(2.0, 2.0, 1), (1.6, 1.6, 2)], "ran out of budget after 2.0 epochs", "--minutes"),
        ([(2.0, 2.0, 5), (1.6, 1.6, 20)], "underfitted", "--hidden"),
        ([(2.0, None, 1)], "no validation part", "--split"),
        ([], "no report", ""),
    ],
)
def test_the_verdict_names_what_happened_and_what_to_try(rows: list, says: str, option: str) -> None:
    line = history.verdict(reports(*rows))
    assert line.startswith(says)
    assert option in line
    assert "\n" not in line


def test_a_line_cut_in_half_is_left_out_and_lines_beyond_a_step_are_dropped(tmp_path: Path) -> None:
    (tmp_path / history.LOG).write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    assert [line["step"] for line in history.read(tmp_path)] == [1, 2, 3]
    history.cut(tmp_path, 2)
    assert (tmp_path / history.LOG).read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_run_without_a_log_has_no_lines(tmp_path: Path) -> None:
    history.cut(tmp_path, 5)
    assert history.read(tmp_path) == []
