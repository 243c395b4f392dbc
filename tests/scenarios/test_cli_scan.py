"""`scan` and `once` as commands: what they print, where, how they end, and that `scan` changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.scenario import Scenario
from support.worlds import at_rest

from agent.report.scan import SCHEMA
from agent.sandbox import builders as b
from agent.sandbox.apiserver.access import ForbidRule

NS, KV = "klinematrix-test", "klinematrix-test-kv"
WRITES = ("create", "update", "patch", "delete", "deletecollection")


def backend(s: Scenario) -> None:
    """A healthy chain with one Deployment of two pods, long at rest."""
    chain = [b.secret_store(KV, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})]
    pods = b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})
    at_rest(s, {f"{KV}/api-key": "value-one"}, chain, [pods], NS)


def all_writes(s: Scenario) -> list[tuple[str, str, str]]:
    """Every request of the agent that changes anything, anywhere, its own namespace included."""
    audit = s.call(lambda: list(s.sandbox.api.audit))
    return [(e.verb, e.resource, e.name) for e in audit if e.user == "agent" and e.verb in WRITES]


def test_once_brings_a_rotated_secret_to_every_container_and_ends_with_0() -> None:
    """`once` heals what it finds within its deadline, prints that nothing remains, and ends with 0."""
    with Scenario() as s:
        backend(s)
        s.policy(vaults=[KV])
        assert s.once().code == 0
        s.rotate(KV, "api-key", "value-two")

        result = s.once("--deadline", "30s")

        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two"), (result.code, result.err)
        assert (result.code, result.out) == (0, "no drift, nothing suspect, nothing unknown\n")
