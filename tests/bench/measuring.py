"""Runs the agent as a process and measures it from outside: wall time, CPU, peak memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ran:
    """One process that has ended: seconds of wall and CPU time, peak resident memory in MB (10^6 bytes)."""

    code: int
    wall: float
    cpu: float
    rss_mb: float
    out: str
    err: str


def ran(command: list[str], environment: dict[str, str], text: str = "") -> Ran:
    """Run to the end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, tempfile.TemporaryFile("w+") as into:
        into.write(text)
        into.seek(0)
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=into, stdout=out, stderr=err, env={**os.environ, **environment}, text=True
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return Ran(
            process.returncode, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6,
            out.read(), err.read(),
        )  # fmt: skip


class Running:
    """A process that goes on while it is looked at."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mb(self, field: str) -> float:
        """``VmHWM`` (peak) or ``VmRSS`` (now), in MB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise ValueError(field)


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[Running]:
    """Start a process; end it by SIGTERM."""
    with log.open("w") as err:
        process = subprocess.Popen(
            command, stdout=err, stderr=err, env={**os.environ, **environment}, text=True, start_new_session=True
        )
        try:
            yield Running(process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class World:
    """The served world, in a process of its own."""

    def __init__(self, directory: Path, chains: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.served", str(directory), str(chains)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ready: dict[str, Any] = self._answer()["ready"]
        self.environment: dict[str, str] = self.ready["environment"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the world ended: {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def take(self) -> dict[str, Any]:
        """What was asked of it since the last call."""
        assert self._process.stdin is not None
        self._process.stdin.write("take\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def good(one: Ran) -> Ran:
    """The same, if the agent did its work. Raises SystemExit with what it said."""
    if one.code != 0:
        raise SystemExit(f"`once` ended with {one.code}\n{one.out[-2000:]}\n{one.err[-4000:]}")
    return one


def raw_download(environment: dict[str, str], asked: dict[str, Any]) -> dict[str, float]:
    """What it costs to download what was asked for, by a process that does nothing with it: see ``raw``."""
    lists = [
        (entry["path"], entry["resource"], {k: v for k, v in entry["query"].items() if k != "continue"})
        for entry in asked["api"]
        if entry["verb"] == "list" and entry["code"] == 200 and "continue" not in entry["query"]
    ]
    hosts = sorted({f"{entry['vault']}.vault.azure.net" for entry in asked["vault"] if entry["operation"] == "list"})
    given = json.dumps({"lists": lists, "vaults": hosts})
    answer = ran([sys.executable, "-m", "tests.bench.raw"], environment, given)
    if answer.code != 0:
        raise SystemExit(f"the raw download failed\n{answer.err[-4000:]}")
    found: dict[str, float] = json.loads(answer.out)
    return found


def requests_of(asked: dict[str, Any]) -> dict[str, int]:
    """How many requests that were."""
    api = [entry["verb"] for entry in asked["api"]]
    return {
        "api": len(api),
        "api_writes": sum(verb in ("create", "update", "patch", "delete") for verb in api),
        "vault": len(asked["vault"]),
    }
