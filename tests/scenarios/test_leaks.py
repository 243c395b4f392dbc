"""No value, no fingerprint and no token is ever said: marked values everywhere, and a search through all that was."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import yaml
from support.leaks import Marked
from support.marks import BAD, FIT, NEW, NS, TOLD, WORD, leaks, rotate, world
from support.processes import ROOT
from support.said import Listener, fingerprints
from support.scenario import Scenario
from support.told import healed
from support.worlds import watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.keyvault import Fault
from agent.sandbox.keyvault.faults import FaultRule as VaultRule


def say(s: Scenario, line: str) -> None:
    """From now on every container has said this in its log."""

    def lines(*_: Any) -> list[tuple[float, str]]:
        return [(s.sandbox.clock.now(), "starting"), (s.sandbox.clock.now(), line)]

    s.call(setattr, s.sandbox.api, "log_provider", lines)


EVERYWHERE = (
    "stderr of agent run", "log of agent run", "metrics", "the URL of patch externalsecrets shop/app-secrets",
    "the body of create events shop/", "the body of update secrets secret-drift-agent/", "metadata of ExternalSecret",
    "Event shop/", "ConfigMap secret-drift-agent/", "Secret secret-drift-agent/", "a request to a vault",
)  # fmt: skip
"""Where an agent that heals says something."""

HEAL_ALL: dict[str, Any] = {
    "sync": {"steps": ["force-sync", "recreate"]},
    "recycle": {
        "gap": "allow",
        "canary": {"log": {"success": "connected with .+", "failure": "auth failed for .+", "within": "10s"}},
    },
}


def test_a_rotation_with_all_heals_and_a_halt_says_no_value() -> None:
    """Synced, recreated, recycled and halted at debug level: what was fetched, compared and logged stays unsaid.

    And no value is asked for, though the agent's identity may have it.
    """
    with Scenario() as s:
        world(s)
        s.call(s.sandbox.vaults.grant, "agent", list=True, get=True)
        s.policy(**HEAL_ALL)
        listener, agent = Listener(s), watching(s)
        listener.scrape(agent)

        say(s, f"connected with {NEW.password} and {NEW.api_key}")
        rotate(s, NEW)
        s.wait(lambda: all(healed(agent, name) for name in ("backend", "signer", "cold")), why="all healed")
        listener.scrape(agent)
        assert s.secret(NS, "app-secrets") == NEW.data()["app-secrets"]
        assert s.secret(NS, "frozen") == NEW.data()["frozen"]

        say(s, f"auth failed for {BAD.password} in {BAD.api_key}")
        s.call(s.sandbox.backends.reject, "db", BAD.password)
        rotate(s, BAD, "db-password", "api-key")
        agent.until(workload="backend", reason="canary-failed")
        s.cycles(agent, 1)
        listener.scrape(agent)
        assert agent.stop().code == 0

        again = watching(s)
        listener.scrape(again)
        again.kill()

        assert {"ForceSynced", "SecretRecreated", "CanaryFailed"} <= {event["reason"] for event in s.events(NS)}
        assert s.asked_of_vaults() == {"list", "versions"}
        assert leaks(listener) == set()

        # Nothing was found because nothing is there: what is there is found.
        held = list(fingerprints(s))[-1]
        listener.other += [held.value.decode()[3:12], s.sandbox.tokens["agent"][5:14]]
        names = (b"app-secrets", b"db-password", b"force-sync")
        heard = leaks(listener, more=tuple(Marked("a name that all may say", name) for name in names))
        for where in EVERYWHERE:
            assert any(each.startswith(where) for each in heard), f"nothing was heard from {where}"
        assert {f"elsewhere: {what}, as it is" for what in (held.name, "the token for the API server")} <= heard


def vault_faults(s: Scenario, identity: str) -> list[VaultRule]:
    """Every way in which a vault or the login host can repeat a value."""
    faults = [
        *(Fault(status=403, inner=inner, message=TOLD) for inner in ("ForbiddenByRbac", "ForbiddenByFirewall", WORD)),
        *(Fault(status=status, message=TOLD) for status in (401, 500, 503)),
        Fault(kind="garbage", message=TOLD),
    ]
    return [s.call(s.sandbox.vaults.fault, fault, identity=identity, times=1) for fault in faults]


def api_fault(s: Scenario, **rule: Any) -> FaultRule:
    """The API server answers the agent's next request of this kind with an error that quotes values."""
    made = FaultRule(effect="status", user="agent", message=TOLD, remaining=1, **rule)
    return s.call(s.sandbox.api.faults.add, made)


