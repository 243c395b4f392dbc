"""S04: a service starts to need new credentials, and its ExternalSecret gets new keys."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from support.scenario import Scenario
from support.told import findings, healed, refusals, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver.faults import FaultRule

NS = "klinematrix-test"
ONE = {"MONGODB_URI": "mongodb-connection-string-test"}
POLICY: dict[str, Any] = {"vaults": ["klinematrix-test-kv"], "timing": {"missingPersistence": "10s"}}
"""ESO has time enough to do it by itself, however busy the machine is."""
ALL = {**ONE, "LANGFUSE_PUBLIC_KEY": "langfuse-public-key", "LANGFUSE_SECRET_KEY": "langfuse-secret-key"}


def test_s04_eso_applies_the_edit_and_only_who_takes_all_keys_is_recycled() -> None:
    """Two added keys are synced by ESO itself; envFrom consumers are recycled, the consumer of another key is not."""
    with Scenario() as s:
        at_rest(
            s,
            {f"klinematrix-test-kv/{name}": f"value of {name}" for name in ALL.values()},
            [b.secret_store("klinematrix-test-kv", NS), b.external_secret("app-secrets", NS, ONE)],
            [
                b.deployment("backend", NS, 2, env_from=["app-secrets"]),
                b.deployment("importer", NS, 2, env={"MONGODB_URI": ("app-secrets", "MONGODB_URI")}),
            ],
            NS,
        )
        s.policy(**POLICY)
        agent = watching(s)
        old = {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}
        others = {pod["metadata"]["uid"] for pod in s.pods(NS, "importer")}

        s.apply(b.external_secret("app-secrets", NS, ALL))
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.secret(NS, "app-secrets") == {key: f"value of {name}".encode() for key, name in ALL.items()}
        for key, name in ALL.items():
            assert s.all_hold(NS, "backend", "app-secrets", key, f"value of {name}")
        assert {pod["metadata"]["uid"] for pod in s.pods(NS, "importer")} == others
        assert [(verb, resource, sub) for verb, resource, sub, _ in s.writes()] == [("create", "pods", "eviction")] * 2
        assert set(s.evicted(NS)) == old
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1)]
        assert healed(agent, "backend") == [2]
        assert healed(agent, "importer") == []
        assert refusals(agent) == []
        assert ("container", "stale-pod") in findings(agent)
        assert not {"suspect", "changed-elsewhere", "missing-key"} & {kind for _, kind in findings(agent)}


def test_s04_no_pod_is_recycled_onto_a_secret_that_has_lost_a_key_which_it_requires() -> None:
    """The ExternalSecret loses a key that pods still name: a new one could not start, so none goes until it is back."""
    key = "LANGFUSE_PUBLIC_KEY"
    two = {**ONE, key: ALL[key]}
    with Scenario() as s:
        at_rest(
            s,
            {f"klinematrix-test-kv/{name}": f"value of {name}" for name in two.values()},
            [b.secret_store("klinematrix-test-kv", NS), b.external_secret("app-secrets", NS, two)],
            [b.deployment("backend", NS, 2, env={each: ("app-secrets", each) for each in two})],
            NS,
        )
        s.policy(**POLICY)
        agent = watching(s)
        old = {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}

        s.apply(b.external_secret("app-secrets", NS, ONE))
        refused = agent.until(workload="backend", reason="missing-key")
        s.cycles(agent)
        assert s.writes() == []
        assert s.is_ready(NS, "backend")
        assert f"container app requires key {key} of Secret {NS}/app-secrets" in refused["event"]

        s.rotate("klinematrix-test-kv", ALL[key], "another")
        s.apply(b.external_secret("app-secrets", NS, two))
        s.wait(lambda: healed(agent, "backend"), why="backend healed")

        assert s.all_hold(NS, "backend", "app-secrets", key, "another")
        assert set(s.evicted(NS)) == old
        assert refusals(agent) == [("recycle", "missing-key")]


@pytest.mark.parametrize("at_once", [False, True], ids=["as it comes", "all at once"])
def test_s04_a_key_that_only_our_watch_has_not_brought_yet_is_not_missing(at_once: bool) -> None:
    """While our watch of Secrets is silent, ESO's word that it has synced lets us read the Secret instead.

    Also where the ExternalSecret's change is not seen before that word.
    """
    with Scenario() as s:
        at_rest(
            s,
            {f"klinematrix-test-kv/{name}": f"value of {name}" for name in ALL.values()},
            [b.secret_store("klinematrix-test-kv", NS), b.external_secret("app-secrets", NS, ONE)],
            [b.deployment("backend", NS, 1, env_from=["app-secrets"])],
            NS,
        )
        s.policy(**POLICY)
        agent = watching(s)
        silent = FaultRule(effect="half-open", user="agent", verb="watch", resource="secrets")
        s.call(s.sandbox.api.faults.add, silent)

        if at_once:
            agent.signal(signal.SIGSTOP)
        s.apply(b.external_secret("app-secrets", NS, ALL))
        s.wait(lambda: len(s.secret(NS, "app-secrets") or {}) == len(ALL), why="ESO has written them")
        s.external_secret_ready(NS, "app-secrets")
        if at_once:
            agent.signal(signal.SIGCONT)
        s.wait(lambda: healed(agent, "backend"), why="backend healed")

        assert s.secret(NS, "app-secrets") == {key: f"value of {name}".encode() for key, name in ALL.items()}
        for key, name in ALL.items():
            assert s.all_hold(NS, "backend", "app-secrets", key, f"value of {name}")
        assert s.writes() == [("patch", "deployments", "", f"{NS}/backend")]
        assert refusals(agent) == []
        assert not {"changed-elsewhere", "missing-key"} & {kind for _, kind in findings(agent)}
