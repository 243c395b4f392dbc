"""The agent looks with the rights that observe gives it: nothing is refused, in a real API server's judgement.

Needs `--real` or `--cluster KUBECONFIG`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from k8s.realcluster import Cluster, installed
from k8s.rendered import HOME, K8S

COMMANDS = (("once", "--deadline", "60s"), ("once", "--deadline", "60s"), ("scan",))
"""The second `once` reads the ledger of the first."""


@pytest.mark.parametrize("one_namespace", [False, True], ids=["everywhere", "namespaced"])
def test_looking_is_refused_nothing(real: str, tmp_path: Path, one_namespace: bool) -> None:
    """`once` and `scan` with a token of the agent's account end well, and with no word of a missing right."""
    with installed(real, (), one_namespace=one_namespace) as cluster:
        _ready(cluster)
        account = str(cluster.agents_kubeconfig())
        only = ["-n", cluster.open] if one_namespace else []
        for command in COMMANDS:
            policy = K8S / "base" / "policy.yaml"
            told = [sys.executable, "-m", "agent", *command, *only, "--kubeconfig", account, "--policy", str(policy)]
            ended = subprocess.run(told, capture_output=True, text=True, check=False, timeout=90, cwd=tmp_path)
            assert (ended.returncode, "forbidden" in ended.stderr) == (0, False), ended.stderr
        for kind in ("secrets", "configmaps"):
            names = cluster.kubectl("-n", HOME, "get", kind, "-o", "name").split()
            assert [name for name in names if "secret-drift-agent-" in name], "the ledger"


def _ready(cluster: Cluster) -> None:
    asked = ("auth", "can-i", "list", "nodes", "--as", f"system:serviceaccount:{HOME}:{HOME}")

    def granted() -> bool:
        try:
            return cluster.kubectl(*asked).strip() == "yes"
        except AssertionError:
            return False

    cluster.soon(granted, "the rights are in force")
