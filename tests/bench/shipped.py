"""The agent as it is shipped: with the locked distributions, and without what is there for development alone.

Some of these would be imported if they were there (rich by structlog, kubernetes-validate by kubernetes), and measured.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable, "-S"]
"""An interpreter that imports from PYTHONPATH alone."""
ONCE = [*PYTHON, "-m", "agent", "once", "--policy"]
RUN = [*PYTHON, "-m", "agent", "run", "--host", "127.0.0.1", "--port", "0", "--policy"]
"""The agent's commands; the path of the policy comes last."""
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def shipped(directory: Path) -> dict[str, str]:
    """A folder of links to all that the image holds; the environment in which ``PYTHON`` imports from there.

    Compiled files are kept, as the image has them. Raises RuntimeError if a distribution has no list of its files.
    """
    directory.mkdir()
    for name in _LOCKED.findall((ROOT / "requirements.lock").read_text()):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform
        if found.files is None:
            raise RuntimeError(f"{name} does not say which files it has")
        for top in {file.parts[0] for file in found.files} - {"..", "__pycache__"}:
            _link(directory / top, Path(str(found.locate_file(top))))
    _link(directory / "agent", ROOT / "agent")
    return {"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": ""}


def _link(link: Path, target: Path) -> None:
    if not link.exists():
        os.symlink(target, link)
