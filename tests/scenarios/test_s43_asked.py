"""S43: a person asks for a heal or a resume from a laptop; the leader does it, through the same gates."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import yaml
from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import sample
from support.worlds import at_rest, refresh

from agent.cluster.stored import Stored
from agent.ledger import requests
from agent.model import ObjectKey
from agent.sandbox import builders as b
from agent.sandbox.actors.controller.objects import ready
from agent.sandbox.actors.kubelet import Settings
from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.world import AGENT_NAMESPACE, Options

NS, APP, CHAIN = "shop", "backend", "shop/app-secrets"
REQUESTS = ("configmaps", AGENT_NAMESPACE)
SYNC = ("patch", "externalsecrets", "", CHAIN)
CLOSED = [{"days": ["Mon"], "from": "03:00", "to": "03:01", "timeZone": "Europe/Berlin"}]
DAY = "24h"
SLOW_BACKOFF = Options(node_settings=Settings(crash_backoff=60.0, crash_backoff_max=60.0))
"""A canary that failed does not recover by itself within the test."""


def world(s: Scenario, app: dict[str, Any] | None = None, **policy: Any) -> None:
    """A workload at rest, and a policy whose interval is so long that nothing is found by itself."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [b.deployment(APP, NS, 3, env={"API_KEY": ("app-secrets", "API_KEY")}, app=app)],
        NS,
    )
    s.policy(**policy)


def asks(s: Scenario, *arguments: str) -> AgentProcess:
    """The command of somebody who is not the agent: an admin of the cluster, on a laptop."""
    path = s.directory / "kubeconfig-of-a-person"
    config = yaml.safe_load(Path(s.environment["KUBECONFIG"]).read_text())
    config["users"][0]["user"] = {"token": s.sandbox.tokens["admin"]}
    path.write_text(yaml.safe_dump(config))
    return s.launch(*arguments, KUBECONFIG=str(path), POD_NAME="laptop")


def left(s: Scenario) -> list[str]:
    """Requests that are still there."""
    return [
        o["metadata"]["name"] for o in s.objects("ConfigMap", AGENT_NAMESPACE) if "request" in o["metadata"]["name"]
    ]


def test_s43_heal_is_carried_out_by_the_leader_at_once_and_followed_to_the_end() -> None:
    """Between two looks of the leader a rotation is healed because somebody asks; each step is told as it is done."""
    with Scenario() as s:
        world(s, interval=DAY)
        leader = s.start_agent()
        s.cycles(leader, 1)
        s.rotate("prod-kv", "api-key", "value-two")
        result = asks(s, "heal", CHAIN).wait()
        begun = min(e.at for e in s.requests() if (e.verb, e.resource) == ("patch", "externalsecrets"))
        asked = [e for e in s.requests("admin") if (e.verb, e.resource, e.namespace) == ("create", *REQUESTS)]
        assert len(asked) == 1
        assert 0 <= begun - asked[0].at < 2, "the leader begins at once"

        assert result.code == 0
        assert "asked ESO to sync now" in result.out
        assert result.out.count("evicted pod") == 3
        assert result.out.splitlines()[-1] == "nothing is stale"
        assert s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two")
        assert s.writes()[0] == SYNC
        assert len(s.evicted(NS)) == 3
        assert left(s) == []
        assert sample(s.metrics(leader), "secret_drift_actions_total", step="recycle", result="done") == 3


def test_s43_a_heal_that_a_gate_refuses_is_refused_with_the_reason() -> None:
    """Outside the window the sync is done and no pod is touched; the exit code is 2 and the last line says why."""
    with Scenario() as s:
        world(s, interval=DAY, recycle={"windows": CLOSED})
        leader = s.start_agent()
        s.cycles(leader, 1)
        s.rotate("prod-kv", "api-key", "value-two")
        result = asks(s, "heal", CHAIN).wait()
        assert result.code == 2
        assert "not healed: recycle (outside-window)" in result.out.splitlines()[-1]
        assert s.writes() == [SYNC]


