"""Sessions with models of documents: END ends a document, and what follows begins another one."""

from __future__ import annotations

import io

import numpy as np
import pytest

from charrnn.cli import main, sample_interactive
from charrnn.cli.terminal import Terminal
from charrnn.inference.choice import Choice
from charrnn.inference.constraints import Constraints
from charrnn.inference.network import Predictor
from charrnn.inference.sample import opening_ids
from charrnn.inference.session import Session
from charrnn.inference.states import Cursor
from tests.test_document_commands import rows, sample, save_labelled, save_model
from tests.test_document_generation import END, LETTERS, V, logits_after, logits_of, net, opening
from tests.test_interactive import Typist


def held(model: Predictor, saved: Cursor | None = None) -> Session:
    return Session(model, opening_ids(LETTERS), saved, seed=1, documents=True)


def continued(session: Session, constraints: Constraints | None = None) -> None:
    session.remember()
    list(session.generate(1, Choice(), constraints or Constraints(V, end=END)))
    session.keep(0)


def written(session: Session, *ids: int) -> None:
    session.remember()
    session.write(np.array(ids))


def has_ended(session: Session) -> bool:
    return session.has_ended


def assert_reads_its_text(session: Session, model: Predictor) -> None:
    """The cursor is that of one document with the session's text."""
    expected = logits_of(model, END, *session.position.ids)
    np.testing.assert_allclose(logits_after(model, session.position.cursor), expected)


def test_a_session_knows_that_its_document_has_ended_and_begins_another() -> None:
    model = net(7)
    session = held(model)
    written(session, 0, 1)
    assert_reads_its_text(session, model)
    assert not has_ended(session)
    continued(session)
    assert has_ended(session)
    first = session.position.ids
    session.begin_another()
    assert not has_ended(session)
    written(session, 2)
    assert_reads_its_text(session, model)
    assert session.texts == [first, (2,)]


def test_what_is_added_to_a_document_that_has_ended_belongs_to_it() -> None:
    model = net(7)
    session = held(model)
    written(session, 0, 1)
    continued(session)
    text = session.position.ids
    session.remember()
    session.replace(np.array(text))
    assert has_ended(session)
    session.replace(np.array([*text, 2]))
    assert not has_ended(session)
    assert_reads_its_text(session, model)
    session.undo()
    assert (session.position.ids, has_ended(session)) == (text, True)


def test_a_document_that_a_saved_state_begins_ends_too() -> None:
    model = net(7)
    session = held(model, opening(model, 0))
    assert not has_ended(session)
    continued(session, Constraints(V, min_length=2, end=END))
    assert has_ended(session)


# --- the command ---


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch):
    """A function: the texts on stdout, and what is shown, of a session in which these lines are typed."""

    def held(*lines: str, options: tuple[str, ...]) -> tuple[str, str]:
        monkeypatch.setattr(sample_interactive, "Console", lambda names: Typist(*lines))
        out, shown = io.BytesIO(), io.BytesIO()
        err = io.TextIOWrapper(shown, "utf-8", write_through=True)
        terminal = Terminal(io.BytesIO(), out, err, stdin_tty=True, stdout_tty=False, stderr_tty=True)
        status = main(["sample", *options, "--interactive", "--seed", "1"], terminal)
        assert status == 0, shown.getvalue()
        return out.getvalue().decode(), shown.getvalue().decode()

    return held


ENDED = "the document has ended: what follows is another one"


def test_another_document_follows_the_end_of_the_first_with_the_same_label(talk) -> None:
    save_labelled("labelled")
    options = ("labelled", "--label", "lang=fr", "--length", "300")
    first, second, third = (
        text + rows(*options, "--prompt", text, "--index", str(index))[0]["text"]
        for index, text in enumerate(("ab", "", "c"))
    )
    assert all((first, second, third))
    texts, shown = talk("ab", "", "c", options=options)
    assert texts == "\n".join((first, second, third))
    assert shown.count(ENDED) == 3


def test_a_document_that_has_not_ended_is_continued(talk) -> None:
    save_model("model")
    options = ("model", "--length", "4", "--min-length", "4")
    texts, shown = talk("ab", "", options=options)
    assert len(texts) == 2 + 4 + 4
    assert ENDED not in shown
    assert texts[:6] == sample(*options, "--prompt", "ab").text.removesuffix("\n")


def test_a_step_back_returns_to_the_document_that_had_ended(talk) -> None:
    save_model("model")
    options = ("model", "--length", "300")
    whole, _ = talk("ab", options=options)
    assert talk("ab", "", "/undo", options=options)[0] == whole
    assert talk("ab", "", "/undo", "/undo", options=options)[0] == ""
