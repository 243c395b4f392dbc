"""Do the locks belong to pyproject.toml as it is? ``check`` tells, offline; ``stamp`` notes it after `make lock`.

Each lock begins with a line that holds the hash of everything in pyproject.toml that the resolver looks at.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = tuple(ROOT / name for name in ("requirements.lock", "requirements-dev.lock", "requirements-tools.lock"))
MARK = "# made for the dependencies of pyproject.toml with sha256:"


def line() -> str:
    """The first line that a fresh lock has."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = told["project"]
    inputs = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        told["dependency-groups"],
    ]
    return MARK + hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def check() -> int:
    """0 if every lock is fresh."""
    stale = [lock.name for lock in LOCKS if lock.read_text().split("\n", 1)[0] != line()]
    for name in stale:
        sys.stderr.write(f"{name}: made for other dependencies than those of pyproject.toml; run: make lock\n")
    return 1 if stale else 0


def stamp() -> int:
    """Writes the line on top of every lock, in place of an older one."""
    for lock in LOCKS:
        kept = [text for text in lock.read_text().splitlines(keepends=True) if not text.startswith(MARK)]
        lock.write_text("".join([line() + "\n", *kept]))
    return 0


if __name__ == "__main__":
    commands = {"check": check, "stamp": stamp}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: {sys.argv[0]} check|stamp")
    sys.exit(commands[sys.argv[1]]())
