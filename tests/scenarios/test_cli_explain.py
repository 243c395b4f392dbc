"""`explain` as a command: the chain from the vault to each container, against the kubelets' record; nothing written."""

from __future__ import annotations

from typing import Any

from support.scenario import Scenario
from support.worlds import at_rest

from agent.ledger.keys import key_id_of
from agent.sandbox import builders as b
from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.client import PODS

NS, KV = "klinematrix-test", "klinematrix-test-kv"
CHAIN = f"{NS}/app-secrets"
WRITES = ("create", "update", "patch", "delete", "deletecollection")
CLOSED = [{"days": ["Mon"], "from": "00:00", "to": "00:01", "timeZone": "UTC"}]
"""Windows that are as good as never open."""


def world(s: Scenario) -> None:
    """Two keys of one vault; a Deployment that uses one by env, one that mounts all as files; a tight budget."""
    at_rest(
        s,
        {f"{KV}/mongodb-connection-string-test": "mongo-secret-one", f"{KV}/langfuse-public-key": "langfuse-value-one"},
        [
            b.secret_store(KV, NS),
            b.external_secret(
                "app-secrets",
                NS,
                {"MONGODB_URI": "mongodb-connection-string-test", "LANGFUSE_PUBLIC_KEY": "langfuse-public-key"},
            ),
        ],
        [
            b.deployment("backend", NS, 2, env={"MONGODB_URI": ("app-secrets", "MONGODB_URI")}),
            b.deployment("files", NS, 1, volumes={"v": "app-secrets"}, mounts={"/etc/secrets": "v"}),
        ],
        NS,
    )
    s.apply(b.budget("backend", NS, minAvailable=2))


def all_writes(s: Scenario) -> list[tuple[str, str, str]]:
    """Every request of the agent that changes anything, anywhere, its own namespace included."""
    return [(e.verb, e.resource, e.name) for e in s.requests() if e.verb in WRITES]


def told(s: Scenario, *arguments: str) -> dict[str, Any]:
    """The document of one run."""
    document: dict[str, Any] = s.explain(CHAIN, "-o", "json", *arguments).json()
    return document


def containers(document: dict[str, Any], workload: str) -> list[dict[str, Any]]:
    """All containers of a workload."""
    pods = [pod for one in document["workloads"] if one["key"]["name"] == workload for pod in one["pods"]]
    return [container for pod in pods for container in pod["containers"]]


def version(document: dict[str, Any], number: int) -> str:
    """When the n-th version of the MongoDB secret was created, newest first."""
    source = next(one for one in document["sources"] if one["name"] == "mongodb-connection-string-test")
    found: list[str] = [one["created"] for one in (source["newest"], *source["former"])]
    return found[number]


def runs(container: dict[str, Any]) -> list[str]:
    """The versions that a container may run, by when they were created."""
    found = [one for one in container["runs"] if one["source"].endswith("/mongodb-connection-string-test")]
    assert len(found) == 1, container
    [source] = found
    assert not source["older"], container
    return [one["created"] for one in source["versions"]]


def gates(step: dict[str, Any]) -> list[str]:
    """The reasons of all gates that refuse."""
    return [refusal["reason"] for refusal in step["refusals"]]


def test_explain_follows_a_rotation_from_the_vault_to_each_container() -> None:
    """At each stage it says what is fetched, which keys are fresh, what each container runs, and what is next."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=[KV], mode="observe")
        assert s.once().code == 0
        written = all_writes(s)

        calm = told(s)
        assert s.explain(CHAIN).code == 0
        assert calm["links"] == {"vault": "fresh", "secret": "fresh", "container": "assumed"}
        assert [(key["name"], key["state"]) for key in calm["secret"]["keys"]] == [
            ("LANGFUSE_PUBLIC_KEY", "fresh"), ("MONGODB_URI", "fresh"),
        ]  # fmt: skip
        assert [runs(one) for one in containers(calm, "backend")] == [[version(calm, 0)]] * 2
        assert [one["state"] for one in containers(calm, "files")] == ["not-judged"]
        assert calm["next"]["step"] == "none"
        vault = s.vault(KV)
        newest = {source["name"]: source["newest"]["id"] for source in calm["sources"]}
        assert newest == {name: s.call(vault.versions, name)[0].version for name in newest}

        s.rotate(KV, "mongodb-connection-string-test", "mongo-secret-two")
        behind = told(s)
        assert s.explain(CHAIN).code == 2
        assert behind["links"] == {"vault": "stale", "secret": "fresh", "container": "awaiting-upstream"}
        assert [key["state"] for key in behind["secret"]["keys"]] == ["fresh", "stale"]
        assert [one["fetched"] for one in behind["sources"]] == [False, True]
        assert [runs(one) for one in containers(behind, "backend")] == [[version(behind, 1)]] * 2
        assert (behind["next"]["step"], gates(behind["next"])) == ("force-sync", ["observe-mode"])
        assert all_writes(s) == written

        s.policy(vaults=[KV], recycle={"windows": CLOSED})
        assert s.once("--deadline", "10s").code == 2
        s.advance(2)  # settled, whatever another process makes of whole seconds
        written = all_writes(s)
        stale = told(s)
        assert stale["links"] == {"vault": "fresh", "secret": "fresh", "container": "stale"}
        mongodb = stale["secret"]["keys"][1]
        assert mongodb["state"] == "fresh"
        assert mongodb["changedTo"] is not None
        assert stale["secret"]["keys"][0]["changedTo"] is None
        assert [one["state"] for one in containers(stale, "backend")] == ["stale", "stale"]
        assert [runs(one) for one in containers(stale, "backend")] == [[version(stale, 1)]] * 2
        backend = stale["workloads"][0]
        assert backend["next"]["step"] == "recycle"
        assert gates(backend["next"]) == ["outside-window", "pod-disruption-budget"]
        assert backend["next"]["refusals"][0]["until"] is not None
        assert all_writes(s) == written

        pods = s.pods(NS, "backend")
        s.run(s.sandbox.admin.delete(PODS, NS, pods[0]["metadata"]["name"]))
        s.ready(NS, "backend")
        mixed = told(s)
        held = {r.pod: dict(r.source)["app-secrets", "MONGODB_URI"] for r in s.running(NS, "backend")}
        by_pod = {
            pod["name"]: (one["state"], runs(one))
            for workload in mixed["workloads"] if workload["key"]["name"] == "backend"
            for pod in workload["pods"] if not pod["note"]
            for one in pod["containers"]
        }  # fmt: skip
        want = {
            b"mongo-secret-one": ("stale", [version(mixed, 1)]),
            b"mongo-secret-two": ("fresh", [version(mixed, 0)]),
        }
        assert by_pod == {pod: want[value] for pod, value in held.items()}
        assert sorted(v or b"" for v in held.values()) == [b"mongo-secret-one", b"mongo-secret-two"]


def test_explain_shows_no_value_and_no_fingerprint() -> None:
    """Neither form of the answer holds a part of a value, or of what stands for it in the ledger."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=[KV])
        assert s.once().code == 0
        key = s.secret("secret-drift-agent", "secret-drift-agent-key")
        assert key is not None
        for result in (s.explain(CHAIN), s.explain(CHAIN, "-o", "json")):
            said = result.out + result.err
            assert "mongo-secret" not in said
            assert "langfuse-value" not in said
            assert key_id_of(key["key"]) + ":" not in said


