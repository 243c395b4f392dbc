"""What is in the way is told in one clear line with what to do, by `doctor`, `once` and `run`; `run` keeps trying."""

from __future__ import annotations

import base64
import datetime
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import findings
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver import ApiServer, AuditEntry, Phase
from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.client import NAMESPACES
from agent.sandbox.world import AGENT_NAMESPACE, Options

NS, KV = "shop", "prod-kv"
NO_ESO = Options(eso=False)


def chain(s: Scenario) -> None:
    """A healthy chain with one Deployment of two pods, long at rest."""
    objects = [b.secret_store(KV, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})]
    pods = b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})
    at_rest(s, {f"{KV}/api-key": "value-one"}, objects, [pods], NS)


def patient(s: Scenario, *arguments: str) -> AgentProcess:
    """`run`, which may not come as far as listening."""
    return s.launch("run", "--host", "127.0.0.1", "--port", "0", *arguments)


def told(process: AgentProcess, *levels: str) -> list[str]:
    """What `run` has said so far at these levels (warnings and errors where none is named)."""
    return [line["event"] for line in process.lines() if line["level"] in (levels or ("warning", "error"))]


def complaints(err: str) -> list[str]:
    """The lines on stderr that are for a person, without notes."""
    own = "secret-drift-agent: "
    lines = [line.removeprefix(own) for line in err.splitlines() if line.startswith(own)]
    return [line for line in lines if not line.startswith("note: ")]


@contextmanager
def running(s: Scenario, *arguments: str, said: str) -> Iterator[AgentProcess]:
    """`run` that has said this in one warning or error, goes on, and ends with 0 when it is told to."""
    process = patient(s, *arguments)
    s.wait(lambda: process.ended or any(said in line for line in told(process)), why=said)
    assert not process.ended, process.err
    yield process
    assert len([line for line in told(process) if said in line]) == 1, process.err
    assert process.stop().code == 0


def kubeconfig(s: Scenario, name: str, *, server: str = "", ca: bytes = b"", token: str = "") -> str:
    """The agent's kubeconfig with something else in it; its path."""
    document, path = yaml.safe_load((s.directory / "kubeconfig").read_text()), s.directory / name
    cluster = document["clusters"][0]["cluster"]
    if server:
        cluster["server"] = server
    if ca:
        cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
    if token:
        document["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ((), "not installed: external-secrets.io is not served"),
        (("v1beta1",), "too old: external-secrets.io is served as v1beta1 only, and v1 is needed"),
    ],
)
def test_without_an_eso_that_can_be_worked_with_there_is_one_line(versions: tuple[str, ...], said: str) -> None:
    """Not a line for each of its kinds: one, which says what to install; and `run` finds it once it is there."""
    with Scenario(NO_ESO) as s:
        s.call(s.sandbox.api.served.only, "external-secrets.io", *versions)
        s.policy()
        assert s.launch("doctor").wait().code == 2

        once = s.once()

        assert once.code == 1
        (line,) = complaints(once.err)
        assert line.startswith(f"External Secrets Operator: no-eso: {said}. Install ESO 0.16.2 or later")
        assert once.out == "nothing found, but not everything could be looked at: see the errors\n"
        with running(s, said=said) as process:
            assert len(told(process)) == 1


def test_kinds_of_eso_that_may_not_be_read_are_one_line() -> None:
    """All that one missing right keeps from us is named together, with what to do."""
    with Scenario(NO_ESO) as s:
        s.call(s.sandbox.api.forbid.append, ForbidRule(user="agent", group="external-secrets.io"))
        s.policy()
        doctor = s.launch("doctor").wait()
        assert doctor.code == 2
        assert "may not list, watch externalsecrets, secretstores" in doctor.out

        once = s.once()

        kinds = "clustersecretstores, externalsecrets, pushsecrets, secretstores in all namespaces: forbidden: 403"
        (line,) = complaints(once.err)
        assert (once.code, line.startswith(kinds)) == (1, True)
        assert "Grant this identity the right" in line
        with running(s, said="in all namespaces: forbidden: 403 Forbidden") as process:
            assert len(told(process)) == 1


