"""What the sandbox needs beyond the agent's own dependencies."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = ("trustme",)


def missing() -> str:
    """The packages that are not installed, as ``a, b``; empty if all are."""
    return ", ".join(name for name in EXTRAS if find_spec(name) is None)