def test_explain_names_the_cause_of_a_failed_sync_and_what_to_do() -> None:
    """The last error of ESO stands with its cause, and with the remedy."""
    with Scenario() as s:
        world(s)
        s.apply(b.external_secret("typo", NS, {"KEY": "no-such-secret"}))
        s.wait(lambda: _failing(s, "typo"), why="typo fails")
        s.policy(vaults=[KV])

        result = s.explain(f"{NS}/typo")

        assert result.code == 2
        assert "├─ ExternalSecret typo: Ready=False (SecretSyncedError) since" in result.out
        assert "last error (not-found): klinematrix-test-kv/no-such-secret is not in the vault" in result.out
        assert "what to do: recover or create the secret in the vault, or correct remoteRef.key" in result.out
        assert "Secret typo: is not there" in result.out
        # Another chain's drift is no part of the answer, or of the exit code.
        assert s.explain(CHAIN).code == 0


def test_explain_says_what_its_answers_do_not_rest_on() -> None:
    """A first look, and a key that may not be read, are told on stderr and in the answer; nothing is created."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=[KV])
        first = s.explain(CHAIN)
        assert first.code == 0
        assert "note: the installation's key" in first.err
        assert "note: the installation's key" in first.out
        assert all_writes(s) == []

        assert s.once().code == 0
        written = all_writes(s)
        assert s.explain(CHAIN).err == ""
        s.call(
            s.sandbox.api.forbid.append, ForbidRule(user="agent", resource="secrets", namespace="secret-drift-agent")
        )
        s.call(s.sandbox.api.forbid.append, ForbidRule(user="agent", resource="poddisruptionbudgets"))
        denied = s.explain(CHAIN)
        assert denied.code == 0
        assert "may not be read" in denied.err
        assert "PodDisruptionBudgets could not be read" in denied.err
        assert all_writes(s) == written


def test_explain_of_what_is_not_there_says_where_to_look() -> None:
    """A wrong name is an error in a line, a malformed one a wrong use."""
    with Scenario() as s:
        world(s)
        missing = s.explain(f"{NS}/nothing")
        assert (missing.code, missing.out) == (1, "")
        assert missing.err.splitlines()[-1] == (
            "secret-drift-agent: there is no such object: ExternalSecret klinematrix-test/nothing."
            " See kubectl -n klinematrix-test get externalsecrets."
        )
        assert s.explain("nothing").code == 64
        assert s.explain(CHAIN, "-n", NS).code == 0
        elsewhere = s.explain(CHAIN, "-n", "elsewhere")
        assert (elsewhere.code, elsewhere.out) == (64, "")
        assert "leave out -n" in elsewhere.err


def test_explain_reads_one_namespace_only() -> None:
    """It needs no right to list Secrets or pods anywhere else."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=[KV])
        s.explain(CHAIN)
        asked = s.call(lambda: [(e.resource, e.namespace) for e in s.sandbox.api.audit if e.user == "agent"])
        elsewhere = {resource for resource, namespace in asked if namespace not in (NS, "secret-drift-agent")}
        assert elsewhere <= {"namespaces", "nodes", "clustersecretstores", ""}


def _failing(s: Scenario, name: str) -> bool:
    status = (s.get("ExternalSecret", NS, name) or {}).get("status") or {}
    return any(c["type"] == "Ready" and c["status"] == "False" for c in status.get("conditions") or [])
