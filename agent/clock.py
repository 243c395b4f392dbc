"""The one place that looks at a clock or waits.

"Now" in every decision is the API server's clock, because all times that the cluster writes come from it. Nobody serves
that clock finer than whole seconds (the ``Date`` header), but every answer narrows it down: sub-second accuracy comes
from intersecting the bounds that many answers give.
"""

from __future__ import annotations

import threading
import time
from email.utils import parsedate_to_datetime

_DRIFT = 1e-4
"""How fast two healthy clocks may part, seconds per second; crystal clocks under NTP stay far below it."""


class ServerTimeUnknown(RuntimeError):
    """The API server has not answered yet, so its clock is not known."""


class ServerTime:
    """Estimates another machine's clock from answers that state it in whole seconds. Pure; not thread-safe.

    An answer sent at ``s`` and received at ``r`` (monotonic seconds here) that says ``date`` was stamped in between, so
    the other clock runs ahead of ours by at least ``date - r`` and by less than ``date + 1 - s``.
    """

    def __init__(self) -> None:
        self._low = 0.0
        self._high = 0.0
        self._newest: float | None = None

    @property
    def known(self) -> bool:
        """At least one answer has been observed."""
        return self._newest is not None

    @property
    def uncertainty(self) -> float:
        """The largest possible error of ``at``, in seconds, if neither clock was stepped since the newest answer."""
        return (self._high - self._low) / 2

    def observe(self, date: float, sent: float, received: float) -> None:
        """Take in one answer: its date (whole unix seconds), and when it was asked for and came (monotonic seconds).

        An answer that contradicts what was known means that a clock was stepped: then only the newest one counts.
        """
        low, high = date - received, date + 1.0 - sent
        if self._newest is None:
            self._low, self._high, self._newest = low, high, received
            return
        slack = _DRIFT * max(0.0, received - self._newest)
        met_low, met_high = max(low, self._low - slack), min(high, self._high + slack)
        if met_low < met_high:
            self._low, self._high = met_low, met_high
        elif received >= self._newest:
            self._low, self._high = low, high
        self._newest = max(self._newest, received)

    def at(self, local: float) -> float:
        """The other clock's unix time at a monotonic time here. Raises ServerTimeUnknown before the first answer."""
        if self._newest is None:
            raise ServerTimeUnknown("the API server has not answered yet: its time is not known")
        return local + (self._low + self._high) / 2

    def bounds(self, local: float) -> tuple[float, float]:
        """Between which times the other clock stands for sure. Raises ServerTimeUnknown before the first answer."""
        self.at(local)
        return local + self._low, local + self._high


class Clock:
    """Time for the whole agent. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server = ServerTime()

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back. For spans within this process only."""
        return time.monotonic()

    def machine_now(self) -> float:
        """Unix seconds by this machine's own clock; only to tell how far it is off, never to decide anything."""
        return time.time()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set (True) or the seconds are over (False)."""
        return event.wait(max(0.0, seconds))

    def observe_date(self, header: str | None, sent: float, received: float) -> None:
        """Learn from a ``Date`` header of the API server. One that cannot be read teaches nothing."""
        date = http_date(header)
        if date is not None:
            with self._lock:
                self._server.observe(date, sent, received)

    @property
    def knows_server(self) -> bool:
        """``server_now`` can answer."""
        with self._lock:
            return self._server.known

    @property
    def uncertainty(self) -> float:
        """The largest possible error of ``server_now``, in seconds, as of the newest answer."""
        with self._lock:
            return self._server.uncertainty

    def server_now(self) -> float:
        """Unix seconds by the API server's clock. Raises ServerTimeUnknown before its first answer."""
        return self.server_at(self.monotonic())

    def server_bounds(self) -> tuple[float, float]:
        """Between which times the API server's clock stands now; for evidence, which a guess must never contradict.

        A process that has just started knows that clock to a second only. Raises ServerTimeUnknown before its first
        answer.
        """
        with self._lock:
            return self._server.bounds(self.monotonic())

    def server_at(self, monotonic: float) -> float:
        """The API server's unix time at a moment of ``monotonic``. Raises ServerTimeUnknown before its first answer."""
        with self._lock:
            return self._server.at(monotonic)


def http_date(header: str | None) -> float | None:
    """``Mon, 23 Nov 2026 22:49:00 GMT`` as unix seconds; None for anything that is no such date."""
    if not header or len(header) > 64:
        return None
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def retry_after(header: str | None, date: str | None = None) -> float | None:
    """Seconds to wait that a ``Retry-After`` header asks for, never negative; None where it says nothing usable.

    The header may hold a date instead of seconds; it is read against the ``Date`` of the same answer, so that clocks
    need not agree.
    """
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    until, now = http_date(text), http_date(date)
    return None if until is None or now is None else max(0.0, until - now)
