"""What is said of an exception that nobody expected: what it is and the way it took, never its words.

The words of other people's exceptions quote what they failed on: a key, the text that was to be a number, the bytes
around a mistake, a header with the token in it. The frames of a traceback show lines of code, which hold none of that.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import Any

import structlog

from agent.report.words import escape

_MOST_FRAMES = 40
_MOST_IN_GROUP = 5
_OURS = "agent."


def named(error: BaseException) -> str:
    """Its type; and its words where they are ours, which hold no value, or the operating system's."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.startswith(_OURS):
        return f"{name}: {escape(str(error))}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name}: {os.strerror(error.errno)}"
    return name


def traced(error: BaseException) -> str:
    """A traceback, with the exceptions that led to it, oldest first."""
    return "\n".join(_told(error, set()))


def _told(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    lines: list[str] = []
    former, why = error.__cause__, "which led to"
    if former is None and not error.__suppress_context__:
        former, why = error.__context__, "and while that was handled"
    if former is not None and id(former) not in seen:
        lines += [*_told(former, seen), why]
    lines += "".join(traceback.format_tb(error.__traceback__, -_MOST_FRAMES)).splitlines()
    lines.append(named(error))
    if isinstance(error, BaseExceptionGroup):
        for number, part in enumerate(error.exceptions[:_MOST_IN_GROUP], 1):
            lines += [f"part {number} of it", *_told(part, seen)]
    return lines


def speak_for_the_interpreter() -> None:
    """From now on the interpreter says nothing of an exception by itself: threads and finalizers end in our words."""
    sys.excepthook = _of_process
    threading.excepthook = _of_thread
    sys.unraisablehook = _of_nobody


def last_words(error: BaseException) -> None:
    """Tell on stderr what ended the process."""
    if sys.stderr is not None:
        sys.stderr.write(f"secret-drift-agent: ended by an error of its own\n{traced(error)}\n")


def _of_process(_: type[BaseException], error: BaseException, __: Any) -> None:
    last_words(error)


def _of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        thread = args.thread.name if args.thread is not None else "unknown"
        structlog.get_logger().error("a thread ended by an error of its own", thread=thread, exc_info=args.exc_value)


def _of_nobody(args: Any) -> None:
    if args.exc_value is not None:
        structlog.get_logger().error("an error that nobody could be told of", exc_info=args.exc_value)