def test_an_error_that_quotes_a_value_is_not_repeated() -> None:
    """Vault, API server and webhooks may say in their errors what they like: it ends with the agent."""
    with Scenario() as s:
        world(s)
        s.policy(**HEAL_ALL)
        listener, agent = Listener(s), watching(s)

        struck = vault_faults(s, "agent")
        s.wait(lambda: not any(rule.remaining for rule in struck), why="all faults of the vault met")
        rules = [
            api_fault(s, code=422, verb="patch", resource="externalsecrets"),
            api_fault(s, code=500, verb="update", resource="secrets"),
            api_fault(s, code=403, verb="update", resource="configmaps"),
            api_fault(s, code=403, verb="get", resource="secrets", name="app-secrets"),
            api_fault(s, code=500, verb="create", resource="pods", subresource="eviction", retry_after=1),
            api_fault(s, code=400, verb="create", resource="events"),
            api_fault(s, code=500, verb="watch", resource="pods"),
        ]
        s.call(s.sandbox.api.faults.add, FaultRule(effect="break-watches", user="agent", resource="pods"))
        say(s, "connected with nobody")
        rotate(s, NEW)
        s.wait(lambda: not any(rule.remaining for rule in rules), why="all faults of the API server met")
        listener.scrape(agent)
        assert agent.stop().code == 0
        assert leaks(listener, more=FIT) == set()


def hostile_objects(s: Scenario) -> set[str]:
    """Objects in which somebody has put a value where it does not belong; the annotations that hold one."""
    es: dict[str, Any] = {name: b.external_secret(name, NS, {"K": "api-key"}) for name in ("odd", "odder", "oddest")}
    es["odd"]["spec"]["refreshInterval"] = BAD.password
    es["odder"]["spec"]["data"][0]["remoteRef"] = {"key": f"secret/{BAD.api_key}", "version": 5}
    es["oddest"]["spec"]["data"][0]["remoteRef"]["key"] = f"{BAD.api_key}/{BAD.password}"
    es["oddest"]["metadata"]["annotations"] = {"secret-drift-agent/mode": BAD.api_key, "note": BAD.pem}
    store = b.secret_store(f"https://{BAD.user}:{BAD.password}@{BAD.frozen}.example", NS, name="elsewhere")
    s.seed(*es.values(), store, b.external_secret("away", NS, {"K": "api-key"}, store="elsewhere"))
    about = s.get("ExternalSecret", NS, "login")["metadata"]
    forged = {
        "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "UpdateFailed",
        "message": f"ForbiddenByRbac {TOLD}", "metadata": {"name": "forged", "namespace": NS},
        "involvedObject": {"kind": "ExternalSecret", "namespace": NS, "name": "login", "uid": about["uid"]},
        "lastTimestamp": s.sandbox.clock.rfc3339(), "count": 1,
    }  # fmt: skip
    s.seed(forged)
    return {BAD.api_key, BAD.pem}


