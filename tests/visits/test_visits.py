"""Scenarios as guests of a cluster that is not theirs: what they leave, and what they do not enter. Needs `--real`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.controlplane import ControlPlane
from support.installing import PATHS, custom_kinds, put, until_served
from support.realworld import admin, real_cluster
from support.servers import eventually

from agent.cluster.connection import Connection
from agent.cluster.errors import ApiProblem
from agent.sandbox import builders as b
from agent.sandbox.apiserver.kinds import KINDS
from agent.sandbox.client import NODES
from agent.sandbox.thread import SandboxThread
from agent.sandbox.world import AGENT_NAMESPACE

ROOT = Path(__file__).parents[2]
STORY = "tests/scenarios/test_s01_rotation.py"
ESO = "/apis/external-secrets.io/v1"
COME_AND_GO = ("Event", "Lease")
"""The controllers' own, at any time."""
AT_HOME = ("Role", "RoleBinding", "ServiceAccount")
"""What is in the agent's own namespace ends with it."""

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A cluster of somebody else."""
    if not request.config.getoption("--real"):
        pytest.skip("needs a real API server: --real")
    with ControlPlane({}) as plane:
        yield plane


def _inventory(conn: Connection) -> set[str]:
    """All that is there, by path and name."""
    prefix = {kind: f"/apis/{kind.group}" if kind.group else "/api" for kind in KINDS}
    paths = {f"{prefix[kind]}/{kind.version}/{kind.plural}" for kind in KINDS if kind.kind not in COME_AND_GO}
    paths |= {path for kind, path in PATHS.items() if kind not in AT_HOME}
    found = set()
    for path in paths:
        try:
            items = json.loads(conn.request("GET", path).body)["items"]
        except ApiProblem as error:
            if error.code != 404:
                raise
            continue
        found |= {f"{path} {meta.get('namespace', '')}/{meta['name']}" for meta in (each["metadata"] for each in items)}
    return found


@contextmanager
def _visit(plane: ControlPlane, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    told = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--cluster", str(plane.kubeconfig), STORY]
    process = subprocess.Popen(
        [*told, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _run(plane: ControlPlane, *arguments: str) -> tuple[int, str]:
    with _visit(plane, *arguments) as process:
        told = process.communicate(timeout=180)[0]
        return process.returncode, told


def _is_there(conn: Connection, path: str) -> bool:
    try:
        conn.request("GET", path)
    except ApiProblem as error:
        if error.code == 404:
            return False
        raise
    return True


def test_a_visit_leaves_nothing_behind_not_even_after_one_that_was_killed(plane: ControlPlane) -> None:
    """Run twice, and once more after a run that was killed in the middle: each leaves the cluster as it found it."""
    with admin(plane) as conn:
        before = _inventory(conn)
        for _ in range(2):
            code, told = _run(plane)
            assert code == 0, told
            assert _inventory(conn) == before
        with _visit(plane) as process:
            until = time.monotonic() + 60
            while not _is_there(conn, "/api/v1/nodes/node-1"):
                assert time.monotonic() < until, "the world never began"
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGKILL)
        assert _inventory(conn) != before
        code, told = _run(plane)
        assert code == 0, told
        assert _inventory(conn) == before


def test_where_somebody_else_has_installed_the_agent_nothing_is_done(plane: ControlPlane) -> None:
    """Objects of the names that would be needed, without our label, end the run before it begins; they stay."""
    with admin(plane) as conn:
        put(conn, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENT_NAMESPACE}})
        before = _inventory(conn)
        code, told = _run(plane)
        assert code == pytest.ExitCode.USAGE_ERROR, told
        assert f"there already, and not of these tests: Namespace {AGENT_NAMESPACE}" in told
        assert _inventory(conn) == before


def test_where_externalsecrets_of_others_could_be_healed_nothing_is_done(plane: ControlPlane) -> None:
    """Nor is a real ESO taken for granted where it is not installed."""
    with admin(plane) as conn:
        code, told = _run(plane, "--eso", "real")
        assert code == pytest.ExitCode.USAGE_ERROR, told
        assert "External Secrets Operator is not installed there" in told
        for kind in custom_kinds():
            put(conn, kind)
        until_served(conn)
        theirs = b.external_secret("theirs", "default", {"KEY": "key"})
        conn.request("POST", f"{ESO}/namespaces/default/externalsecrets", body=json.dumps(theirs).encode())
        before = _inventory(conn)
        code, told = _run(plane)
        assert code == pytest.ExitCode.USAGE_ERROR, told
        assert "this cluster has ExternalSecrets of others: default/theirs" in told
        assert _inventory(conn) == before


def test_a_namespace_of_somebody_else_is_not_entered(plane: ControlPlane) -> None:
    """A story whose namespace has an owner fails with a word of it; nothing comes into that namespace."""
    with admin(plane) as conn:
        theirs = b.namespace("shop")
        put(conn, theirs)
        before = _inventory(conn)
        code, told = _run(plane)
        assert code == pytest.ExitCode.TESTS_FAILED, told
        assert "namespace shop is there already, and not of these tests" in told
        assert _inventory(conn) == before
        kept = json.loads(conn.request("GET", f"{PATHS['Namespace']}/shop").body)
        assert "deletionTimestamp" not in kept["metadata"]


def test_nodes_of_guests_show_that_they_live(request: pytest.FixtureRequest) -> None:
    """A controller that waits for signs of life gets them, and the time since when the node is ready stays."""
    if not request.config.getoption("--real"):
        pytest.skip("needs a real API server: --real")
    with real_cluster() as installed:
        with SandboxThread(cluster=replace(installed.cluster, settings={"heartbeat": 0.5})) as world:

            def ready() -> dict[str, str]:
                node = world.run(world.sandbox.admin.get_or_none(NODES, None, "node-1")) or {"status": {}}
                return next((c for c in node["status"].get("conditions") or [] if c["type"] == "Ready"), {})

            first = eventually(ready, 60)
            later = eventually(lambda: now if (now := ready()) != first else None, 60)
        assert later == {**first, "lastHeartbeatTime": later["lastHeartbeatTime"]}
