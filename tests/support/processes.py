"""Agent processes for tests: started quickly, watched closely, ended surely."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    """How a run ended: its exit code (negative: the signal that ended it), what it printed, what it logged."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, as JSON."""
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"ended with {self.code}, no JSON on stdout: {self.out!r}\n{self.err}") from error

    def lines(self) -> list[dict[str, Any]]:
        """Its JSON log lines."""
        return parse_log(self.err)


def parse_log(text: str) -> list[dict[str, Any]]:
    """The JSON log lines of a text; what is none comes as ``{"raw": line}``."""
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            decoded = json.loads(line)
        except ValueError:
            decoded = None
        found.append(decoded if isinstance(decoded, dict) else {"raw": line})
    return found


@dataclass
class Started:
    """A process that was started: its pid, and its exit code once it has ended."""

    pid: int
    ended: Future[int] = field(default_factory=Future)

    def signal(self, number: int) -> None:
        """Send a signal, if it is still there."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Zygote:
    """One zygote, and the processes that it has forked. Thread-safe."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._ids = itertools.count()
        self._starting: dict[int, Future[Started]] = {}
        self._running: dict[int, Started] = {}
        threading.Thread(target=self._listen, daemon=True, name="zygote").start()

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], *, directory: Path, out: Path, err: Path
    ) -> Started:
        """Fork an agent. Raises RuntimeError if the zygote is dead, as when the agent cannot be imported."""
        with self._lock:
            number = next(self._ids)
            future = self._starting[number] = Future()
            order = {
                "id": number, "arguments": list(arguments), "environment": dict(environment),
                "directory": str(directory), "stdout": str(out), "stderr": str(err),
            }  # fmt: skip
            assert self._process.stdin
            try:
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
                self._process.stdin.flush()
            except OSError as error:
                raise RuntimeError("the zygote is dead; its own message stands above on stderr") from error
        return future.result(30)

    def stop(self) -> None:
        """End it and all that it has forked."""
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            told = json.loads(line)
            with self._lock:
                if "started" in told:
                    started = Started(told["started"])
                    self._running[started.pid] = started
                    self._starting.pop(told["id"]).set_result(started)
                elif "ended" in told:
                    self._running.pop(told["ended"]).ended.set_result(told["code"])
        with self._lock:
            for future in self._starting.values():
                future.set_exception(RuntimeError("the zygote is dead; its own message stands above on stderr"))
            for started in self._running.values():
                started.ended.set_result(-signal.SIGKILL)


@functools.cache
def zygote() -> Zygote:
    """The zygote of this test process."""
    made = Zygote()
    atexit.register(made.stop)
    return made


def _fresh(
    arguments: Sequence[str], environment: Mapping[str, str], *, directory: Path, out: Path, err: Path
) -> Started:
    """``python -m agent`` with an interpreter of its own."""
    command = [sys.executable, "-m", "agent", *arguments]
    with out.open("ab") as stdout, err.open("ab") as stderr:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
            stdout=stdout, stderr=stderr, start_new_session=True,
        )  # fmt: skip
    started = Started(process.pid)
    threading.Thread(target=lambda: started.ended.set_result(process.wait()), daemon=True).start()
    return started


class AgentProcess:
    """An agent that runs. Its output is read from files, so that no pipe can fill and stop it."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: Path, name: str, *, fresh: bool
    ) -> None:
        self.arguments = tuple(arguments)
        self._out, self._err = directory / f"{name}.out", directory / f"{name}.err"
        self._known: list[dict[str, Any]] = []
        self._read = 0
        start = _fresh if fresh else zygote().start
        self._process = start(arguments, environment, directory=directory, out=self._out, err=self._err)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.ended.done()

    @property
    def err(self) -> str:
        """All that it has written to stderr so far."""
        return self._err.read_text(errors="replace") if self._err.exists() else ""

    @property
    def out(self) -> str:
        """All that it has printed so far."""
        return self._out.read_text(errors="replace") if self._out.exists() else ""

    def lines(self, **having: Any) -> list[dict[str, Any]]:
        """Its JSON log lines so far that have these fields; whole lines only.

        Whoever waits for one asks fifty times a second: each line is read once.
        """
        if self._err.exists():
            with self._err.open("rb") as log:
                log.seek(self._read)
                whole = log.read().rpartition(b"\n")
            self._read += len(whole[0]) + len(whole[1])
            self._known += parse_log(whole[0].decode(errors="replace"))
        return [line for line in self._known if having.items() <= line.items()]

    def signal(self, number: int) -> None:
        """Send a signal, such as SIGSTOP."""
        self._process.signal(number)

    def kill(self) -> Result:
        """SIGKILL, as a node that goes down."""
        self.signal(signal.SIGKILL)
        return self.wait(10)

    def stop(self, timeout: float = 20.0) -> Result:
        """SIGTERM, and wait for its end. AssertionError, after a SIGKILL, if that takes too long."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = 60.0) -> Result:
        """Wait for its end. AssertionError, after a SIGKILL, if that takes too long."""
        try:
            code = self._process.ended.result(timeout)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            self._process.ended.result(10)
            told = f"agent {' '.join(self.arguments)} was still running after {timeout} s; it said:\n{self.err[-4000:]}"
            raise AssertionError(told) from None
        return Result(code, self.out, self.err)

    def until(self, timeout: float = 20.0, **having: Any) -> dict[str, Any]:
        """The first log line with these fields. AssertionError if there is none in time."""
        deadline = time.monotonic() + timeout
        while not (found := self.lines(**having)):
            assert not self.ended, f"the agent ended; it said:\n{self.err[-4000:]}"
            assert time.monotonic() < deadline, f"no line with {having} in {timeout} s:\n{self.err[-4000:]}"
            time.sleep(0.02)
        return found[0]