def test_s43_a_dry_run_says_what_would_be_done_and_does_nothing() -> None:
    """The leader answers by what it knows, each gate included, and does no more than it would have done anyway."""
    with Scenario() as s:
        world(s, mode="observe")
        leader = s.start_agent()
        s.cycles(leader, 1)
        s.rotate("prod-kv", "api-key", "value-two")
        leader.until(kind="stale", link="vault")
        result = asks(s, "heal", CHAIN, "--dry-run").wait()
        assert result.code == 2
        assert "has the version of" in result.out
        assert "would be refused: force-sync (observe-mode)" in result.out.splitlines()[-1]
        assert s.writes() == []
        assert left(s) == []


def test_s43_a_dry_run_promises_no_heal_where_no_step_helps() -> None:
    """ESO is denied the vault: nothing would be done, and it says what a person has to do."""
    with Scenario() as s:
        world(s)
        assert s.once().code == 0
        s.call(s.sandbox.vaults.grant, "eso", "prod-kv", list=True, get=False)
        s.rotate("prod-kv", "api-key", "value-two")
        refresh(s, NS, "app-secrets")
        s.wait(lambda: not ready(s.get("ExternalSecret", NS, "app-secrets") or {}), why="ESO says Ready=False")
        result = s.launch("heal", CHAIN, "--dry-run", POD_NAME="laptop").wait()
        assert result.code == 2
        last = result.out.splitlines()[-1]
        assert last.startswith("nothing would be done: no step of this agent helps; grant ESO's identity read access")


def test_s43_a_dry_run_without_a_leader_writes_nothing_at_all() -> None:
    """Nobody runs: the command looks for itself, takes no Lease and writes no ledger."""
    with Scenario() as s:
        world(s)
        assert s.once().code == 0
        s.rotate("prod-kv", "api-key", "value-two")
        s.call(s.sandbox.api.audit.clear)
        result = s.launch("heal", CHAIN, "--dry-run", POD_NAME="laptop").wait()
        assert result.code == 2
        assert result.out.splitlines()[-1] == "would be healed, no gate refuses it now: app-secrets"
        verbs = ("create", "update", "patch", "delete")
        audit = s.call(lambda: list(s.sandbox.api.audit))
        assert [entry.resource for entry in audit if entry.user == "agent" and entry.verb in verbs] == []


def test_s43_without_a_leader_heal_acts_under_the_lease_on_that_chain_alone() -> None:
    """Another chain of the namespace drifts, too, and is left for the agent; the Lease is given back."""
    with Scenario() as s:
        world(s)
        s.rotate("prod-kv", "other", "value-one", created=s.sandbox.clock.now() - 1e5)
        s.apply(b.external_secret("other", NS, {"KEY": "other"}))
        s.external_secret_ready(NS, "other")
        assert s.once().code == 0
        s.rotate("prod-kv", "api-key", "value-two")
        s.rotate("prod-kv", "other", "value-two")
        result = s.launch("heal", CHAIN, POD_NAME="laptop").wait()
        assert result.code == 0
        assert "nobody holds the Lease: done from here" in result.out
        assert s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two")
        assert [write for write in s.writes() if write[1] == "externalsecrets"] == [SYNC]
        lease = s.get("Lease", AGENT_NAMESPACE, "secret-drift-agent")
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == ""


