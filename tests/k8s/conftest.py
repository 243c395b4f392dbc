"""The manifests are rendered by the real kubectl and helm, or their tests do not run, which CI does not put up with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from support.controlplane import ControlPlane
from support.programs import program


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    try:
        for name in ("kubectl", "helm"):
            subprocess.run([program(name), "help"], capture_output=True, check=True, timeout=60)
    except OSError as error:  # not installed, or made for machines of another kind
        if os.environ.get("CI"):
            raise
        pytest.skip(f"kubectl and helm of the environment do not run here: {error}")


@pytest.fixture(scope="session")
def real(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kubeconfig of a real API server's admin: of the cluster that was named, or of a control plane of our own."""
    if given := request.config.getoption("--cluster"):
        yield os.path.abspath(given)
    elif request.config.getoption("--real"):
        with ControlPlane({}) as plane:
            yield str(plane.kubeconfig)
    else:
        pytest.skip("needs a real API server: --real, or --cluster KUBECONFIG")
