"""A process that has imported the agent already, and forks one copy of itself for each run of it.

Each run is a process of its own, with its own pid, environment and output, so that it can be killed and stopped like
any other; only the second that its imports take is saved. Run as a script: it takes orders as JSON lines on stdin and
tells of starts and ends as JSON lines on stdout.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn

_USED = (
    "agent.loop", "agent.start", "agent.plan.gates", "agent.policy.cli", "agent.report.explain", "agent.sandbox.cli",
    "azure.core.rest._requests_basic", "azure.identity", "azure.keyvault.secrets", "kubernetes.client",
    "kubernetes.config", "structlog.dev",
)  # fmt: skip
"""What the agent imports late, only when a command needs it."""


def main() -> None:
    """Serve orders until stdin ends; then end what still runs."""
    for module in ("agent.cli", *_USED):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test run; it closes our stdin
    running: set[int] = set()
    orders, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    _tell(answers, {"ready": os.getpid()})
    pending = b""
    while True:
        readable, _, _ = select.select([orders.fileno(), wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            _reap(answers, running)
        if orders.fileno() in readable:
            chunk = orders.read(65536)
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    orders.close()
                    answers.close()
                    _become(order, (wake_read, wake_write))
                running.add(pid)
                _tell(answers, {"started": pid, "id": order["id"]})
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _tell(answers: Any, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what).encode() + b"\n")


def _reap(answers: Any, running: set[int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            _tell(answers, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _become(order: dict[str, Any], inherited: tuple[int, ...]) -> NoReturn:
    """The child: an agent with these arguments. Never returns."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in inherited:
        os.close(number)
    os.setsid()
    _redirect(os.devnull, os.O_RDONLY, 0)
    _redirect(order["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 1)
    _redirect(order["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["directory"])
    sys.argv = ["secret-drift-agent", *order["arguments"]]
    code = _run(order["arguments"])
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(arguments: list[str]) -> int:
    from agent.cli import main as agent_main

    try:
        code: Any = agent_main(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  # as the interpreter does at the end of a process
        traceback.print_exc()
        return 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        return 1
    return int(code or 0)


def _redirect(path: str, flags: int, number: int) -> None:
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, number)
    os.close(opened)


if __name__ == "__main__":
    main()
