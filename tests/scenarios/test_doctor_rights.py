"""`doctor` names each right in the cluster that the policy in force needs, and no other."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from support.doctoring import ALL_BOUNDS, Told, bound, doctor, in_force
from support.scenario import Scenario
from support.told import findings, healed, sample
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.world import AGENT_NAMESPACE

NS, KV = "shop", "prod-kv"
Right = tuple[str, str, str]
READING = [
    "read namespaces", "read chains", "read stores", "read Secrets", "read workloads", "read Events", "read admission",
]  # fmt: skip
HOME = ["ledger", "lease"]
LOG: dict[str, Any] = {"canary": {"log": {"success": "connected"}}}


def forbid(s: Scenario, *rules: ForbidRule) -> None:
    """From now on the agent may not do this."""
    for rule in rules:
        s.call(s.sandbox.api.forbid.append, rule)


def names(told: Told) -> list[str]:
    """What rights are asked for."""
    return [each["name"] for each in told.lines("rights") if each["permissions"] and each["state"] != "note"]


def test_an_identity_that_may_all_it_needs_hears_ok_on_every_line() -> None:
    """Everything is there: each purpose has its line, nothing is to be done, and the exit code is 0."""
    with Scenario() as s:
        s.vault(KV)
        s.apply(b.secret_store(KV, NS), *in_force())
        s.policy(sync={"steps": ["force-sync", "recreate"]}, recycle=LOG)

        told = doctor(s)

        assert (told.code, told.err) == (0, "")
        steps = ["force-sync", "recreate", "recycle", "read budgets", "restart", "read logs", "tell Events"]
        assert names(told) == [*READING, *HOME, *steps]
        assert told.of_state("error", "warning") == []
        assert told.line("rights", "admission")["said"] == f"in force: {', '.join(sorted(ALL_BOUNDS))}"


@pytest.mark.parametrize(
    ("rule", "where", "state", "said", "command"),
    [
        (
            ForbidRule(user="agent", verb="watch", resource="pods"), "read workloads", "error", "may not watch pods",
            "kubectl create clusterrole secret-drift-agent-read-workloads --verb=watch --resource=pods",
        ),
        (
            ForbidRule(user="agent", verb="update", resource="secrets", namespace=AGENT_NAMESPACE), "ledger", "error",
            "may not update secrets in secret-drift-agent",
            "kubectl create role secret-drift-agent-ledger -n secret-drift-agent --verb=update --resource=secrets",
        ),
        (
            ForbidRule(user="agent", verb="create", resource="leases"), "lease", "error",
            "may not create leases in secret-drift-agent; the agent cannot know whether another one is at work",
            "kubectl create role secret-drift-agent-lease -n secret-drift-agent --verb=create "
            "--resource=leases.coordination.k8s.io",
        ),
        (
            ForbidRule(user="agent", verb="patch", resource="externalsecrets"), "force-sync", "error",
            "may not patch externalsecrets",
            "kubectl create clusterrole secret-drift-agent-force-sync --verb=patch "
            "--resource=externalsecrets.external-secrets.io",
        ),
        (
            ForbidRule(user="agent", verb="delete", resource="secrets"), "recreate", "error", "may not delete secrets",
            "kubectl create clusterrole secret-drift-agent-recreate --verb=delete --resource=secrets",
        ),
        (
            ForbidRule(user="agent", resource="pods/eviction"), "recycle", "error", "may not create pods/eviction",
            "kubectl create clusterrole secret-drift-agent-recycle --verb=create --resource=pods/eviction",
        ),
        (
            ForbidRule(user="agent", resource="pods/log"), "read logs", "error", "may not get pods/log",
            "kubectl create clusterrole secret-drift-agent-read-logs --verb=get --resource=pods/log",
        ),
        (
            ForbidRule(user="agent", verb="patch", resource="deployments"), "restart", "warning",
            "may not patch deployments; a Deployment of a single replica keeps its old value: nothing restarts it",
            "kubectl create clusterrole secret-drift-agent-restart --verb=patch --resource=deployments.apps",
        ),
        (
            ForbidRule(user="agent", verb="create", resource="events"), "tell Events", "warning",
            "may not create events; what is done and refused is not in kubectl describe",
            "kubectl create clusterrole secret-drift-agent-tell-events --verb=create --resource=events",
        ),
    ],
)  # fmt: skip
def test_a_missing_right_is_named_with_the_command_that_grants_exactly_it(
    rule: ForbidRule, where: str, state: str, said: str, command: str
) -> None:
    """The line says what cannot be done, the first command makes the role, the second gives it to us."""
    with Scenario() as s:
        forbid(s, rule)
        s.policy(sync={"steps": ["force-sync", "recreate"]}, recycle=LOG)

        told = doctor(s)

        line = told.line("rights", where)
        assert (line["state"], line["said"], line["commands"][0]) == (state, said, command)
        role, binding = (shlex.split(each) for each in line["commands"])
        assert binding[:4] == ["kubectl", "create", f"{role[2]}binding", role[3]]
        assert binding[-2:] == [f"--{role[2]}={role[3]}", "--user=agent"]
        assert told.code == (2 if state == "error" else 0)
        assert [each for each in line["permissions"] if not each["allowed"]] != []
        assert told.of_state("error") == ([("rights", where)] if state == "error" else [])


def test_mode_observe_needs_nothing_but_to_read_and_to_keep_its_ledger() -> None:
    """What could do harm and is not needed is a note: the identity should not have it."""
    with Scenario() as s:
        s.policy(mode="observe", recycle=LOG)

        told = doctor(s)

        assert names(told) == [*READING, *HOME]
        idle = told.line("rights", "not needed")
        assert idle["state"] == "note"
        assert idle["said"].startswith("may delete secrets, pods; create pods/eviction; patch externalsecrets,")
        assert told.line("rights", "admission")["state"] == "note"
        assert told.code == 0


def test_an_identity_without_dangerous_rights_hears_nothing_of_them() -> None:
    """The note is there only for what is there."""
    with Scenario() as s:
        s.policy(mode="observe")
        kinds = ("externalsecrets", "deployments", "statefulsets", "daemonsets")
        forbid(s, *(ForbidRule(user="agent", verb="patch", resource=kind) for kind in kinds))
        forbid(s, *(ForbidRule(user="agent", verb="delete", resource=kind) for kind in ("pods", "secrets")))
        forbid(s, ForbidRule(user="agent", resource="pods/eviction"))

        assert doctor(s).lines("rights", "not needed") == []


def test_a_right_in_the_namespaces_of_a_rule_is_enough() -> None:
    """Where a Role in each namespace gives what a rule needs, none in all is asked for; where one lacks, it is told."""
    with Scenario() as s:
        s.apply(b.secret_store(KV, "shop-a"), b.secret_store(KV, "shop-b"))
        s.policy(namespaces=["shop-*"], recycle=None)
        forbid(s, ForbidRule(user="agent", verb="patch", resource="externalsecrets", namespace="kube-system"))
        assert doctor(s).line("rights", "force-sync")["state"] == "ok"

        forbid(s, ForbidRule(user="agent", verb="patch", resource="externalsecrets", namespace="shop-b"))
        line = doctor(s).line("rights", "force-sync")

        assert line["said"] == "may not patch externalsecrets in shop-b"
        assert line["commands"][0] == (
            "kubectl create role secret-drift-agent-force-sync -n shop-b --verb=patch "
            "--resource=externalsecrets.external-secrets.io"
        )
        asked = {(each["namespace"], each["allowed"]) for each in line["permissions"]}
        assert asked == {(None, False), ("shop-a", True), ("shop-b", False)}


def test_a_rule_for_few_namespaces_is_granted_in_them_alone() -> None:
    """Where nothing is granted yet, a Role in each namespace of the rule is proposed, not a ClusterRole."""
    with Scenario() as s:
        s.apply(b.secret_store(KV, NS))
        s.policy(namespaces=[NS], recycle=None)
        forbid(s, ForbidRule(user="agent", verb="patch", resource="externalsecrets"))

        commands = doctor(s).line("rights", "force-sync")["commands"]

        assert [command.split()[:6] for command in commands] == [
            ["kubectl", "create", kind, "secret-drift-agent-force-sync", "-n", NS] for kind in ("role", "rolebinding")
        ]


def test_where_namespaces_may_not_be_listed_only_the_steps_of_the_policy_are_asked_about() -> None:
    """Which namespaces a rule matches is not known then: its right is asked for in all of them."""
    with Scenario() as s:
        s.policy(recycle=None)
        forbid(s, ForbidRule(user="agent", verb="list", resource="namespaces"))

        told = doctor(s)

        assert names(told) == [*READING, *HOME, "force-sync", "tell Events"]
        assert told.of_state("error") == [("rights", "read namespaces")]


def test_with_namespaces_given_only_they_are_asked_about() -> None:
    """`-n shop` needs rights in shop and, of what is in no namespace, in the cluster."""
    with Scenario() as s:
        s.vault(KV)
        s.apply(b.secret_store(KV, NS))
        s.policy()
        forbid(s, ForbidRule(user="agent", resource="secrets", namespace="kube-system"))
        forbid(s, ForbidRule(user="agent", resource="pods", namespace="kube-system"))

        told = doctor(s, "-n", NS)

        assert told.of_state("error") == []
        for name in ("read chains", "read Secrets", "read workloads", "force-sync", "recycle"):
            assert {each["namespace"] for each in told.line("rights", name)["permissions"]} == {NS}, name
        assert doctor(s).of_state("error") == [("rights", "read Secrets"), ("rights", "read workloads")]


def needed(told: Told) -> set[Right]:
    """All rights that the lines are about."""
    lines = [each for each in told.lines("rights") if each["state"] != "note"]
    return {(each["verb"], each["group"], each["resource"]) for line in lines for each in line["permissions"]}


def asked(s: Scenario) -> set[Right]:
    """What the agent that heals has asked of the API server."""
    audit = [e for e in s.call(lambda: list(s.sandbox.api.audit)) if e.user == "agent" and e.resource]
    return {
        (e.verb, e.group, f"{e.resource}/{e.subresource}" if e.subresource else e.resource)
        for e in audit
        if not e.resource.endswith("reviews")
    }


def test_what_doctor_asks_for_is_what_healing_uses() -> None:
    """A whole heal of every kind asks the API server for nothing that `doctor` did not name, and uses every write."""
    with Scenario() as s:
        key: dict[str, Any] = {"API_KEY": ("app-secrets", "API_KEY")}
        app = {"env": "API_KEY", "backend": "api", "success": ["connected"]}
        claim = {"volumes": {"data": {"persistentVolumeClaim": {"claimName": "data"}}}}
        at_rest(
            s,
            {f"{KV}/api-key": "value-one", f"{KV}/frozen": "value-one"},
            [
                b.secret_store(KV, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}),
                b.external_secret("frozen", NS, {"KEY": "frozen"}, target={"immutable": True}),
            ],
            [
                b.deployment("backend", NS, 3, env=key, app=app),
                b.deployment("single", NS, 1, env=key, app=app, **claim),
            ],
            NS,
        )  # fmt: skip
        s.policy(sync={"steps": ["force-sync", "recreate"]}, recycle=LOG)
        volume = {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": NS},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        }  # fmt: skip
        s.apply(b.external_secret("misspelt", NS, {"KEY": "no-such-secret"}), volume)
        agent = watching(s)
        s.rotate(KV, "api-key", "value-two")
        s.rotate(KV, "frozen", "value-two")
        s.wait(lambda: healed(agent, "backend") and healed(agent, "single"), why="both workloads healed")
        s.wait(lambda: s.secret(NS, "frozen") == {"KEY": b"value-two"}, why="the frozen Secret is made anew")
        s.wait(lambda: ("vault", "sync-failed") in findings(agent), why="the failing chain is told")
        assert agent.stop().code == 0
        used = asked(s)

        wanted = needed(doctor(s))

        assert used - wanted == set()
        idle = {right for right in wanted - used if right[0] not in ("get", "list", "watch")}
        leases = {(verb, "coordination.k8s.io", "leases") for verb in ("create", "update")}
        assert idle - leases - {("patch", "", "events")} == set()


def test_without_admission_policies_the_width_of_its_rights_is_a_warning() -> None:
    """Absent, unbound or unreadable: a warning with what to do, and no error; the exit code stays 0."""
    with Scenario() as s:
        s.policy()
        assert "no ValidatingAdmissionPolicy secret-drift-agent-*" in doctor(s).line("rights", "admission")["said"]

        s.apply(*bound("secret-drift-agent-heal-pods", binding=False), *bound("somebody-elses"))
        unbound = doctor(s).line("rights", "admission")
        assert unbound["said"] == "not in force, since no binding that denies names them: secret-drift-agent-heal-pods"

        s.apply(*in_force(but="secret-drift-agent-restart"))
        one = doctor(s).line("rights", "admission")
        assert one["state"] == "warning"
        assert one["said"].startswith("missing: secret-drift-agent-restart: ")
        forbid(s, ForbidRule(user="agent", verb="patch", resource="deployments"))
        assert doctor(s).line("rights", "admission")["state"] == "ok", "what cannot be done needs no bound"

        forbid(s, ForbidRule(user="agent", group="admissionregistration.k8s.io"))
        told = doctor(s)
        line = told.line("rights", "admission")
        assert (line["state"], told.code) == ("warning", 0)
        assert "may not be read, which the agent can do without" in line["said"]


def test_the_metric_says_bounded_only_where_each_right_is() -> None:
    """One policy that is missing, for a right that is there, and the writes are not bounded."""
    with Scenario() as s:
        s.policy()
        for bounds, expected in (([], 0), (in_force(but="secret-drift-agent-restart"), 0), (in_force(), 1)):
            s.apply(*bounds)
            agent = watching(s)
            assert sample(s.metrics(agent), "secret_drift_writes_bounded") == expected
            assert agent.stop().code == 0


def test_bounds_that_were_installed_before_the_policy_was_told_to_heal_are_seen_at_once() -> None:
    """As the chapter Install goes on: rights and bounds are applied beside a running agent, and then `mode: heal`."""
    with Scenario() as s:
        s.policy(mode="observe")
        agent = watching(s)
        assert sample(s.metrics(agent), "secret_drift_writes_bounded") == 0
        s.apply(*in_force())
        s.policy()
        s.wait(lambda: sample(s.metrics(agent), "secret_drift_writes_bounded") == 1, why="the metric says bounded")


@pytest.mark.parametrize("missing", ["secret-drift-agent-restart", ""])
def test_rights_that_are_given_in_single_namespaces_want_their_bounds_too(missing: str) -> None:
    """Roles in place of a ClusterRole, in a namespace that the policy heals."""
    with Scenario() as s:
        s.apply(b.namespace(NS), b.namespace("elsewhere"), *in_force(but=missing))
        forbid(s, ForbidRule(user="agent", verb="patch", resource="deployments", namespace="elsewhere"))
        s.policy(namespaces=(NS,))
        agent = watching(s)
        assert sample(s.metrics(agent), "secret_drift_writes_bounded") == int(not missing)
