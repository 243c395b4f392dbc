"""A real Alertmanager with our sample, and a pager that takes what it is sent: what reaches a person, in its words."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml
from support.monitoring import alertmanager

from k8s.monitoring import build

PACE = 60.0
"""An hour is a minute: all times of rules and routes are divided by this, and nothing else of them is changed."""

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"^(\d+(ms|s|m|h|d))+$")
_AGE = re.compile(r"(secret_drift_drift_since_timestamp_seconds\{[^}]*\}\)) > (\d+)")


class Page(NamedTuple):
    """One notification, as a phone shows it."""

    receiver: str
    status: str  # firing | resolved
    names: tuple[str, ...]  # of the alerts in it
    summaries: tuple[str, ...]
    descriptions: tuple[str, ...]
    runbooks: tuple[str, ...]


class Pager:
    """All notifications so far, in order."""

    def __init__(self) -> None:
        self._got: list[Page] = []
        self._changed = threading.Condition()

    def take(self, receiver: str, body: dict[str, Any]) -> None:
        """Alertmanager has sent one."""
        alerts = body["alerts"]

        def told(field: str, of: str = "annotations") -> tuple[str, ...]:
            return tuple(alert[of].get(field, "") for alert in alerts)

        page = Page(
            receiver, body["status"], told("alertname", "labels"), told("summary"), told("description"),
            told("runbook_url"),
        )  # fmt: skip
        with self._changed:
            self._got.append(page)
            self._changed.notify_all()

    def pages(self, receiver: str = "pager") -> list[Page]:
        """What one receiver got."""
        with self._changed:
            return [page for page in self._got if page.receiver == receiver]

    def wait(self, accept: Callable[[list[Page]], object], why: str, seconds: float = 90.0) -> list[Page]:
        """The pages, once they are accepted. AssertionError if they are not in time."""
        end = time.monotonic() + seconds
        with self._changed:
            while not accept(pages := [page for page in self._got if page.receiver == "pager"]):
                assert time.monotonic() < end, f"not within {seconds:.0f} s: {why}; got {self._got}"
                self._changed.wait(0.5)
            return pages


def fast_rules(directory: Path, pace: float = PACE) -> Path:
    """The committed rules, ``pace`` times as fast."""
    rules = yaml.safe_load(build.PLAIN.read_text())
    quickened = 0
    for group in rules["groups"]:
        for rule in group["rules"]:
            for field in ("for", "keep_firing_for"):
                if field in rule:
                    rule[field] = _fast(rule[field], pace)
            rule["expr"], found = _AGE.subn(lambda m: f"{m[1]} > {int(m[2]) / pace:g}", rule["expr"])
            quickened += found
    assert quickened > 10, "the rules do not look as they did: ages are not found in them"
    file = directory / "rules.yaml"
    file.write_text(yaml.safe_dump(rules))
    return file


@contextmanager
def paging(pace: float = PACE) -> Iterator[tuple[str, Pager]]:
    """(Alertmanager's address, the pager): our sample, ``pace`` times as fast, with the pager as each receiver."""
    pager = Pager()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            pager.take(self.path.strip("/"), body)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with TemporaryDirectory(prefix="alertmanager-") as directory:
            config = yaml.safe_load((build.PLAIN.parent / "alertmanager.yaml").read_text())
            _quicken(config["route"], pace)
            for receiver in config["receivers"]:
                url = f"http://127.0.0.1:{server.server_port}/{receiver['name']}"
                receiver["webhook_configs"] = [{"url": url}]
            file = Path(directory) / "alertmanager.yaml"
            file.write_text(yaml.safe_dump(config))
            with alertmanager(file) as address:
                yield address, pager
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _quicken(route: dict[str, Any], pace: float) -> None:
    for field in ("group_wait", "group_interval", "repeat_interval"):
        if field in route:
            route[field] = _fast(route[field], pace)
    for below in route.get("routes", ()):
        _quicken(below, pace)


def _fast(duration: str, pace: float) -> str:
    assert _DURATION.match(duration), duration
    seconds = sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)(ms|s|m|h|d)", duration))
    return f"{max(1, round(seconds / pace * 1000))}ms"
