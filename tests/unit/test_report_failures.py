"""What is said of an exception that nobody expected."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from support.leaks import Marked, Searcher

from agent.cluster.decode import BadAnswer
from agent.ledger import LedgerProblem
from agent.report.failures import named, speak_for_the_interpreter, traced
from agent.report.log import configure

MARKED = "kX9fVqZw7Lm3tR5y"
SEARCHER = Searcher([Marked("marked", MARKED.encode())])


def caught(raising: Callable[[], Any]) -> BaseException:
    """What a call raises."""
    try:
        raising()
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("nothing was raised")


def of_key() -> None:
    empty: dict[str, str] = {}
    empty[MARKED]


def of_number() -> None:
    int(MARKED)


def of_text() -> None:
    (MARKED.encode() + b"\xff").decode()


def of_chain() -> None:
    try:
        of_key()
    except KeyError as error:
        raise ValueError(MARKED) from error


def of_context() -> None:
    try:
        of_number()
    except ValueError:
        of_key()


def of_group() -> None:
    raise ExceptionGroup(MARKED, [ValueError(MARKED), ExceptionGroup("inner", [KeyError(MARKED)])])


def of_note() -> None:
    error = RuntimeError(MARKED)
    error.add_note(MARKED)
    raise error


def of_file() -> None:
    raise FileNotFoundError(errno.ENOENT, "No such file or directory", f"/{MARKED}")


@pytest.mark.parametrize("raising", [of_key, of_number, of_text, of_chain, of_context, of_group, of_note, of_file])
def test_the_words_of_an_exception_stay_unsaid(raising: Callable[[], None]) -> None:
    """Whatever an exception quotes, in itself, its causes, its parts and its notes, only types and code are told."""
    error = caught(raising)
    text = traced(error)
    assert MARKED in "".join(map(repr, (error, error.__cause__, error.__context__, str(error))))
    assert not SEARCHER.found(text.encode())
    assert type(error).__name__ in text
    assert f"in {raising.__name__}" in text


def test_what_led_to_it_is_told_in_its_order() -> None:
    """The oldest exception comes first, and what was raised comes last, as the interpreter has it."""
    lines = traced(caught(of_chain)).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["KeyError", "which led to", "ValueError"]
    lines = traced(caught(of_context)).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "ValueError", "and while that was handled", "KeyError",
    ]  # fmt: skip


def test_our_own_words_are_told() -> None:
    """Our exceptions and those of the operating system say what was wrong: their words hold no value."""
    assert named(LedgerProblem("it could not be written")) == (
        "agent.ledger.ledger.LedgerProblem: it could not be written"
    )
    assert named(BadAnswer("no\nlist")).endswith("BadAnswer: no\\nlist")
    assert named(caught(of_file)) == "FileNotFoundError: No such file or directory"
    assert named(OSError(MARKED)) == "OSError"


def test_a_ring_of_exceptions_ends() -> None:
    """Exceptions that name each other as their cause are each told once."""
    one, other = ValueError("a"), KeyError("b")
    one.__cause__, other.__cause__ = other, one
    assert traced(one).splitlines() == ["KeyError", "which led to", "ValueError"]


@pytest.fixture
def hooks() -> Iterator[None]:
    """The interpreter's hooks are afterwards as they were."""
    before = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook = before
    structlog.reset_defaults()


def test_a_thread_that_fails_is_a_line_of_the_log(hooks: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name and its way are told, in the form of every other line; the end of a thread by SystemExit is no news."""
    configure("json")
    speak_for_the_interpreter()
    for raising in (of_key, lambda: sys.exit(3)):
        thread = threading.Thread(target=raising, name="sweep")
        thread.start()
        thread.join()
    (line,) = [json.loads(each) for each in capsys.readouterr().err.splitlines()]
    assert (line["level"], line["thread"]) == ("error", "sweep")
    assert line["exception"].splitlines()[-1] == "KeyError"


def test_the_command_ends_in_our_words() -> None:
    """An error that nothing expects ends the process with 1 and a traceback without words, also on its way out."""
    script = (
        "import sys, agent.policy.cli as cli\n"
        "from agent.cli import main\n"
        "from agent.report.failures import speak_for_the_interpreter\n"
        "from agent.report.log import configure\n"
        "cli.check = lambda path: {}[path.name]\n"  # a bug, as it were
        "class Finalized:\n"
        "    def __del__(self): raise KeyError(sys.argv[3])\n"
        "configure()\n"
        "speak_for_the_interpreter()\n"
        "code = main(sys.argv[1:])\n"
        "Finalized()\n"
        "raise KeyError(sys.argv[3])\n"
    )
    place = [sys.executable, "-c", script, "policy", "check", MARKED]
    ended = subprocess.run(place, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert not SEARCHER.found(ended.stdout + ended.stderr)
    assert ended.stderr.count(b"ended by an error of its own") == 2
    assert ended.stderr.count(b"KeyError") == 3