def malformed_secrets(s: Scenario) -> bytes:
    """A list of all the Secrets that there are, and of some that nobody can read."""
    meta = {"namespace": NS, "uid": "u", "resourceVersion": "7", "creationTimestamp": s.sandbox.clock.rfc3339()}
    odd: list[dict[str, Any]] = [
        {"metadata": {**meta, "name": "odd-1"}, "data": {"K": BAD.api_key}},
        {"metadata": {**meta, "name": "odd-2"}, "data": {"K": [BAD.password]}},
        {"metadata": {**meta, "name": "odd-3"}, "data": BAD.json_password},
        {"metadata": {**meta, "name": "odd-4", "uid": 5}, "data": {BAD.api_key: BAD.password}},
        {"metadata": {**meta, "name": "odd-5", "creationTimestamp": BAD.password}},
        {"metadata": {**meta, "name": "odd-6", "managedFields": [{"time": BAD.user, "fieldsV1": BAD.pem}]}},
        {"metadata": {**meta, "name": "odd-7"}, "immutable": BAD.password, "type": {BAD.user: 1}},
        {"metadata": BAD.pem},
    ]
    items = [*s.objects("Secret", NS), *odd]
    return json.dumps({"metadata": {"resourceVersion": "9"}, "items": items}, ensure_ascii=False).encode()


def test_commands_say_no_value_in_a_world_where_others_do() -> None:
    """A table, JSON, a tree, on a terminal or not: what tenants, ESO and ESO's Events quote is classified and left."""
    with Scenario() as s:
        world(s)
        s.policy()
        listener = Listener(s)
        assert s.once().code == 0
        rotate(s, NEW)
        s.call(s.sandbox.vaults.fault, Fault(status=403, inner="ForbiddenByRbac", message=TOLD), identity="eso")
        s.advance(3700)
        s.wait(lambda: failures(s) == {"app-secrets", "login", "frozen"}, why="ESO fails and says why")
        s.call(s.sandbox.eso.pause)
        planted = hostile_objects(s)
        odd = FaultRule(effect="answer", code=200, verb="list", resource="secrets", namespace=NS, user="agent")
        odd.body = malformed_secrets(s)
        s.call(s.sandbox.api.faults.add, odd)

        assert s.once("--deadline", "2s", "--log-level", "debug", "-n", NS).code == 2
        table, document = s.scan("-n", NS), s.scan("-o", "json", "-n", NS)
        tree, told = s.explain(f"{NS}/login"), s.explain(f"{NS}/app-secrets", "-o", "json")
        listener.other.append(on_a_terminal(s, "explain", f"{NS}/login", "--log-format", "console"))

        assert {result.code for result in (table, document, tree, told)} == {2}
        assert "access-denied" in table.out
        assert "spec.refreshInterval" in table.err
        assert all(f"shop/odd-{number}" in table.err for number in range(1, 8))
        assert "last error (access-denied)" in tree.out
        assert "last error (access-denied)" in listener.other[0]
        assert leaks(listener, planted=planted, more=FIT) == set()


def test_doctor_says_no_value_whoever_it_asks() -> None:
    """Vaults, the API server, webhooks and objects that quote values in every answer that `doctor` looks at."""
    with Scenario() as s:
        world(s)
        s.call(s.sandbox.vaults.grant, "agent", list=True, get=True)
        s.policy(**HEAL_ALL)
        listener = Listener(s)
        assert s.once().code == 0
        planted = hostile_objects(s)

        results = [s.launch("doctor").wait(), s.launch("doctor", "-o", "json", "--log-level", "debug").wait()]
        for rule in vault_faults(s, "agent"):
            results.append(s.launch("doctor").wait())
            assert rule.remaining == 0
        for fault in (Fault(status=401, message=TOLD), Fault(kind="garbage", message=f"expires_in {TOLD}")):
            s.call(s.sandbox.vaults.fault, fault, operation="token", identity="agent", times=1)
            results.append(s.launch("doctor").wait())
        for where in DOCTOR_ASKS:
            for code in (400, 403, 422, 500):
                struck = api_fault(s, code=code, **where)
                results.append(s.launch("doctor", "-o", "json").wait())
                assert not struck.remaining, where
        for body in ODD_ANSWERS:
            answer = FaultRule(effect="answer", code=200, user="agent", body=body)
            s.call(s.sandbox.api.faults.add, answer)
            results.append(s.launch("doctor").wait())
            s.call(s.sandbox.api.faults.remove, answer)

        assert {result.code for result in results} <= {0, 1, 2}
        assert not [result.err for result in results if "error of its own" in result.err or "Traceback" in result.err]
        assert s.asked_of_vaults() == {"list"}
        assert leaks(listener, planted=planted, more=FIT) == set()


