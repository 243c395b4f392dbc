"""How often a vault may be asked."""

from __future__ import annotations

import threading

from agent.clock import Clock


class TokenBucket:
    """``rate`` requests a second, in bursts of at most one second's worth. Thread-safe."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate = max(rate, 0.01)
        self._burst = max(1.0, self._rate)
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._at = clock.monotonic()

    def reserve(self) -> float:
        """Take one token, if need be on credit; returns the seconds to wait before the request is due."""
        with self._lock:
            now = self._clock.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
            self._at = now
            return max(0.0, -self._tokens / self._rate)

    def give_back(self) -> None:
        """Return a token whose request was not sent after all."""
        with self._lock:
            self._tokens += 1.0
