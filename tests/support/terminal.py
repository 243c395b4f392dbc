"""Runs a command as at a terminal: its stdout is one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def at_terminal(environment: Mapping[str, str], *arguments: str) -> str:
    """What ``python -m agent`` prints there."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "agent", *arguments], cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE,
        ):  # fmt: skip
            os.close(theirs)
            return _read(ours).replace("\r\n", "\n")
    finally:
        os.close(ours)


def _read(terminal: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # EIO: nobody holds the other side any more
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)
