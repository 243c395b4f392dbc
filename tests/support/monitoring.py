"""The programs of Prometheus' own, as its users run them: found on the PATH, started on a free port, ended surely.

Debian has them in the packages prometheus and prometheus-pushgateway.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import requests

_WITHIN = 60.0


def program(name: str) -> str:
    """Where ``promtool`` or another of them is. Skips the test where it is absent, which CI does not put up with."""
    if found := shutil.which(name):
        return found
    missing = f"{name} is not installed (Debian: prometheus, prometheus-alertmanager, prometheus-pushgateway)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


class Gateway:
    """A Pushgateway that runs. Asked with curl's means, not with the agent's."""

    def __init__(self, url: str, ca: Path | None = None) -> None:
        self.url, self._ca = url, ca

    def groups(self) -> list[dict[str, Any]]:
        """All groups, as its API tells them."""
        found: list[dict[str, Any]] = self._get("/api/v1/metrics").json()["data"]
        return found

    def group(self, **labels: str) -> dict[str, Any]:
        """The families of the group with exactly these labels. AssertionError if there is none."""
        found = [group for group in self.groups() if group["labels"] == labels]
        assert len(found) == 1, [group["labels"] for group in self.groups()]
        return found[0]

    def page(self) -> str:
        """What Prometheus scrapes of it."""
        return self._get("/metrics").text

    def _get(self, path: str) -> requests.Response:
        answer = requests.get(self.url + path, timeout=_WITHIN, verify=str(self._ca) if self._ca else True)
        answer.raise_for_status()
        return answer


@contextmanager
def pushgateway(*arguments: str, scheme: str = "http", ca: Path | None = None) -> Iterator[Gateway]:
    """One on a free port of loopback, that keeps nothing."""
    with TemporaryDirectory(prefix="pushgateway-") as directory:
        command = ("prometheus-pushgateway", "--persistence.file=", *arguments)
        with _listening(command, Path(directory)) as address:
            yield Gateway(f"{scheme}://{address}", ca)


class Prometheus:
    """A Prometheus that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of every series that the expression gives now."""
        answer = requests.get(f"{self.url}/api/v1/query", {"query": expression}, timeout=_WITHIN)
        assert answer.ok, answer.text
        return [(series["metric"], float(series["value"][1])) for series in answer.json()["data"]["result"]]

    def soon(
        self, expression: str, accept: Callable[[list[float]], bool] = bool, seconds: float = _WITHIN
    ) -> list[tuple[dict[str, str], float]]:
        """The first answer whose values are accepted. AssertionError if there is none in time."""
        end = time.monotonic() + seconds
        while True:
            found = self.query(expression)
            if accept([value for _, value in found]):
                return found
            assert time.monotonic() < end, f"{expression}: {found}"
            time.sleep(0.1)


@contextmanager
def prometheus(*scrape_configs: dict[str, Any], rules: Path | None = None, pages: str = "") -> Iterator[Prometheus]:
    """One on a free port of loopback, that scrapes each half second, and evaluates ``rules`` as often.

    ``pages``: address of the Alertmanager that it tells.
    """
    pace = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    config: dict[str, Any] = {"global": pace, "scrape_configs": scrape_configs}
    if rules is not None:
        config["rule_files"] = [str(rules)]
    if pages:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [pages]}]}]}
    with TemporaryDirectory(prefix="prometheus-") as directory:
        file = Path(directory) / "prometheus.yaml"
        file.write_text(json.dumps(config))
        command = ("prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory}/data")
        with _listening(command, Path(directory)) as address:
            end = time.monotonic() + _WITHIN
            while not requests.get(f"http://{address}/-/ready", timeout=_WITHIN).ok:  # it listens before it is
                assert time.monotonic() < end, "Prometheus is not ready"
                time.sleep(0.05)
            yield Prometheus(f"http://{address}")


@contextmanager
def alertmanager(config: Path) -> Iterator[str]:
    """The address of one on a free port of loopback, without peers."""
    with TemporaryDirectory(prefix="alertmanager-data-") as directory:
        command = (
            "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={directory}",
            "--cluster.listen-address=",
        )  # fmt: skip
        with _listening(command, Path(directory)) as address:
            yield address


@contextmanager
def _listening(command: Sequence[str], directory: Path) -> Iterator[str]:
    """Its address, once it listens on a port that the system has chosen."""
    log = directory / "log"
    name, *arguments = command
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program(name), *arguments, "--web.listen-address=127.0.0.1:0"], stdout=out, stderr=out, cwd=directory
        )
    try:
        end = time.monotonic() + _WITHIN
        while not (told := re.search(r'"Listening on" address=(\S+)', log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield told[1]
    finally:
        process.terminate()
        process.wait(_WITHIN)


def lint(page: str) -> tuple[int, str]:
    """What promtool says of a page of metrics: its exit code and its words."""
    told = [program("promtool"), "check", "metrics"]
    ended = subprocess.run(told, input=page, capture_output=True, text=True, check=False, timeout=_WITHIN)
    return ended.returncode, ended.stdout + ended.stderr
