"""The programs of Prometheus' own, as its users run them: found on the PATH, started on a free port, ended surely.

Debian has them in the packages prometheus and prometheus-pushgateway.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
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
    missing = f"{name} is not installed (Debian: prometheus, prometheus-pushgateway)"
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
        log = Path(directory) / "log"
        command = [program("prometheus-pushgateway"), "--web.listen-address=127.0.0.1:0", "--persistence.file="]
        with log.open("wb") as out:
            process = subprocess.Popen([*command, *arguments], stdout=out, stderr=out, cwd=directory)
        try:
            end = time.monotonic() + _WITHIN
            while not (told := re.search(r'"Listening on" address=(\S+)', log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.02)
            yield Gateway(f"{scheme}://{told[1]}", ca)
        finally:
            process.terminate()
            process.wait(_WITHIN)


def lint(page: str) -> tuple[int, str]:
    """What promtool says of a page of metrics: its exit code and its words."""
    told = [program("promtool"), "check", "metrics"]
    ended = subprocess.run(told, input=page, capture_output=True, text=True, check=False, timeout=_WITHIN)
    return ended.returncode, ended.stdout + ended.stderr
