"""S41: the installation's key or the ledger is lost, replaced, or of another format: nothing is restarted for that."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import findings, healed, refusals, sample, stages
from support.worlds import at_rest, next_second, watching

from agent.sandbox import builders as b
from agent.sandbox.client import CONFIG_MAPS, SECRETS, Object, Resource
from agent.sandbox.world import AGENT_NAMESPACE as HOME

NS = "shop"
USED = ("app-secrets", "API_KEY")
FORCE_SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
KEY = "secret-drift-agent-key"
Harm = Callable[[Scenario], None]


def _world(s: Scenario, **deployment: Any) -> None:
    """At rest, and looked at once by an agent that found nothing."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [b.deployment("backend", NS, 2, env={"API_KEY": USED}, **deployment)],
        NS,
    )
    s.policy()
    assert s.once().code == 0


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _write(s: Scenario, resource: Resource, name: str, data: dict[str, str]) -> None:
    s.run(s.sandbox.admin.merge_patch(resource, HOME, name, {"data": data}))


def _delete(s: Scenario, resource: Resource, name: str) -> None:
    s.run(s.sandbox.admin.delete(resource, HOME, name))


def _parts(s: Scenario) -> list[tuple[Resource, Object]]:
    """The objects of the ledger."""
    found = [(SECRETS, obj) for obj in s.objects("Secret", HOME) if obj["metadata"]["name"] != KEY]
    return found + [(CONFIG_MAPS, obj) for obj in s.objects("ConfigMap", HOME)]


def _key_lost(s: Scenario) -> None:
    _delete(s, SECRETS, KEY)


def _key_replaced(s: Scenario) -> None:
    """Other bytes in its place; whatever else the Secret holds stays."""
    _write(s, SECRETS, KEY, {"key": _text(b"the key of another installation!")})


def _key_cut_off(s: Scenario) -> None:
    _write(s, SECRETS, KEY, {"key": _text(b"half a key")})


def _secrets_deleted(s: Scenario) -> None:
    """Key and histories, as ``kubectl delete secrets --all`` does it; what is in ConfigMaps stays."""
    for obj in s.objects("Secret", HOME):
        _delete(s, SECRETS, obj["metadata"]["name"])


def _of_format(number: int) -> Harm:
    """As another version of the agent writes it."""

    def harm(s: Scenario) -> None:
        for resource, obj in _parts(s):
            if "entries" not in obj["data"]:
                continue
            raw = obj["data"]["entries"]
            body = json.loads(zlib.decompress(base64.b64decode(raw)) if resource is SECRETS else raw)
            said = json.dumps({**body, "format": number})
            entries = _text(zlib.compress(said.encode())) if resource is SECRETS else said
            _write(s, resource, obj["metadata"]["name"], {"entries": entries})

    return harm


def _garbage(s: Scenario) -> None:
    for resource, obj in _parts(s):
        what = _text(b"\xff\xfe\x00") if resource is SECRETS else "{\x00 no ledger"
        _write(s, resource, obj["metadata"]["name"], dict.fromkeys(obj["data"], what))


HARMS: dict[str, tuple[Harm, str]] = {
    "key-lost": (_key_lost, "the installation has a new key"),
    "key-replaced": (_key_replaced, "of another key"),
    "key-cut-off": (_key_cut_off, "the installation has a new key"),
    "secrets-deleted": (_secrets_deleted, "the installation has a new key"),
    "older-format": (_of_format(0), "of format 0, this version reads 1"),
    "newer-format": (_of_format(2), "of format 2, this version reads 1"),
    "garbage": (_garbage, "not what this agent writes"),
}
"""What happens to the ledger, and the words that tell of it."""


def _said(agent: AgentProcess) -> list[str]:
    """What an agent had to say of its ledger."""
    return [line["event"] for line in agent.lines(subject="the ledger")]


@pytest.mark.parametrize("name", HARMS)
def test_s41_without_its_memory_it_restarts_nothing_says_so_once_and_works_on(name: str) -> None:
    """A version came while it was down: with the ledger both pods were stale for sure, now they may be. The next heals.

    ``scan`` says so too, each time, since it writes nothing.
    """
    harm, words = HARMS[name]
    with Scenario() as s:
        _world(s)
        pods = {pod["metadata"]["name"] for pod in s.pods(NS)}
        s.rotate("prod-kv", "api-key", "value-two")
        s.advance(3700)
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}, why="ESO's own refresh")
        s.advance(60)
        harm(s)

        scanned = s.scan()
        first = s.launch("once")
        result = first.wait()

        assert (s.writes(), refusals(first)) == ([], [])
        assert findings(first) == [("container", "suspect")]
        assert s.all_hold(NS, "backend", *USED, "value-one")
        (said,) = _said(first)
        assert words in said
        assert "nothing is restarted for it" in said
        for command in (result, scanned):
            assert command.code == 0
            assert command.out.endswith("\n0 drifts, 1 suspect, 0 unknown, 0 notes\n")
        assert scanned.err.startswith("secret-drift-agent: note: the ")
        assert scanned.err.count("\n") == 1
        assert "Traceback" not in result.err

        s.rotate("prod-kv", "api-key", "value-three")
        next_second(s)
        second = s.launch("once")
        assert second.wait().code == 0

        assert _said(second) == []
        assert s.all_hold(NS, "backend", *USED, "value-three")
        assert s.writes() == [FORCE_SYNC, *(("create", "pods", "eviction", f"{NS}/{pod}") for pod in s.evicted(NS))]
        assert set(s.evicted(NS)) == pods
        assert s.writes(refused=True) == []
        assert findings(second) == [("vault", "stale"), ("container", "stale-pod")]
        assert stages(second, "backend") == [("canary", 1), ("batch", 1)]
        assert (healed(second, "backend"), refusals(second)) == ([2], [])


def test_s41_a_halt_outlives_the_key() -> None:
    """Who had halted stays so: its page does not resolve because the histories are unknown, and no other pod goes."""
    halted = {"namespace": NS, "workload": "backend", "reason": "canary-failed"}
    with Scenario() as s:
        _world(s, app={"env": "API_KEY", "backend": "db"})
        s.call(s.sandbox.backends.reject, "db", "bad")
        s.rotate("prod-kv", "api-key", "bad")
        before = s.launch("once", "--deadline", "5s")
        before.wait()
        assert before.lines(workload="backend", reason="canary-failed")
        done = s.writes()
        assert [where for _, _, sub, where in done if sub] == [f"{NS}/{pod}" for pod in s.evicted(NS)]
        assert len(done) == 2
        _key_lost(s)

        agent = watching(s)
        s.cycles(agent)

        assert len(_said(agent)) == 1
        assert s.writes() == done
        assert sample(s.metrics(agent), "secret_drift_halted", **halted) == 1
        assert agent.stop().code == 0
