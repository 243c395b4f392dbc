"""The manifests are rendered by the real kubectl and helm, or their tests do not run, which CI does not put up with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from k8s.followed import NAMESPACES
from k8s.realcluster import alone
from k8s.rendered import HOME
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


@pytest.fixture
def kubeconfig(real: str) -> Iterator[str]:
    """The cluster to install in, in which the agent is not; it is left as it was."""
    kubectl = [str(program("kubectl")), "--kubeconfig", real]
    label = f"app.kubernetes.io/name={HOME}"
    kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    with alone(real):
        there = subprocess.run(
            [*kubectl, "get", "namespace", *NAMESPACES, "-o", "name"], capture_output=True, check=False
        )
        assert not there.stdout, f"there already: {there.stdout!r}; these tests install the agent themselves"
        try:
            subprocess.run([*kubectl, "create", "namespace", "payments"], capture_output=True, check=True)
            yield real
        finally:
            subprocess.run([*kubectl, "delete", kinds, "-l", label], capture_output=True, check=False)
            gone = [*kubectl, "delete", "namespace", "--ignore-not-found", *NAMESPACES]
            subprocess.run(gone, capture_output=True, check=False)
            unlabel = [*kubectl, "label", "namespace", "kube-system", "secret-drift-agent/off-limits-"]
            subprocess.run(unlabel, capture_output=True, check=False)
