"""The real control plane itself: what it leaves behind, and what is said where there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.controlplane import program

TESTS = Path(__file__).parents[2]


def _start(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(program()), "up", str(directory), "--with-stdin"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def _processes(directory: Path) -> list[str]:
    """The command lines of all processes that name the directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{directory}" in line and "control-plane" in line:
            found.append(line)
    return found


@pytest.mark.parametrize("end", ["stdin closed", "SIGTERM", "SIGKILL"])
def test_no_process_is_left_behind(tmp_path: Path, end: str, request: pytest.FixtureRequest) -> None:
    """However whoever started it ends, etcd, API server and controllers end with him."""
    if not request.config.getoption("--real"):
        pytest.skip("takes a real control plane: --real")
    process = _start(tmp_path)
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline().strip() == str(tmp_path / "kubeconfig")
        assert len(_processes(tmp_path)) == 4
        if end == "stdin closed":
            process.stdin.close()
        else:
            os.kill(process.pid, getattr(signal, end))
        process.wait(10)
        until = time.monotonic() + 5
        while _processes(tmp_path) and time.monotonic() < until:
            time.sleep(0.05)
        assert _processes(tmp_path) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_without_go_one_line_says_what_is_missing(tmp_path: Path) -> None:
    """On a machine without Go the command says so in one line, and fails."""
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "support.controlplane", "build"]
    ended = subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "Go 1.26" in ended.stderr
