"""The policy of a running agent: a good change is taken up, a bad one is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.policy import PolicyError, PolicyFile, default

GOOD = "apiVersion: secret-drift-agent/v1\nkind: HealPolicy\nmode: heal\ninterval: 60s\n"


def test_without_a_file_the_packaged_policy_is_in_force() -> None:
    """An agent that is given no policy observes, and looks at no file."""
    file = PolicyFile(None)
    assert file.current == default()
    assert not file.reload_if_changed()


def test_a_bad_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    """There is no old policy to keep yet, so a bad file stops the start."""
    path = tmp_path / "p.yaml"
    path.write_text("mode: heel")
    with pytest.raises(PolicyError):
        PolicyFile(path)


def test_a_change_is_taken_up_once(tmp_path: Path) -> None:
    """A new policy is in force after the next look, even if neither size nor time of the file moved."""
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    before = path.stat()
    file = PolicyFile(path)
    assert not file.reload_if_changed()
    path.write_text(GOOD.replace("60s", "90s"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.reload_if_changed()
    assert file.current.interval == 90.0
    assert not file.reload_if_changed()


def test_a_changed_comment_is_no_change(tmp_path: Path) -> None:
    """Text that means the same policy is not reported as another."""
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    file = PolicyFile(path)
    path.write_text(GOOD + "# reviewed\n")
    assert not file.reload_if_changed()


def test_a_bad_new_file_keeps_the_old_policy(tmp_path: Path) -> None:
    """While the file is bad or gone the old policy stays and the problem is there to be told; then it is over."""
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    file = PolicyFile(path)
    path.write_text(GOOD + "limits: {attempts: 0}\n")
    assert not file.reload_if_changed()
    assert file.current.mode == "heal"
    assert file.problem is not None
    assert [problem.path for problem in file.problem.problems] == ["limits.attempts"]
    path.unlink()
    assert not file.reload_if_changed()
    assert "cannot be read" in str(file.problem)
    path.write_text(GOOD)
    assert not file.reload_if_changed()
    assert file.problem is None


def test_a_swapped_link_is_followed(tmp_path: Path) -> None:
    """A mounted ConfigMap changes by a link that is swapped: the new content is found."""
    for name, interval in (("one", "60s"), ("two", "90s")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.yaml").write_text(GOOD.replace("60s", interval))
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "p.yaml").symlink_to("data/p.yaml")
    file = PolicyFile(tmp_path / "p.yaml")
    (tmp_path / "swap").symlink_to("two")
    (tmp_path / "swap").rename(tmp_path / "data")
    assert file.reload_if_changed()
    assert file.current.interval == 90.0
