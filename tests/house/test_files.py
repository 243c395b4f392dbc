"""The rules of the house for every file: a clone stands on its own and gives nothing away."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from house.sources import ROOT, files, text

REGISTRIES = (
    r"pypi\.org",
    r"pythonhosted\.org",
    r"npmjs\.(org|com)",
    r"proxy\.golang\.org",
    r"crates\.io",
    r"anaconda\.org",
)
LOCAL_PATH = r"(?<![\w.:/}-])/(work|root|Users|home/\w+|opt/wheels)/"
OWN = Path(__file__).relative_to(ROOT)


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the business of the machine that installs them, not of a file of ours."""
    assert _lines_with("|".join(REGISTRIES)) == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    """Nothing points outside the clone."""
    assert _lines_with(LOCAL_PATH) == []


def test_no_private_key_and_no_token_is_kept() -> None:
    """Certificates and tokens of the embedded world are made when it starts."""
    assert _lines_with(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\\?n?[A-Za-z0-9+/]{16}|\beyJ[\w-]{20,}\.[\w-]{20,}\.") == []


def test_the_locks_belong_to_the_dependencies() -> None:
    """Who changes a dependency runs `make lock`: a stale lock is told without asking the network."""
    ended = subprocess.run(
        [sys.executable, ".ci/locks.py", "check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_everything_in_the_locks_has_a_hash() -> None:
    """No line of a lock installs anything by its name alone."""
    for name, least in (("requirements.lock", 30), ("requirements-dev.lock", 40), ("requirements-tools.lock", 1)):
        pins = re.split(r"\n(?=[a-z0-9])", text(Path(name)))[1:]
        assert len(pins) > least
        assert [pin.split("\n")[0] for pin in pins if "--hash=sha256:" not in pin] == []


def _lines_with(pattern: str) -> list[str]:
    wanted = re.compile(pattern)
    return [
        f"{path}:{number}: {line.strip()[:160]}"
        for path in files()
        if path != OWN and wanted.search(text(path))
        for number, line in enumerate(text(path).splitlines(), 1)
        if wanted.search(line)
    ]
