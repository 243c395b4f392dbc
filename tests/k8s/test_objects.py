"""What is installed is valid, hardened, and no more than its name says."""

from __future__ import annotations

import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from k8s.rendered import HOME, K8S, SHAPES, STEPS, by_name, chart, kustomize, of_kind, pod_of
from support.programs import output

from agent.cli import parser
from agent.cluster.resources import RESOURCES
from agent.cluster.writer import FORCE_SYNC
from agent.ledger import KEY_NAME
from agent.ledger.ledger import PREFIX
from agent.loop import CLUSTER_WIDE, MANAGED, NAMESPACED
from agent.model import RESTARTED_AT
from agent.policy import PolicyFile

VERSION = "1.36"
READS = {"get", "list", "watch"}
OFF_LIMITS = "secret-drift-agent/off-limits"
ALL = ("heal", "restart", "recreate", "monitoring", "workload-identity")


def _seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", STEPS)
def test_every_object_is_one_that_kubernetes_knows(shape: str, step: str) -> None:
    """Every field of every object is in the schemas of the API: none is misspelt, none is of a wrong type."""
    for namespaces in ((), ("payments",)):
        for objects in (kustomize(shape, STEPS[step], namespaces), chart(shape, STEPS[step], namespaces)):
            for each in objects.values():
                kubernetes_validate.validate(each, VERSION, strict=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_pods_have_no_privilege(shape: str) -> None:
    """A number for a user, nothing writable, no capability, calls filtered, no token but where it is used."""
    objects = kustomize(shape, ALL)
    spec = pod_of(objects)["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] >= 10000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    (account,) = of_kind(objects, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert spec["automountServiceAccountToken"] is True
    assert {"requests", "limits"} == set(container["resources"])
    assert _labels(objects) == "restricted"


def _labels(objects: dict[tuple[str, str, str], dict[str, dict[str, dict[str, str]]]]) -> str:
    return objects["Namespace", "", HOME]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]


def test_a_run_ends_before_its_job_is_ended() -> None:
    """The deadline of `once` is sooner than the Job's, by the time that starting and writing the ledger may take; and
    no second run begins beside it or after it."""
    (job,) = of_kind(kustomize("cronjob"), "CronJob")
    (container,) = pod_of(kustomize("cronjob"))["spec"]["containers"]
    arguments = parser().parse_args(container["args"])
    grace = pod_of(kustomize("cronjob"))["spec"]["terminationGracePeriodSeconds"]
    inner = job["spec"]["jobTemplate"]["spec"]
    assert inner["activeDeadlineSeconds"] >= arguments.deadline + grace
    assert inner["backoffLimit"] == 0
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_agent_understands_its_arguments_and_its_policy(shape: str, tmp_path: Path) -> None:
    """What stands in the manifests is what the command takes, and the policy is one that it loads: it only looks."""
    objects = kustomize(shape)
    (container,) = pod_of(objects)["spec"]["containers"]
    arguments = parser().parse_args(container["args"])
    (policy,) = of_kind(objects, "ConfigMap")
    (tmp_path / arguments.policy.name).write_text(policy["data"][arguments.policy.name])
    assert PolicyFile(tmp_path / arguments.policy.name).current.mode == "observe"
    assert str(arguments.policy.parent) in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_one_leads_and_one_stands_by() -> None:
    """Two replicas on two nodes where there are two; a drained node and a rollout leave one."""
    objects = kustomize("deployment")
    (deployment,), (budget,) = of_kind(objects, "Deployment"), of_kind(objects, "PodDisruptionBudget")
    assert deployment["spec"]["replicas"] == 2
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate"}
    (spread,) = pod_of(objects)["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")


def test_the_probes_ask_the_port_that_the_network_policy_opens() -> None:
    """Metrics and probes come in; names, the API server, the vaults and their login are what goes out."""
    objects = kustomize("deployment")
    (container,) = pod_of(objects)["spec"]["containers"]
    (policy,) = of_kind(objects, "NetworkPolicy")
    (port,) = container["ports"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert port["containerPort"] == parser().parse_args(["run"]).port
    assert [p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]] == [port["containerPort"]]
    assert {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]} == {53, 443, 6443}
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize("shape", SHAPES)
def test_observe_writes_nothing_beyond_its_own_namespace(shape: str) -> None:
    """Without a component that heals, every right outside of the agent's namespace is one to read."""
    objects = kustomize(shape)
    roles = of_kind(objects, "ClusterRole", "Role")
    writing = [role for role in roles for rule in role["rules"] if set(rule["verbs"]) - READS]
    assert {(role["kind"], role["metadata"].get("namespace")) for role in writing} == {("Role", HOME)}
    assert "delete" not in {verb for role in roles for rule in role["rules"] for verb in rule["verbs"]}


