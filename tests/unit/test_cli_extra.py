"""The command where the extra of the embedded world is not installed, as in the image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import parser

WITHOUT = "import sys; sys.modules['trustme'] = None; from agent.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("command", [["demo"], ["sandbox"]])
def test_the_embedded_world_is_named_where_it_is_not_installed(command: list[str], tmp_path: Path) -> None:
    """Without the extra one line says what to install, and no traceback comes."""
    place = [sys.executable, "-c", WITHOUT, *command, "--dir", str(tmp_path)]
    ended = subprocess.run(place, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "secret-drift-agent: the sandbox needs trustme: install secret-drift-agent[sandbox]\n"


def test_the_agent_itself_needs_no_extra(tmp_path: Path) -> None:
    """Everything but the embedded world works without it."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: secret-drift-agent/v1\nkind: HealPolicy\nmode: observe\n")
    place = [sys.executable, "-c", WITHOUT, "policy", "check", str(policy)]
    ended = subprocess.run(place, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_durations_are_those_of_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    """What the policy takes the options take, too; anything else is refused with what was expected."""
    assert parser().parse_args(["once", "--deadline", "1m30s"]).deadline == 90.0
    with pytest.raises(SystemExit):
        parser().parse_args(["once", "--deadline", "soon"])
    assert "expected a duration such as 15s, 5m, 2h, 30d or 1m30s; found 'soon'" in capsys.readouterr().err