DOCTOR_ASKS: tuple[dict[str, Any], ...] = (
    {"verb": "create", "resource": "selfsubjectreviews"},
    {"verb": "create", "resource": "selfsubjectaccessreviews"},
    {"verb": "list", "resource": "validatingadmissionpolicies"},
    {"verb": "list", "resource": "secretstores"},
    {"verb": "get", "resource": "secrets"},
    {"verb": "patch", "resource": "externalsecrets"},
    {"verb": "create", "resource": "secrets"},
)
"""Requests that only `doctor` makes, or that it makes, too."""


def failures(s: Scenario) -> set[str]:
    """The ExternalSecrets of which ESO says in an Event why they fail."""
    return {event["involvedObject"]["name"] for event in s.objects("Event", NS) if event["reason"] == "UpdateFailed"}


def on_a_terminal(s: Scenario, *arguments: str) -> str:
    """What the command shows on a terminal."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "wb") as terminal, command(s, *arguments, stdout=terminal, stderr=terminal):
        terminal.close()
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody is at its other end any more
            while piece := os.read(ours, 65536):
                shown += piece
    os.close(ours)
    return shown.decode(errors="replace")


def command(s: Scenario, *arguments: str, stdout: IO[bytes], stderr: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """The command, with outputs that are no files."""
    return subprocess.Popen(
        [sys.executable, "-m", "agent", *arguments, "--policy", str(s.directory / "policy.yaml")],
        stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=ROOT,
        env={**s.environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def kubeconfig(s: Scenario, name: str, *, server: str = "", token: str = "") -> str:
    """The agent's kubeconfig with another server, or with the token in a file that holds this; its path."""
    document, path = yaml.safe_load((s.directory / "kubeconfig").read_text()), s.directory / name
    if server:
        document["clusters"][0]["cluster"]["server"] = server
    if token:
        file = path.with_suffix(".token")
        file.write_text(token)
        document["users"][0]["user"] = {"tokenFile": str(file)}
    path.write_text(yaml.safe_dump(document))
    return str(path)


def wrong_policies(s: Scenario) -> list[str]:
    """Files that are no policy and hold what is nobody's business."""
    secret = b.secret("app-secrets", NS, {"PASSWORD": BAD.password, "API_KEY": BAD.api_key})
    texts = {
        "token": s.sandbox.tokens["agent"],
        "variables": f"PASSWORD={BAD.password}\nUSER={BAD.user}",
        "list": f"- {BAD.user}\n",
        "secret": yaml.safe_dump({**secret, BAD.user: BAD.frozen, "mode": BAD.user}),
        "broken": f"PASSWORD: {BAD.user}\n  - [{BAD.frozen}\n{BAD.pem}",
    }
    for name, text in texts.items():
        (s.directory / name).write_text(text)
    return [str(s.directory / name) for name in texts]


