"""Requests to a Pushgateway: one group of metrics read back, replaced, or added to.

Whatever it is that answers there, or does not, may not hold up a run: no redirect is followed (a token goes nowhere
else), no proxy is used, of an answer no more is read than is needed, and nothing of its words is repeated.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import urllib3
from prometheus_client import push_to_gateway, pushadd_to_gateway
from prometheus_client.registry import Collector

from agent.clock import Clock
from agent.report.accumulated import NOTHING, Counted, Former, Labels, labels_of, number
from agent.secured import BadFile, read_token

JOB = "secret-drift-agent-once"
_LARGEST = 16 * 2**20
"""Bytes of an answer. It tells of all groups, of whoever pushes there."""
_CHUNK = 64 * 1024


class GatewayProblem(Exception):
    """What is wrong, and what to do about it."""

    def __init__(self, what: str, step: str) -> None:
        super().__init__(what)
        self.what, self.step = what, step


class Address(NamedTuple):
    """Where to push, and as which group."""

    url: str
    namespace: str
    """The agent's. Grouping labels win over a metric's own of the same name: no metric of ours has one of these."""
    group: str = ""
    ca: Path | None = None
    token_file: Path | None = None

    @property
    def key(self) -> dict[str, str]:
        """The grouping key beside the job. Never the pod's name: each run replaces what the one before told."""
        return {"agent_namespace": self.namespace} | ({"group": self.group} if self.group else {})


class _Series(msgspec.Struct):
    labels: dict[str, str] = {}
    value: str | None = None
    buckets: dict[str, str] = {}
    sum: str | None = None
    count: str | None = None


class _Family(msgspec.Struct):
    type: str = ""
    metrics: list[_Series] = []


class _Groups(msgspec.Struct):
    data: list[dict[str, msgspec.Raw]]