def test_a_server_that_does_not_answer_is_waited_for_by_run_alone() -> None:
    """`doctor` and `once` end with 1 and a line; `run` says it once, and works as soon as there is an answer."""
    with Scenario() as s:
        chain(s)
        s.policy()
        port = s.call(lambda: s.sandbox.api.url.rpartition(":")[2])
        path = kubeconfig(s, "dead", server="https://127.0.0.1:1")
        said = "the API server: 127.0.0.1:1 refuses the connection. Check the network, or choose another --context."
        for command in ("doctor", "once"):
            result = s.launch(command, "--kubeconfig", path).wait()
            assert (result.code, result.out, complaints(result.err)) == (1, "", [said])

        with running(s, "--kubeconfig", path, said=said) as process:
            document = Path(path).read_text()
            Path(path).write_text(document.replace("127.0.0.1:1\n", f"127.0.0.1:{port}\n"))
            s.wait(lambda: "listening on" in process.err, why="it has come to its work")


def test_a_kubeconfig_that_is_not_there_is_no_matter_of_patience() -> None:
    """Nothing but a person changes that: each command ends with 1, `run` too."""
    with Scenario() as s:
        s.policy()
        gone = str(s.directory / "gone")
        given = ("--kubeconfig", gone)
        for process in (s.launch("doctor", *given), s.launch("once", *given), patient(s, *given)):
            result = process.wait()
            assert (result.code, result.out) == (1, "")
            (line,) = complaints(result.err)
            assert gone in line
            assert "Name another file by --kubeconfig" in line


def test_a_token_that_is_not_accepted_is_told_as_that() -> None:
    """The advice is to renew it, not to look at the network or the rights."""
    with Scenario() as s:
        s.policy()
        path = kubeconfig(s, "expired", token="expired")
        said = "the API server: 401 Unauthorized: Unauthorized. Renew the credentials of the kubeconfig"
        for command in ("doctor", "once"):
            result = s.launch(command, "--kubeconfig", path).wait()
            (line,) = complaints(result.err)
            assert (result.code, result.out, line.startswith(said)) == (1, "", True)
        with running(s, "--kubeconfig", path, said=said):
            pass


def test_a_certificate_that_has_expired_or_is_a_strangers_is_told_as_that() -> None:
    """What OpenSSL finds wrong with it, and what to do, which is not the same for the two."""
    ca, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    then = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
    ca.issue_cert("127.0.0.1", not_before=then - datetime.timedelta(days=90), not_after=then).configure_cert(context)
    with Scenario() as s:
        s.policy()
        old = ApiServer(s.sandbox.clock, tls=context)
        s.run(old.start())
        expired = kubeconfig(s, "expired", server=old.url, ca=ca.cert_pem.bytes())
        stranger = kubeconfig(s, "stranger", ca=ca.cert_pem.bytes())
        said = "certificate verify failed: certificate has expired. Renew the certificate of the API server"
        for command in ("doctor", "once"):
            result = s.launch(command, "--kubeconfig", expired).wait()
            (line,) = complaints(result.err)
            assert (result.code, result.out, said in line) == (1, "", True)
            assert re.match(r"the API server: TLS to 127\.0\.0\.1:\d+ fails: ", line)
            (line,) = complaints(s.launch(command, "--kubeconfig", stranger).wait().err)
            assert "unable to get local issuer certificate. Check certificate-authority and server" in line
        with running(s, "--kubeconfig", expired, said=said):
            pass
        s.run(old.stop())


def deletes_the_namespace(s: Scenario, verb: str, resource: str) -> None:
    """The next request of the agent of this kind meets a namespace that is being deleted."""

    async def hook(phase: Phase, entry: AuditEntry) -> None:
        if phase == "before" and (entry.user, entry.verb, entry.resource) == ("agent", verb, resource):
            s.sandbox.api.on_request = None
            await s.sandbox.admin.delete(NAMESPACES, None, NS)

    s.call(setattr, s.sandbox.api, "on_request", hook)


