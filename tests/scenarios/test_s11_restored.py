"""S11: a Secret is restored from a backup, with ESO's own label and data-hash: ESO takes it for its own."""

from __future__ import annotations

from typing import Any

from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import findings, healed, refusals, stages
from support.worlds import at_rest, next_second, watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.client import SECRETS, Object

NS = "shop"
KEY = ("app-secrets", "API_KEY")
SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
CHANGED = ("secret", "changed-elsewhere")
MISSING = ("secret", "missing-secret")
SOON = {"changedElsewhereCover": "1s", "changedElsewherePersistence": "300ms"}
VELERO = {"velero.io/backup-name": "nightly", "velero.io/restore-name": "nightly-1"}


def _world(s: Scenario) -> Object:
    """Two pods that hold the second value; the backup of the Secret is from the time of the first."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [],
        NS,
    )
    old = _backup(s)
    s.rotate("prod-kv", "api-key", "value-two", created=s.sandbox.clock.now() - 86400)
    s.advance(3600)
    s.wait(lambda: _value(s) == b"value-two", why="ESO's own refresh")
    s.apply(_backend(2))
    s.ready(NS, "backend")
    s.advance(600)
    return old


def _backend(replicas: int) -> Object:
    return b.deployment("backend", NS, replicas, env={"API_KEY": KEY})


def _backup(s: Scenario) -> Object:
    """The Secret as it is now, as a backup keeps it, and with the marks of a restore."""
    found = s.get("Secret", NS, "app-secrets")
    assert found is not None
    kept = ("name", "namespace", "annotations", "ownerReferences")
    metadata = {name: found["metadata"][name] for name in kept}
    metadata["labels"] = {**found["metadata"]["labels"], **VELERO}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": found["data"], "type": found["type"]}


def _value(s: Scenario) -> bytes | None:
    return (s.secret(NS, "app-secrets") or {}).get("API_KEY")


def _uids(s: Scenario) -> set[str]:
    return {pod["metadata"]["uid"] for pod in s.pods(NS)}


def _healed(s: Scenario, agent: AgentProcess) -> None:
    """The vault's value is back, and the agent has had time to do what it was about to do."""
    s.wait(lambda: _value(s) == b"value-two", why="the Secret is healed")
    s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
    s.cycles(agent)


def test_s11_a_restored_old_secret_is_healed_and_pods_that_never_saw_it_are_never_called_stale() -> None:
    """With the current value a restore is nothing at all; with the old one it costs one force-sync, and no pod."""
    with Scenario() as s:
        old = _world(s)
        s.policy(timing=SOON)
        agent = watching(s)
        pods = _uids(s)

        s.apply(_backup(s))
        s.cycles(agent, 6)
        assert (s.writes(), findings(agent)) == ([], [])

        s.apply(old)
        assert _value(s) == b"value-one", "ESO does not notice"
        changed = agent.until(kind="changed-elsewhere")
        _healed(s, agent)

        assert "by admin" in changed["event"]
        assert s.writes() == [SYNC]
        assert findings(agent) == [CHANGED]
        assert refusals(agent) == []
        assert _uids(s) == pods
        assert s.all_hold(NS, "backend", *KEY, "value-two")


def test_s11_who_restores_it_again_and_again_is_not_fought_for_ever() -> None:
    """Each heal lasts for a moment only: the attempts are counted all the same, and come to an end."""
    with Scenario() as s:
        old = _world(s)
        s.policy(timing={**SOON, "retryBackoffMax": "60s"}, limits={"attempts": 3})
        agent = watching(s)
        for _ in range(3):
            s.apply(old)
            _healed(s, agent)
        s.apply(old)
        told = agent.until(reason="attempts", externalsecret="app-secrets")
        s.cycles(agent, 6)

        assert s.writes() == [SYNC] * 3
        assert "undoes ESO's sync each time" in told["event"]


def test_s11_a_backup_from_before_the_last_heal_is_undone_and_costs_no_pod() -> None:
    """Healed to the second value, then restored with the first: one force-sync more, and those pods stay."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [_backend(2)],
            NS,
        )
        old = _backup(s)
        s.policy(timing=SOON)
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.ready(NS, "backend")
        pods, before = _uids(s), len(s.writes())
        s.pass_time(60)
        s.cycles(agent, 3)  # it has heard what time it is

        s.apply(old)
        agent.until(kind="changed-elsewhere")
        _healed(s, agent)

        assert s.writes()[before:] == [SYNC]
        assert findings(agent)[-1] == CHANGED
        assert refusals(agent) == []
        assert _uids(s) == pods
        assert s.all_hold(NS, "backend", *KEY, "value-two")


def test_s11_what_eso_puts_back_is_no_reason_to_recycle_though_the_watch_tells_of_it_late() -> None:
    """ESO's sync is told, and the Secret that it wrote is not: who holds that value is not stale for a moment."""
    with Scenario() as s:
        old = _world(s)
        s.policy(timing=SOON)
        agent = watching(s)
        pods = _uids(s)

        s.apply(old)
        agent.until(kind="changed-elsewhere")
        s.call(s.sandbox.api.faults.add, FaultRule(effect="half-open", user="agent", verb="watch", resource="secrets"))
        _healed(s, agent)

        assert s.writes() == [SYNC]
        assert findings(agent) == [CHANGED]
        assert refusals(agent) == []
        assert _uids(s) == pods


