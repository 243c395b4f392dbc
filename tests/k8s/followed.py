"""A page of ours as an engineer follows it: its files are written, its commands carried out, in their order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from k8s.rendered import HOME, K8S
from support.programs import program

ROOT = K8S.parent
NAMESPACES = (HOME, "payments")
NOT_HERE = ("rollout status",)
"""Waits for pods, which run only where there are nodes and the image."""


def chapter(page: Path, title: str) -> str:
    """The text under a heading of the page."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no chapter {title}"
    return found[1]


def files(text: str, place: Path) -> None:
    """Each block of YAML, under the name in its first line, beside the manifests."""
    (place / "k8s").symlink_to(K8S)
    for name, content in re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)


def lines(text: str) -> Iterator[str]:
    """The lines that are set apart as commands."""
    return (line.strip() for line in text.splitlines() if line.startswith("    "))


def follow(lines: Iterator[str], place: Path, kubeconfig: str) -> list[str]:
    """Carry out the commands, and the edits that are noted between them as `# FILE: key: value`."""
    done = []
    for line in lines:
        if edit := re.fullmatch(r"# (\S+\.yaml): (\w+:.*)", line):
            path = place / edit[1]
            path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | yaml.safe_load(edit[2])))
        elif re.match(r"kubectl|helm|secret-drift-agent", line) and not any(each in line for each in NOT_HERE):
            command_line, _, kept = line.partition(" > ")
            name, *arguments = shlex.split(command_line, comments=True)
            command = [sys.executable, "-m", "agent"] if name == HOME else [str(program(name))]
            settings = {**os.environ, "KUBECONFIG": kubeconfig, "PYTHONPATH": str(ROOT)}
            ended = subprocess.run(
                [*command, *arguments], cwd=place, env=settings, capture_output=True, text=True, check=False, timeout=90
            )
            assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
            if kept:
                (place / kept).write_text(ended.stdout)
            done.append(line)
    return done