def test_s43_resume_ends_a_halt_and_a_canary_is_tried_again() -> None:
    """The database takes the new password at last, and a person says go on: the canary is tried again, and passes."""
    with Scenario(SLOW_BACKOFF) as s:
        world(s, app={"env": "API_KEY", "backend": "db"})
        s.call(s.sandbox.backends.reject, "db", "value-two")
        leader = s.start_agent()
        s.cycles(leader, 1)
        early = asks(s, "resume", f"{NS}/{APP}").wait()
        assert early.code == 1
        assert "no workload of that name is halted" in early.out

        s.rotate("prod-kv", "api-key", "value-two")
        leader.until(30, workload=APP, reason="canary-failed")
        s.call(s.sandbox.backends.accept, "db", "value-two")
        result = asks(s, "resume", f"{NS}/{APP}").wait()
        assert result.code == 0
        assert "is resumed: what is stale there is recycled again, canary first" in result.out
        s.wait(lambda: s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two"), 60, "all pods fresh")
        assert "resumed by" in leader.err


def test_s43_what_is_no_request_is_answered_as_such_and_stops_nothing() -> None:
    """Odd ConfigMaps under the requests' label: one line of answer each, and the leader goes on."""
    with Scenario() as s:
        world(s)
        leader = s.start_agent()
        s.cycles(leader, 1)
        odd = ["", "{", '{"kind":"delete"}', '{"kind":"heal","namespace":"../","name":"x","at":1}']
        for number, text in enumerate(odd):
            s.apply(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {
                        "name": f"secret-drift-agent-odd-{number}", "namespace": AGENT_NAMESPACE,
                        "labels": {"secret-drift-agent/request": "true"},
                    },
                    "data": {"request": text},
                }
            )  # fmt: skip

        def answer(number: int) -> requests.Answer | None:
            found = s.get("ConfigMap", AGENT_NAMESPACE, f"secret-drift-agent-odd-{number}") or {}
            data = {key: value.encode() for key, value in (found.get("data") or {}).items()}
            return requests.answer_of(Stored(kind="configmaps", key=ObjectKey(AGENT_NAMESPACE, "odd"), data=data))

        for number in range(4):
            s.wait(partial(answer, number), why="an answer")
            found = answer(number)
            assert found is not None
            assert found.state == "failed"
            assert "this is no request" in found.lines[-1]
        s.cycles(leader, 2)


def test_s43_who_may_not_ask_is_told_what_to_grant() -> None:
    """Without the right to create ConfigMaps in the agent's namespace there is one clear line, and exit code 1."""
    with Scenario() as s:
        world(s, interval=DAY)
        leader = s.start_agent(POD_NAME="leader")
        s.cycles(leader, 1)
        s.call(s.sandbox.api.forbid.append, ForbidRule(user="agent", verb="create", resource="configmaps"))
        result = s.launch("heal", CHAIN, POD_NAME="laptop").wait()
        assert result.code == 1
        assert result.err.count("\n") == 1
        assert "forbidden" in result.err.lower() or "403" in result.err


def test_s43_whoever_asks_may_stop_asking_and_the_leader_goes_on() -> None:
    """SIGTERM in a heal that waits for ESO: the question is taken away, and the leader heals all the same."""
    with Scenario() as s:
        world(s, interval=DAY)
        leader = s.start_agent(POD_NAME="leader")
        s.cycles(leader, 1)
        s.call(s.sandbox.eso.pause)
        s.rotate("prod-kv", "api-key", "value-two")
        asked = asks(s, "heal", CHAIN)
        s.wait(lambda: "asked ESO to sync now" in asked.out, why="it is under way")
        result = asked.stop()
        assert result.code == 1
        assert "the leader goes on" in result.err
        assert left(s) == []
        s.call(s.sandbox.eso.resume)
        s.wait(lambda: s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two"), why="healed")


def test_s43_a_heal_without_a_leader_that_is_told_to_end_gives_the_lease_back() -> None:
    """SIGTERM while it waits for ESO: it ends at once, with 1, and what is half done is in the ledger for the next."""
    with Scenario() as s:
        world(s)
        assert s.once().code == 0
        s.call(s.sandbox.eso.pause)
        s.rotate("prod-kv", "api-key", "value-two")
        asked = s.launch("heal", CHAIN, POD_NAME="laptop")
        s.wait(lambda: "asked ESO to sync now" in asked.out, why="it is under way")
        assert asked.stop().code == 1
        lease = s.get("Lease", AGENT_NAMESPACE, "secret-drift-agent")
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == ""
        s.call(s.sandbox.eso.resume)
        assert s.once().code == 0
        assert s.writes().count(SYNC) == 1
