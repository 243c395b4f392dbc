"""What a scrape costs with 5,000 drifts, and how long a probe waits while the agent is at its busiest."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from agent import events as ev
from agent.model import Finding, Kind, Link, ObjectKey, SourceKey
from agent.report.metrics import Metrics
from agent.server import Health, Server

DRIFTS = 5_000
_SCRAPES = 15
_PROBE_EACH = 0.01


def scrape() -> dict[str, Any]:
    """Milliseconds and bytes of one scrape over a socket, compressed as Prometheus asks for it, and in the clear.

    ``metrics_ratio``: against the exposition of prometheus_client of the same registry, in the same process.
    """
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for number in range(DRIFTS):
        source = SourceKey("prod-kv.vault.azure.net", f"key-{number}")
        finding = Finding(
            chain=ObjectKey(f"team-{number % 50}", f"app-secrets-{number}"), link=Link.VAULT, kind=Kind.STALE,
            since=1_795_471_200.0 + number, evidence="", sources=(source,),
        )  # fmt: skip
        metrics(ev.DriftFound(at=finding.since, finding=finding))
    server = Server(registry, Health(60.0, time.monotonic), "127.0.0.1", 0)
    port = server.start()
    try:
        packed, plain = (_get(port, coding) for coding in ("gzip", "identity"))
        seconds = _median(lambda: _get(port, "gzip"))
        return {
            "drifts": DRIFTS,
            "metrics_ms": 1000 * seconds,
            "metrics_bytes": len(packed),
            "metrics_bytes_plain": len(plain),
            "metrics_ratio": seconds / _median(lambda: generate_latest(registry)),
        }
    finally:
        server.stop()


def probe(port: int, busy: Callable[[], bool]) -> dict[str, float]:
    """Ask /healthz every 10 ms while ``busy``, each time on a new connection as kubelet does.

    Milliseconds that an answer took: the median, the 99th of a hundred, the longest.
    """
    waits = []
    while busy():
        began = time.monotonic()
        _get(port, "identity", "/healthz")
        waits.append(time.monotonic() - began)
        time.sleep(_PROBE_EACH)
    waits.sort()
    return {
        "healthz_p50_ms": 1000 * statistics.median(waits),
        "healthz_p99_ms": 1000 * waits[int(0.99 * (len(waits) - 1))],
        "healthz_max_ms": 1000 * waits[-1],
        "healthz_probes": len(waits),
    }


def _get(port: int, coding: str, path: str = "/metrics") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": coding})
        return connection.getresponse().read()
    finally:
        connection.close()


def _median(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_SCRAPES):
        began = time.monotonic()
        work()
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)