def test_s11_a_pod_that_started_on_the_restored_value_is_recycled_and_no_other() -> None:
    """A third pod starts while the old value is there, and gets it: stale once the Secret is healed; it alone goes."""
    with Scenario() as s:
        old = _world(s)
        s.policy(timing=SOON)
        agent = watching(s)
        pods = _uids(s)
        s.call(s.sandbox.eso.pause)  # so that there is time enough for a pod to start

        s.apply(old)
        restored = int(s.sandbox.clock.now())
        s.wait(lambda: s.sandbox.clock.now() >= restored + 2, why="a second that is later for sure")
        s.apply(_backend(3))
        s.ready(NS, "backend")
        (late,) = [pod["metadata"]["name"] for pod in s.pods(NS) if pod["metadata"]["uid"] not in pods]
        assert s.holds(NS, late)[KEY] == b"value-one"
        s.wait(lambda: s.writes(), why="the force-sync")
        s.cycles(agent)
        next_second(s)
        assert s.evicted(NS) == []
        s.call(s.sandbox.eso.resume)
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        _healed(s, agent)

        assert s.writes() == [SYNC, ("create", "pods", "eviction", f"{NS}/{late}")]
        assert findings(agent) == [CHANGED, ("container", "stale-pod")]
        assert stages(agent, "backend") == [("canary", 1)]
        assert healed(agent, "backend") == [1]
        assert refusals(agent) == []
        assert pods < _uids(s)
        assert s.all_hold(NS, "backend", *KEY, "value-two")


def test_s11_a_secret_deleted_and_restored_while_eso_is_down_is_missing_until_then_and_changed_if_it_is_old() -> None:
    """Another object under the name, all of it somebody else's: with the current value nothing is to be done for it."""
    with Scenario() as s:
        old = _world(s)
        current = _backup(s)
        s.policy(timing={**SOON, "missingPersistence": "10s"})
        agent = watching(s)
        pods = _uids(s)

        _restored_anew(s, agent, current)
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
        s.cycles(agent, 6)
        assert (s.writes(), findings(agent)) == ([], [MISSING])

        _restored_anew(s, agent, old)
        agent.until(kind="changed-elsewhere")
        _healed(s, agent)

        assert s.writes() == [SYNC]
        assert findings(agent) == [MISSING, MISSING, CHANGED]
        assert refusals(agent) == []
        assert _uids(s) == pods
        assert s.all_hold(NS, "backend", *KEY, "value-two")


def _restored_anew(s: Scenario, agent: AgentProcess, backup: Object) -> None:
    before = len(_missing(agent))
    s.call(s.sandbox.eso.pause)
    s.run(s.sandbox.admin.delete(SECRETS, NS, "app-secrets"))
    s.wait(lambda: len(_missing(agent)) > before, why="the Secret is missing")
    s.apply(backup)
    s.call(s.sandbox.eso.resume)


def _missing(agent: AgentProcess) -> list[Any]:
    return [found for found in findings(agent) if found == MISSING]


def test_s11_no_pod_is_sent_onto_a_value_that_a_silent_watch_has_hidden() -> None:
    """Between a sync and the first eviction the old Secret is restored unseen: it is read once more, and healed first.

    DESIGN asks that nothing disruptive rests on anything older than five seconds; a half-open watch can be older.
    """
    with Scenario() as s:
        old = _world(s)
        s.policy(timing=SOON, recycle={"settle": "4s"})
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-three")
        s.wait(lambda: _value(s) == b"value-three", why="the sync")
        agent.until(kind="stale-pod")
        s.call(s.sandbox.api.faults.add, FaultRule(effect="half-open", user="agent", verb="watch", resource="secrets"))
        s.apply(old)
        s.wait(lambda: healed(agent, "backend"), 40, why="backend healed")

        assert s.writes()[:2] == [SYNC, SYNC]
        assert len(s.evicted(NS)) == 2
        assert s.all_hold(NS, "backend", *KEY, "value-three")
