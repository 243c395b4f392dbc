"""One vault's requests, one after the other: paced, bounded, and patient only until a deadline.

The pipeline of `SecretClient` carries them (challenge, token, checks of the challenge's resource); its own retries are
off, because they sleep as long as the server says, without a cap. Only collections are read here, never a secret.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import requests
from azure.core.credentials import TokenCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse
from azure.keyvault.secrets import SecretClient

from agent.clock import Clock, ServerTime, http_date, retry_after
from agent.model import Trouble
from agent.vault import trouble
from agent.vault.bucket import TokenBucket
from agent.vault.tokens import TokenFailure, Tokens

OnRequest = Callable[[str, str, int, float], None]
"""Told of every request: vault host, operation (``list`` or ``versions``), status (0: no answer), seconds."""

_MOST_BYTES = 4 << 20
"""Of one answer; a full page of 25 secrets with 15 long tags each has about 0.3 MB."""
_SHORTEST_BLOCK, _LONGEST_BLOCK = 0.5, 900.0
FOREVER = float("inf")
_RETRIES = 2
_SHORTEST_SILENCE, _SILENCE = 1.0, 20.0
"""Seconds without a byte after which an answer is given up: less near a deadline, but enough for a healthy vault."""
_BLOCK = 1 << 16
_LONGEST_SECOND = 2.0
"""Seconds until a whole second of the vault's is over for sure: that second, and what is unsure of its clock."""


class Failed(Exception):
    """No usable answer, and why."""

    def __init__(self, why: Trouble) -> None:
        self.trouble = why
        super().__init__(why.detail)


class Pipe:
    """GET requests to one vault. Thread-safe."""

    def __init__(
        self,
        host: str,
        credential: TokenCredential,
        *,
        session: requests.Session,
        clock: Clock,
        requests_per_second: float,
        on_request: OnRequest | None,
    ) -> None:
        self.host = host
        self.clock = clock
        self.stopping = threading.Event()
        self._bucket = TokenBucket(requests_per_second, clock)
        self._on_request = on_request
        self.peace = FOREVER
        """Seconds of peace, asked for by a 429, that are waited for; more are an answer."""
        self._blocked_until = 0.0
        self._unasked_block = 1.0
        self._time = ServerTime()
        self._time_lock = threading.Lock()
        self._client = SecretClient(
            f"https://{host}",
            Tokens(credential),
            transport=RequestsTransport(
                session=session,
                session_owner=False,
                connection_timeout=5,
                read_timeout=20,
                connection_data_block_size=_BLOCK,
            ),
            retry_total=0,
            permit_redirects=False,
            verify_challenge_resource=True,
        )

    @property
    def blocked(self) -> float:
        """Seconds for which the vault wants no request; 0 if it takes them."""
        return max(0.0, self._blocked_until - self.clock.monotonic())

    def get(self, operation: str, url: str, deadline: float) -> bytes:
        """The body of a good answer. ``deadline`` is a moment of ``clock.monotonic``. Raises Failed.

        Waits for its turn and for the end of a 429, and repeats after 5xx and cut connections, as far as the deadline
        and ``peace`` allow; where they do not, says so at once and sends nothing.
        """
        tries = 0
        while True:
            self._take_turn(deadline)
            try:
                return self._once(operation, url, deadline)
            except Failed as failed:
                cause = failed.trouble.cause
                if cause == "throttled" and self._waits_for(self.blocked, deadline):
                    continue
                tries += 1
                if cause not in ("server-error", "unreachable") or tries > _RETRIES:
                    raise
                if self.clock.monotonic() + 0.3 * tries >= deadline or self.clock.wait(self.stopping, 0.3 * tries):
                    raise

    def _take_turn(self, deadline: float) -> None:
        wait = max(self._bucket.reserve(), self.blocked)
        if wait == 0.0 and self.clock.monotonic() < deadline:
            return
        if not self._waits_for(wait, deadline):
            self._bucket.give_back()
            raise Failed(self._late())
        if self.clock.wait(self.stopping, wait):
            self._bucket.give_back()
            raise Failed(Trouble(cause="stopped", detail="the agent is shutting down"))

    def _waits_for(self, seconds: float, deadline: float) -> bool:
        return self.blocked <= self.peace and self.clock.monotonic() + seconds < deadline

    def _late(self) -> Trouble:
        if self.blocked:
            return Trouble(
                cause="throttled", detail=f"{self.host} throttles us and asks for {self.blocked:.0f} s of peace"
            )
        return Trouble(
            cause="deadline", detail=f"{self.host} could not be read to its end within the time of one cycle"
        )

    def _once(self, operation: str, url: str, deadline: float) -> bytes:
        began, status = self.clock.monotonic(), 0
        try:
            patience = min(_SILENCE, max(_SHORTEST_SILENCE, deadline - began))
            response = self._client.send_request(HttpRequest("GET", url), stream=True, read_timeout=patience)
            status = response.status_code
            self._observe_date(response, began)
            with response:
                body = _bounded(response, self.host)
        except Failed:
            raise
        except TokenFailure as error:
            raise Failed(trouble.of_token_failure(error.__cause__, self.host)) from error
        except Exception as error:
            # AzureError, OSError, ValueError; and whatever else the SDK makes of an answer that nobody expects.
            raise Failed(trouble.of_exception(error, self.host)) from error
        finally:
            if self._on_request:
                self._on_request(self.host, operation, status, self.clock.monotonic() - began)
        if status == 429:
            self._block(response)
        if status != 200:
            raise Failed(trouble.of_answer(status, body, self.host))
        self._unasked_block = 1.0
        return body

    def _observe_date(self, response: HttpResponse, began: float) -> None:
        date = http_date(response.headers.get("Date"))
        if date is not None:
            with self._time_lock:
                self._time.observe(date, began, self.clock.monotonic())

    def bounds(self) -> tuple[float, float] | None:
        """Between which unix times the vault's clock stands now; None before its first answer."""
        with self._time_lock:
            return self._time.bounds(self.clock.monotonic()) if self._time.known else None

    def until_past(self, moments: Iterable[float], deadline: float) -> None:
        """Wait until these whole seconds of the vault's clock are over, as far as ``deadline`` allows.

        For one that is not now (a clock that was stepped, a vault that lies) nobody waits.
        """
        now = self.clock.monotonic()
        with self._time_lock:
            if not self._time.known:
                return
            earliest = self._time.bounds(now)[0]
        left = max((left for at in moments if (left := at + 1.0 - earliest) <= _LONGEST_SECOND), default=0.0)
        if left > 0.0 and now + left < deadline:
            self.clock.wait(self.stopping, left)

    def _block(self, response: HttpResponse) -> None:
        """Note until when the vault wants peace; without a word from it, twice as long each time."""
        asked = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
        if asked is None:
            asked, self._unasked_block = self._unasked_block, min(self._unasked_block * 2, 60.0)
        self._blocked_until = self.clock.monotonic() + min(max(asked, _SHORTEST_BLOCK), _LONGEST_BLOCK)

    def close(self) -> None:
        """End all waits; what is under way fails as ``stopped``."""
        self.stopping.set()


def _bounded(response: HttpResponse, host: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        size += len(part)
        if size > _MOST_BYTES:
            raise Failed(
                Trouble(cause="bad-answer", detail=f"{host} sends more than {_MOST_BYTES >> 20} MiB for one page")
            )
        parts.append(part)
    return b"".join(parts)
