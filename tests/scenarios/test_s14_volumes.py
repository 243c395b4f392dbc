"""S14: consumers that mount the Secret in place of taking it into their environment."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import healed, refusals
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.client import Object

NS = "shop"
PROJECTED: Object = {"projected": {"sources": [{"secret": {"name": "app-secrets"}}]}}


def _world(s: Scenario) -> dict[str, set[str]]:
    """Three Deployments: a whole volume, a projected one, and one file by subPath. Their pods' uids."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [
            b.deployment("plain", NS, 2, mounts={"/etc/keys": "keys"}, volumes={"keys": "app-secrets"}),
            b.deployment("projected", NS, 2, mounts={"/etc/keys": "keys"}, volumes={"keys": PROJECTED}),
            b.deployment("subpath", NS, 2, mounts={"/etc/key": ("keys", "API_KEY")}, volumes={"keys": "app-secrets"}),
        ],
        NS,
    )
    return {name: _uids(s, name) for name in ("plain", "projected", "subpath")}


def _uids(s: Scenario, name: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in s.pods(NS, name)}


def _all_new(s: Scenario) -> bool:
    return all(
        s.all_hold(NS, name, "app-secrets", "API_KEY", "value-two") for name in ("plain", "projected", "subpath")
    )


def test_s14_a_subpath_is_stale_and_plain_volumes_follow_by_themselves() -> None:
    """With `volumes: ignore` only the pods with a subPath go; kubelet brings the new content to the others."""
    with Scenario() as s:
        pods = _world(s)
        s.policy(recycle={"volumes": "ignore"})
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "subpath"), why="subpath healed")
        s.wait(lambda: _all_new(s), why="kubelet updates the volumes")
        s.cycles(agent)

        assert {name: _uids(s, name) for name in ("plain", "projected")} == {
            name: pods[name] for name in ("plain", "projected")
        }
        assert not _uids(s, "subpath") & pods["subpath"]
        assert s.writes()[0] == ("patch", "externalsecrets", "", f"{NS}/app-secrets")
        assert len(s.writes()) == 3
        assert all(name.startswith("subpath-") for name in s.evicted(NS))
        assert refusals(agent) == []


def test_s14_where_the_policy_says_so_volume_consumers_are_recycled_too() -> None:
    """With `volumes: recycle`, for programs that read a file only once, the pods of all three go."""
    with Scenario() as s:
        pods = _world(s)
        s.policy(recycle={"volumes": "recycle"})
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        for name in pods:
            s.wait(lambda name=name: healed(agent, name), why=f"{name} healed")  # type: ignore[misc]
        s.cycles(agent)

        assert _all_new(s)
        assert all(not _uids(s, name) & uids for name, uids in pods.items())
        assert len(s.writes()) == 1 + 6
        assert [healed(agent, name) for name in pods] == [[2], [2], [2]]
        assert refusals(agent) == [("recycle", "campaign")] * 2  # until the first one's canary has passed
