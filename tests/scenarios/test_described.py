"""What an owner reads at three in the morning: the real `kubectl describe`, after each kind of story."""

from __future__ import annotations

import os
import re
import subprocess
from typing import NamedTuple

import pytest
from support.programs import program
from support.scenario import Scenario
from support.told import healed
from support.worlds import at_rest, next_second, watching

from agent.sandbox import builders as b
from agent.sandbox.files import kubeconfig

NS, KV = "shop", "prod-kv"
EVENT = re.compile(r" +(Normal|Warning) +(\w+) +(\S+)(?: \(x(\d+) over \S+\))? +(\S+) {2,}(.*)")


class Line(NamedTuple):
    """One line below `Events:`."""

    type: str
    reason: str
    times: int
    said: str


def described(s: Scenario, kind: str, name: str) -> list[Line]:
    """What the agent has to say of an object, in kubectl's order."""
    config = s.directory / "kubectl"
    config.write_text(kubeconfig(s.sandbox, "admin"))
    ended = subprocess.run(
        [program("kubectl"), "-n", NS, "describe", kind, name], env={**os.environ, "KUBECONFIG": str(config)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert re.search(rf"^Name: +{name}$", ended.stdout, re.MULTILINE)
    below = ended.stdout.partition("\nEvents:")[2]
    lines = [match.groups() for line in below.splitlines() if (match := EVENT.fullmatch(line))]
    found = [
        Line(type_, reason, int(count or 1), said)
        for type_, reason, _, count, source, said in lines
        if source == "secret-drift-agent"
    ]
    there = [
        e["reason"]
        for e in s.events(NS)
        if (e["involvedObject"]["kind"].lower(), e["involvedObject"]["name"]) == (kind, name)
    ]
    assert sorted(line.reason for line in found) == sorted(there), ended.stdout
    return found


def story(lines: list[Line]) -> list[tuple[str, str, int]]:
    """Type, reason and count of each."""
    return [(line.type, line.reason, line.times) for line in lines]


def shop(s: Scenario, replicas: int = 3) -> None:
    """One chain, one Deployment that uses it, at rest."""
    chain = [b.secret_store(KV, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})]
    app = {"env": "API_KEY", "backend": "db", "success": "connected", "failure": "authentication failed"}
    pods = b.deployment("backend", NS, replicas, env={"API_KEY": ("app-secrets", "API_KEY")}, app={"app": app})
    at_rest(s, {f"{KV}/api-key": "value-one"}, chain, [pods], NS)


def test_a_rotation_reads_as_a_story_on_both_objects() -> None:
    """First the cause, then what was asked and done, then what came of it; pods of a batch are counted, not listed."""
    with Scenario() as s:
        shop(s)
        s.policy()
        agent = watching(s)
        s.rotate(KV, "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.wait(lambda: s.events(NS, "Propagated"), why="the last Event is written")
        agent.stop()

        secret, workload = described(s, "externalsecret", "app-secrets"), described(s, "deployment", "backend")

        assert story(secret) == [
            ("Warning", "DriftDetected", 1), ("Normal", "ForceSynced", 1), ("Normal", "SyncAcknowledged", 1),
            ("Normal", "DriftGone", 1), ("Warning", "DriftDetected", 1), ("Normal", "DriftGone", 1),
            ("Normal", "Propagated", 1),
        ]  # fmt: skip
        assert secret[0].said.startswith("ESO has not fetched the newest version: prod-kv/api-key has the version of ")
        assert re.fullmatch(r"over after [\d.]+ s: ESO has fetched the newest version", secret[3].said)
        assert secret[4].said.startswith("Deployment backend: containers run an old value: backend-")
        assert secret[5].said.endswith(": no container is known to run an old value any more")
        assert secret[6].said.startswith(
            "the newest version of prod-kv/api-key has come to every container of Deployment "
        )
        assert sorted(story(workload)) == sorted(
            [
                ("Warning", "DriftDetected", 1), ("Normal", "PodEvicted", 1), ("Normal", "CanaryPassed", 1),
                ("Normal", "PodEvicted", 2), ("Normal", "BatchPassed", 2), ("Normal", "DriftGone", 1),
                ("Normal", "Recycled", 1),
            ]
        )  # fmt: skip
        reasons = [line.reason for line in workload]
        assert reasons[:3] == ["DriftDetected", "PodEvicted", "CanaryPassed"]
        assert reasons.index("BatchPassed") > reasons.index("PodEvicted", 3)
        assert reasons[-1] == "Recycled"
        assert workload[0].said.startswith("ExternalSecret app-secrets: containers run an old value: backend-")
        assert workload[-1].said.startswith("3 pods recycled, the last is ready ")


def test_a_halt_and_its_end_are_told_on_both_objects_with_what_to_do() -> None:
    """Who set the bad value reads on the ExternalSecret, who owns the pods on the Deployment: until it is over."""
    with Scenario() as s:
        shop(s)
        s.policy(recycle={"canary": {"log": {"success": "connected", "failure": "authentication failed"}}})
        agent = watching(s)
        s.call(s.sandbox.backends.reject, "db", "value-bad")
        next_second(s)
        s.rotate(KV, "api-key", "value-bad")
        s.wait(lambda: s.events(NS, "CanaryFailed"), 60, why="the canary has failed")

        for lines in (described(s, "externalsecret", "app-secrets"), described(s, "deployment", "backend")):
            (failed,) = [line for line in lines if line.reason == "CanaryFailed"]
            assert lines[-1] == failed
            assert (failed.type, failed.times) == ("Warning", 1)
            assert "recycling halted, canary-failed: pod backend-" in failed.said
            assert "What to do: set the previous value again as a new version" in failed.said

        next_second(s)
        s.rotate(KV, "api-key", "value-one")
        s.wait(lambda: s.events(NS, "HaltEnded"), 60, why="the halt is over")
        agent.stop()
        for lines in (described(s, "externalsecret", "app-secrets"), described(s, "deployment", "backend")):
            reasons = [line.reason for line in lines]
            assert reasons.index("HaltEnded") > reasons.index("CanaryFailed")
            (ended,) = [line for line in lines if line.reason == "HaltEnded"]
            assert ended.said.endswith("the halt (canary-failed) is over: a source version or the template has changed")


def test_a_denied_vault_is_one_warning_with_the_remedy_and_its_end_is_told() -> None:
    """The cause and what to grant to whom; once granted, the same page says that it is over."""
    with Scenario() as s:
        shop(s, 1)
        s.rotate(KV, "other", "value")
        s.policy()
        agent = watching(s)
        s.call(s.sandbox.vaults.grant, "eso", list=False, get=False)
        s.apply(b.external_secret("denied", NS, {"KEY": "other"}))
        s.wait(lambda: [e for e in s.events(NS) if "access-denied" in e["message"]], 60, why="it is told")
        (told,) = [line for line in described(s, "externalsecret", "denied") if "cannot sync" in line.said]
        assert told[:3] == ("Warning", "DriftDetected", 1)
        assert told.said.startswith("ESO cannot sync (access-denied): ")
        assert "What to do: grant ESO's identity read access to secrets (role Key Vault Secrets User)" in told.said

        s.call(s.sandbox.vaults.grant, "eso", list=True, get=True)
        again = b.external_secret("denied", NS, {"KEY": "other"}, refreshInterval="2h")
        s.apply(again)  # whoever has mended it does not wait for ESO's own next try
        s.external_secret_ready(NS, "denied", 60)
        s.wait(
            lambda: [e for e in s.events(NS, "DriftGone") if "ESO syncs again" in e["message"]], 60, why="it is over"
        )
        agent.stop()
        reasons = [line.reason for line in described(s, "externalsecret", "denied")]
        assert reasons.index("DriftGone") > reasons.index("DriftDetected")


@pytest.mark.parametrize(
    "name", ["a\x1b[2J\x1b[31mred", "a\r\nNormal  Healed  1s  secret-drift-agent  all is well", "\u202egnol"]
)
def test_a_hostile_name_is_shown_and_not_obeyed(name: str) -> None:
    """A vault secret's name that would clear the screen, forge a line or turn the text round is one escaped word."""
    with Scenario() as s:
        shop(s, 1)
        s.policy()
        agent = watching(s)
        s.apply(b.external_secret("evil", NS, {"KEY": name}))
        s.wait(lambda: [e for e in s.events(NS) if e["involvedObject"]["name"] == "evil"], 60, why="it is told")
        s.cycles(agent)
        agent.stop()
        lines = described(s, "externalsecret", "evil")
        assert lines
        assert all(line.said.isprintable() for line in lines)
        assert "Healed" not in [line.reason for line in lines]