@pytest.mark.parametrize("namespaces", [(), ("payments",)], ids=["everywhere", "namespaced"])
def test_the_agent_may_list_and_watch_all_that_it_follows(namespaces: tuple[str, ...]) -> None:
    """Each collection that the agent follows is granted; in namespaces of a team's own, those that belong to one."""
    roles = of_kind(kustomize("deployment", (), namespaces), "ClusterRole", "Role")
    granted = {
        (group, resource)
        for role in roles
        if role["metadata"]["name"] != f"{HOME}-ledger"
        for rule in role["rules"]
        if {"list", "watch"} <= set(rule["verbs"])
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    followed = NAMESPACED if namespaces else NAMESPACED + CLUSTER_WIDE
    assert granted == {(RESOURCES[resource].group, resource) for resource in followed}


def test_namespaces_of_a_teams_own_need_no_right_over_the_cluster() -> None:
    """Nothing of what a team installs in its own namespaces belongs to the cluster."""
    for objects in (
        kustomize("deployment", ("heal", "restart", "recreate"), ("payments", "orders")),
        chart("deployment", ("heal", "restart", "recreate"), ("payments", "orders")),
    ):
        assert {namespace for _, namespace, _ in objects} == {HOME, "payments", "orders"}
        bindings = of_kind(objects, "RoleBinding")
        assert {subject["namespace"] for binding in bindings for subject in binding["subjects"]} == {HOME}


def test_each_right_to_write_comes_with_its_bounds() -> None:
    """Every component with a right to write has a policy of admission with a binding that denies; where it is broken,
    nothing passes."""
    for component in ("observe", "heal", "restart", "recreate"):
        objects = by_name(output("kubectl", "kustomize", K8S / "components" / component))
        policies = of_kind(objects, "ValidatingAdmissionPolicy")
        bindings = of_kind(objects, "ValidatingAdmissionPolicyBinding")
        assert policies, component
        assert {policy["metadata"]["name"] for policy in policies} == {b["spec"]["policyName"] for b in bindings}
        assert {policy["spec"]["failurePolicy"] for policy in policies} == {"Fail"}
        assert all(binding["spec"]["validationActions"] == ["Deny"] for binding in bindings)
        assert not any("matchResources" in binding["spec"] for binding in bindings), "no namespace escapes"
        if component != "observe":
            assert all(OFF_LIMITS in yaml.safe_dump(policy) for policy in policies)


def test_what_admission_knows_by_name_is_what_the_agent_writes() -> None:
    """The annotations, the label and the names in the rules are those of the agent's own code."""
    rules = {
        c: (K8S / "components" / c / "admission.yaml").read_text() for c in ("observe", "heal", "restart", "recreate")
    }
    assert f"key == '{FORCE_SYNC}'" in rules["heal"]
    assert f"key == '{RESTARTED_AT}'" in rules["restart"]
    assert f"'{MANAGED.partition('=')[0]}'" in rules["recreate"]
    prefix = re.search(r"startsWith\('(secret-drift-agent-)'\)", rules["observe"])
    assert prefix
    assert KEY_NAME.startswith(prefix[1])
    assert PREFIX.startswith(prefix[1])
    (policy,) = of_kind(kustomize("deployment"), "ConfigMap")
    assert f"!= '{policy['metadata']['name']}'" in rules["observe"]


def test_deleting_is_never_on_by_default() -> None:
    """No overlay, no default of the chart and no other component grants the right to delete."""
    for shape in SHAPES:
        for objects in (kustomize(shape), kustomize(shape, ("heal", "restart")), chart(shape), chart(shape, ("heal",))):
            verbs = {
                v for role in of_kind(objects, "Role", "ClusterRole") for rule in role["rules"] for v in rule["verbs"]
            }
            assert not verbs & {"delete", "deletecollection", "*"}
