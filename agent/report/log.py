"""Log lines on stderr, as JSON or for a person's eyes, in the words of ``agent.report.words``.

Every line is one line whatever it holds: strings are escaped before they are written, wherever they come from. Lines of
other libraries go the same way, from WARNING up: the Azure SDK and urllib3 tell of every request below that.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Literal

import structlog

from agent import events as ev
from agent.report.failures import traced
from agent.report.fields import fields
from agent.report.words import escape, sentence, subject

Format = Literal["json", "console"]
LEVELS = ("debug", "info", "warning", "error")

_LONGEST_STRING = 4000
_MOST_LINES = 60
_MOST_ITEMS = 50


def configure(format: Format = "json", level: str = "info") -> None:
    """Send all log lines of the process to stderr in this form, from this level up (one of ``LEVELS``).

    May be called again. A stderr that cannot be written to loses lines, and stops nothing.
    """
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no log level; expected one of {', '.join(LEVELS)}")
    threshold: int = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _traceback,
            _harmless,
            _as_json if format == "json" else _for_eyes(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,
    )
    forwarded = max(threshold, logging.WARNING)
    root = logging.getLogger()
    root.handlers[:] = [_Forward(forwarded)]
    root.setLevel(forwarded)


class Log:
    """The subscriber: one line per event, at the level it deserves."""

    def __init__(self) -> None:
        self._logger = structlog.get_logger()

    def __call__(self, event: ev.Event) -> None:
        """Tell of one event. Never raises."""
        name = subject(event)
        said = sentence(event)
        self._logger.log(level_of(event), f"{name}: {said}" if name else said, **fields(event))


LEVEL: dict[type[ev.Event], int] = {
    ev.CycleEnded: logging.DEBUG,
    ev.DriftFound: logging.WARNING,
    ev.DriftGone: logging.INFO,
    ev.SyncRequested: logging.INFO,
    ev.Synced: logging.INFO,
    ev.SyncTimedOut: logging.WARNING,
    ev.SecretDeleted: logging.WARNING,
    ev.SecretBack: logging.INFO,
    ev.SecretNotBack: logging.ERROR,
    ev.DataChanged: logging.INFO,
    ev.Evicted: logging.INFO,
    ev.RolloutRestarted: logging.INFO,
    ev.StagePassed: logging.INFO,
    ev.Halted: logging.ERROR,
    ev.HaltEnded: logging.INFO,
    ev.Healed: logging.INFO,
    ev.Propagated: logging.INFO,
    ev.RotationCounted: logging.DEBUG,
    ev.Refused: logging.WARNING,
    ev.RefusalEnded: logging.INFO,
    ev.StormAcknowledged: logging.INFO,
    ev.Troubled: logging.WARNING,
    ev.Recovered: logging.INFO,
    ev.Malformed: logging.WARNING,
    ev.BoundsRead: logging.DEBUG,
    ev.LeadershipChanged: logging.INFO,
    ev.HolderChanged: logging.INFO,
    ev.PolicyChanged: logging.INFO,
    ev.StepDone: logging.DEBUG,
}
"""How loud each event is; those below say more."""


def level_of(event: ev.Event) -> int:
    """Findings that are no drift, and refusals that end by themselves, are news and no warning; failures are."""
    match event:
        case ev.DriftFound() if not event.finding.is_drift:
            return logging.INFO
        case ev.Refused() if event.refusal.until is not None:
            return logging.INFO
        case ev.RotationCounted() if not event.in_time:
            return logging.WARNING
        case ev.PolicyChanged() if not event.valid:
            return logging.ERROR
        case ev.StepDone() if event.result == "failed":
            return logging.WARNING
        case _:
            return LEVEL.get(type(event), logging.INFO)


def _traceback(_: Any, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """What was raised: its words may quote a value, its way through the code cannot."""
    info = line.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else sys.exc_info()[1] if info is True else info
    if isinstance(error, BaseException):
        line["exception"] = traced(error)
    return line


def _harmless(_: Any, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Escapes and bounds every string; a traceback keeps its line ends, and is bounded too."""
    trace = line.pop("exception", None)
    clean = {escape(str(name), 100): _clean(value) for name, value in list(line.items())[:_MOST_ITEMS]}
    if isinstance(trace, str):
        clean["exception"] = "\n".join(escape(part, 1000) for part in trace.split("\n")[-_MOST_LINES:])
    return clean


def _clean(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple | set | frozenset):
        some: Iterable[Any] = list(value)[:_MOST_ITEMS]
        return [_clean(item) for item in some]
    return escape(str(value), _LONGEST_STRING)


def _as_json(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    ordered = {name: line[name] for name in ("time", "level", "event") if name in line} | dict(line)
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))


def _for_eyes(*, colors: bool) -> Any:
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0, pad_level=False,
        timestamp_key="time", sort_keys=False,
    )  # fmt: skip


class _Stderr:
    """Writes to what stderr is now; a reader that has gone away costs the line and nothing else."""

    lost = 0

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, message: str) -> None:
        """Write one line."""
        try:
            sys.stderr.write(message + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # a closed pipe, a full disk, a closed stream, none at all
            type(self).lost += 1

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = err = msg


class _Forward(logging.Handler):
    """Lines of libraries that use the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it in our form, without what the library has put into its text: headers, answers, tokens for all we know.

        Some put it in themselves, and below a first line that is their own.
        """
        text = str(record.msg).partition("\n")[0]
        try:
            said = text % _silenced(record.args) if record.args else text
        except (TypeError, ValueError, KeyError):  # arguments that do not fit the text
            said = text
        kept = {"exc_info": record.exc_info} if record.exc_info else {}
        structlog.get_logger().log(record.levelno, said, logger=record.name, **kept)


def _silenced(arguments: tuple[object, ...] | Mapping[str, object]) -> Any:
    """Numbers as they are; in place of everything else an ellipsis."""
    if isinstance(arguments, Mapping):
        return {name: _number_or_nothing(value) for name, value in arguments.items()}
    return tuple(_number_or_nothing(value) for value in arguments)


def _number_or_nothing(value: object) -> object:
    return value if isinstance(value, int | float) else "…"