@pytest.mark.parametrize(("verb", "resource"), [("patch", "externalsecrets"), ("create", "pods"), ("list", "pods")])
def test_a_namespace_that_vanishes_in_the_middle_of_a_heal_is_let_go(verb: str, resource: str) -> None:
    """Nothing is left to be healed there: `once` ends with 0 and no error, and says that it is gone if asked for it."""
    with Scenario() as s:
        chain(s)
        s.policy()
        assert s.once().code == 0
        s.rotate(KV, "api-key", "value-two")
        deletes_the_namespace(s, verb, resource)

        once = s.once("--deadline", "30s", "-n", NS)

        assert once.code == 0
        assert "no drift, nothing suspect" in once.out or "0 drifts, 0 suspects, 0 unknown" in once.out
        assert complaints(once.err) == []
        assert "Traceback" not in once.err
        s.wait(lambda: s.get("Namespace", "", NS) is None, why="it is gone")
        assert "note: namespace shop does not exist (any more)" in s.once("-n", NS).err


def test_run_outlives_a_namespace_and_heals_it_when_it_is_back() -> None:
    """Deleted in the middle of a force-sync and made anew: the chain is followed as a new one."""
    with Scenario() as s:
        chain(s)
        s.policy()
        agent = watching(s)
        deletes_the_namespace(s, "patch", "externalsecrets")
        s.rotate(KV, "api-key", "value-two")
        s.wait(lambda: s.get("Namespace", "", NS) is None, why="it is gone")
        s.cycles(agent)
        assert told(agent, "error") == []

        s.apply(b.secret_store(KV, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}))
        s.external_secret_ready(NS, "app-secrets")
        s.rotate(KV, "api-key", "value-three")

        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-three"}, why="synced by the agent")
        assert ("vault", "stale") in findings(agent)
        assert agent.stop().code == 0


def quota(number: str) -> dict[str, Any]:
    """A ResourceQuota that leaves the agent's namespace so many Secrets."""
    meta = {"name": "tight", "namespace": AGENT_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"count/secrets": number}}}


@pytest.mark.parametrize(("number", "what"), [("0", "secret-drift-agent-key"), ("1", "ledger-history-0")])
def test_a_quota_that_forbids_the_ledgers_objects_is_named_with_what_to_do(number: str, what: str) -> None:
    """`once` ends with 1 and heals nothing that it could not remember; `run` tells it once, and goes on afterwards."""
    with Scenario() as s:
        chain(s)
        s.policy()
        s.apply(quota(number))
        said = "Raise ResourceQuota tight in namespace secret-drift-agent: the ledger needs a few"
        s.rotate(KV, "api-key", "value-two")

        once = s.once("--deadline", "3s")

        assert once.code == 1
        (line,) = complaints(once.err)
        assert what in line
        assert "exceeded quota: tight, requested: count/secrets=1" in line
        assert said in line
        assert s.writes() == []
        with running(s, said="ResourceQuota tight in namespace secret-drift-agent") as process:
            s.apply(quota("100"))
            s.wait(lambda: s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two"), why="healed after all")
            assert len(told(process, "error")) <= 1


def test_a_namespace_of_its_own_that_is_not_there_is_told_with_the_command_that_makes_it() -> None:
    """`once` ends with 1; `run` begins when somebody has made it."""
    with Scenario() as s:
        s.policy()
        said = 'namespaces "home" not found. Create it (kubectl create namespace home)'

        once = s.once("--agent-namespace", "home")

        assert (once.code, said in once.err) == (1, True)
        with running(s, "--agent-namespace", "home", said=said) as process:
            s.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "home"}})
            s.wait(lambda: "listening on" in process.err, why="it has come to its work")