class Pushgateway:
    """One address; every request ends at ``ends`` (``clock.monotonic``), as far as the gateway sends anything."""

    def __init__(self, address: Address, clock: Clock, ends: float) -> None:
        """Raises GatewayProblem: the CA or the token cannot be read."""
        self._address, self._clock, self._ends = address, clock, ends
        context = None
        try:
            if address.url.startswith("https:"):
                context = ssl.create_default_context(cafile=address.ca)
            self._token = read_token(address.token_file) if address.token_file is not None else ""
        except BadFile as error:
            raise GatewayProblem(str(error), "correct the file") from error
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise GatewayProblem(f"{address.ca} cannot be used as the gateway's CA", "correct the file") from error
        self._pool = urllib3.PoolManager(num_pools=1, retries=False, ssl_context=context)

    def former(self, ends: float) -> Former:
        """What our group counted so far. Raises GatewayProblem."""
        with _named_trouble():
            answer = self._send("GET", f"{self._address.url}/api/v1/metrics", ends=ends)
            body = self._body(answer, ends)
        try:
            return former_of(body, {"job": JOB, **self._address.key})
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise GatewayProblem("it answers with something that no Pushgateway says", _WRONG_URL) from error

    def replace(self, metrics: Collector) -> None:
        """These are the group from now on, and nothing else is. Raises GatewayProblem."""
        with _named_trouble():
            push_to_gateway(self._address.url, JOB, metrics, self._address.key, handler=self._handler)

    def add(self, metrics: Collector) -> None:
        """These replace those of the same names; all else of the group stays. Raises GatewayProblem."""
        with _named_trouble():
            pushadd_to_gateway(self._address.url, JOB, metrics, self._address.key, handler=self._handler)

    def _handler(
        self, url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        """As prometheus_client asks for one."""
        del timeout
        return lambda: self._send(method, url, dict(headers), data).close()

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        ends: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        left = (self._ends if ends is None else ends) - self._clock.monotonic()
        if left <= 0:
            raise GatewayProblem("no time is left for it", _SLOW)
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        answer = self._pool.request(
            method, url, body=data, headers={**(headers or {}), **authorization}, timeout=urllib3.Timeout(total=left),
            redirect=False, preload_content=False, decode_content=False,
        )  # fmt: skip
        if not 200 <= answer.status < 300:
            answer.close()
            raise _refused(answer.status)
        return answer

    def _body(self, answer: urllib3.BaseHTTPResponse, ends: float) -> bytes:
        body = b""
        try:
            while part := answer.read(_CHUNK):
                body += part
                if len(body) > _LARGEST:
                    raise GatewayProblem(f"it tells more than {_LARGEST // 2**20} MiB", "give it fewer groups to keep")
                if self._clock.monotonic() > ends:
                    raise GatewayProblem("its answer does not end", _SLOW)
        finally:
            answer.close()
        return body


_SLOW = "see why it is slow; its log and its size tell"
_WRONG_URL = "correct --push-gateway: it is the URL under which the Pushgateway's own page is shown"
_AWAY = "see that it runs, that its Service exists, and that the NetworkPolicy lets the agent out to its port"


def _refused(status: int) -> GatewayProblem:
    if 300 <= status < 400:
        return GatewayProblem(f"it leads elsewhere ({status}), and no redirect is followed", _WRONG_URL)
    if status in (401, 403):
        return GatewayProblem(
            f"it does not let us in ({status})", "set --push-gateway-token-file to a token that it takes"
        )
    if status == 404:
        return GatewayProblem("there is no such page (404)", _WRONG_URL)
    if status == 400:
        step = "see its log: another pusher's metrics of the same names may contradict ours"
        return GatewayProblem("it refuses what was pushed (400)", step)
    return GatewayProblem(f"it fails ({status})", "see its log")


@contextlib.contextmanager
def _named_trouble() -> Iterator[None]:
    """Says what keeps us from the gateway, in our words."""
    errors = urllib3.exceptions
    try:
        yield
    except errors.SSLError as error:
        step = "give the CA that signed its certificate: --push-gateway-ca FILE"
        raise GatewayProblem("its certificate is not trusted, or it speaks no TLS", step) from error
    except errors.NameResolutionError as error:
        raise GatewayProblem("its name is not known", _AWAY) from error
    except (errors.NewConnectionError, errors.ConnectTimeoutError) as error:
        raise GatewayProblem("it cannot be reached", _AWAY) from error
    except errors.TimeoutError as error:
        raise GatewayProblem("it does not answer in time", _SLOW) from error
    except (errors.HTTPError, OSError, ValueError) as error:
        raise GatewayProblem("it answers with something that is no HTTP, or not at all", _WRONG_URL) from error


def former_of(body: bytes, group: Mapping[str, str]) -> Former:
    """The counters and histograms of a group, out of the answer of ``/api/v1/metrics``.

    Raises msgspec.DecodeError, ValueError: it is no such answer.
    """
    decoded = msgspec.json.decode(body, type=_Groups)
    for families in decoded.data:
        if msgspec.json.decode(families.pop("labels", msgspec.Raw(b"{}")), type=dict[str, str]) == group:
            return _former(families, set(group))
    return NOTHING


def _former(families: Mapping[str, msgspec.Raw], grouping: set[str]) -> Former:
    counters: dict[str, dict[Labels, float]] = {}
    histograms: dict[str, dict[Labels, Counted]] = {}
    for name, raw in families.items():
        if not name.startswith("secret_drift_"):
            continue
        family = msgspec.json.decode(raw, type=_Family)
        for series in family.metrics:
            labels = labels_of({label: value for label, value in series.labels.items() if label not in grouping})
            if family.type == "COUNTER":
                counters.setdefault(name, {})[labels] = number(series.value)
            elif family.type == "HISTOGRAM":
                buckets = {float(bound): number(value) for bound, value in series.buckets.items()}
                counted = Counted(buckets, number(series.sum), number(series.count))
                histograms.setdefault(name, {})[labels] = counted
    return Former(counters, histograms)


__all__ = ["JOB", "Address", "GatewayProblem", "Pushgateway", "former_of"]
