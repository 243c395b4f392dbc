"""``python -m agent`` and ``secret-drift-agent`` are the command."""

from __future__ import annotations

import sys

from agent import garbage
from agent.cli import main


def command() -> int:
    """One process from its beginning to its end; returns the exit code."""
    try:
        return main()
    finally:
        garbage.leave()


if __name__ == "__main__":
    sys.exit(command())