def test_what_is_out_of_reach_or_wrongly_set_gives_nothing_away() -> None:
    """Servers that are gone, tokens that are not accepted, files that are no policy: told without a piece of them."""
    with Scenario() as s:
        world(s)
        s.policy()
        listener, token = Listener(s), s.sandbox.tokens["agent"]
        nowhere = kubeconfig(s, "nowhere", server="https://127.0.0.1:1")
        line_end = kubeconfig(s, "line-end", token=f"{token}\n")
        torn = kubeconfig(s, "torn", token=f"{token[:12]}\n{token[12:]}")

        good = s.launch("scan", KUBECONFIG=line_end)
        failing = [
            *(s.launch("scan", KUBECONFIG=path) for path in (nowhere, torn)),
            *(s.launch("scan", "--policy", path) for path in wrong_policies(s)),
            s.launch("scan", SECRET_DRIFT_AGENT_VAULT_CONNECT_TO="127.0.0.1:1"),
        ]
        looking = [s.launch("doctor", KUBECONFIG=path) for path in (nowhere, torn)]
        judging = [s.launch("doctor", "--policy", path) for path in wrong_policies(s)]
        assert good.wait().code == 0
        assert [process.wait().code for process in failing] == [1] * len(failing)
        assert [process.wait().code for process in looking] == [1] * len(looking)
        assert [process.wait().code for process in judging] == [2] * len(judging)
        failing += [*looking, *judging]
        assert not [process.arguments for process in failing if "error of its own" in process.err]
        for fault in (Fault(status=401, message=TOLD), Fault(kind="garbage", message=f"expires_in {TOLD}")):
            s.call(s.sandbox.vaults.fault, fault, operation="token", identity="agent", times=1)
            result = s.scan()
            assert (result.code, "no token could be had" in result.err) == (1, True)
        assert leaks(listener, more=FIT) == set()


ODD_ANSWERS = (
    TOLD.encode(),
    json.dumps(
        {"kind": "Status", "reason": WORD, "message": TOLD, "details": {"causes": [{"message": TOLD}]}}
    ).encode(),
    b'{"kind": "Status", "message": "' + BAD.user.encode() + b'\xff"}',
    b'{"metadata": {"continue": "next\xff"}, "items": ["' + BAD.user.encode() + b'"]}',
    b'{"metadata": {"resourceVersion": "' + BAD.user.encode() + b'"}, "items": ' + b"[" * 100_000 + b"}",
    json.dumps({"metadata": {"resourceVersion": BAD.user, "continue": {BAD.frozen: 1}}, "items": [BAD.user]}).encode(),
)
"""What no API server answers; in place of a page, an object or an error."""


def test_an_agent_that_is_ended_or_fails_says_no_value_with_its_last_words() -> None:
    """Odd answers, SIGABRT with the interpreter's own dump, a disk that is full: the last words are of code alone."""
    with Scenario() as s:
        world(s)
        s.policy()
        listener = Listener(s)
        assert s.once().code == 0
        rotate(s, NEW)

        aborted = s.start_agent(fresh=True, PYTHONFAULTHANDLER="1")
        s.cycles(aborted, 1)
        aborted.signal(signal.SIGABRT)
        # The dump goes through the frames of threads that run on meanwhile, and may itself fail on one of them.
        assert aborted.wait().code in (-signal.SIGABRT, -signal.SIGSEGV)
        assert "Fatal Python error: Aborted" in aborted.err

        lists = ("externalsecrets", "secrets", "pods", "deployments", "secretstores", "replicasets")
        for code in (200, 422):
            for resource, body in zip(lists, ODD_ANSWERS[:: 1 if code == 200 else -1], strict=True):
                odd = FaultRule(effect="answer", user="agent", verb="list", resource=resource, namespace=NS, code=code)
                odd.body, odd.remaining = body, 1
                s.call(s.sandbox.api.faults.add, odd)
            result = s.scan("-n", NS)
            assert (result.code, "error of its own" in result.err) == (1, False)
            assert not s.call(lambda: s.sandbox.api.faults.rules)

        with Path("/dev/full").open("wb") as full:
            process = command(s, "scan", "-o", "json", stdout=full, stderr=subprocess.PIPE)
        failed = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 1
        assert "ended by an error of its own" in failed
        assert "OSError: No space left on device" in failed
        listener.other.append(failed)
        assert leaks(listener, more=FIT) == set()
