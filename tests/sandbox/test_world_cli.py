"""``secret-drift-agent sandbox`` in the foreground: a process of its own, until it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.processes import ROOT

from agent.sandbox.admin import ask

_COMMAND = "import sys; from agent.sandbox.cli import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def foreground(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own; killed if the test leaves it running."""
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_runs_until_it_is_stopped_and_tells_how_to_use_it(tmp_path: Path) -> None:
    """It writes its files, loads what it is given, says what to do next, and ends with 0 when stopped."""
    (tmp_path / "world.yaml").write_text("vaults: {prod-kv: {api-key: a-secret-value}}\n")
    home = tmp_path / "world"
    with foreground("--dir", str(home), "--load", str(tmp_path / "world.yaml"), "--nodes", "1") as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert "until you stop them" in told
        assert list(ask(home, "status")["vaults"]) == ["prod-kv"]
        assert {path.name for path in home.iterdir()} == {
            "admin.json",
            "ca.pem",
            "env",
            "federated-token",
            "kubeconfig",
        }
        process.send_signal(signal.SIGINT)
        told += process.stdout.read()
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert f". {home}/env" in told
    assert "a-secret-value" not in told
    assert not (home / "admin.json").exists()


@pytest.mark.parametrize(("text", "says"), [("vaults: [", "not valid YAML"), ("vaults: {kv: {a: 1}}", "vaults.kv.a")])
def test_a_file_that_cannot_be_loaded_starts_no_world(tmp_path: Path, text: str, says: str) -> None:
    """A wrong ``--load`` file ends the command with 1 and one line."""
    (tmp_path / "world.yaml").write_text(text)
    with foreground("--dir", str(tmp_path / "w"), "--load", str(tmp_path / "world.yaml")) as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == ""
    assert says in err
    assert "Traceback" not in err


def test_a_world_that_was_killed_leaves_room_for_the_next(tmp_path: Path) -> None:
    """An admin.json of a killed sandbox does not stop a new one in the same directory."""
    with foreground("--dir", str(tmp_path)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    assert (tmp_path / "admin.json").exists()
    with foreground("--dir", str(tmp_path)) as process:
        assert process.stdout is not None
        assert "until you stop them" in process.stdout.readline()
        assert ask(tmp_path, "status")["problems"] == []
