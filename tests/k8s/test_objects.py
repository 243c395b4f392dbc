"""What is installed is valid, hardened, and no more than its name says."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from k8s.rendered import HOME, K8S, SHAPES, STEPS, Objects, by_name, chart, example, kustomize, notes, of_kind, pod_of
from support.programs import output

from agent.bounds import ALWAYS, BOUND_BY
from agent.cli import parser
from agent.cluster.resources import RESOURCES
from agent.ledger import KEY_NAME
from agent.ledger.ledger import PREFIX
from agent.model import FORCE_SYNC, RESTARTED_AT
from agent.policy import PolicyFile
from agent.scopes import CLUSTER_WIDE, MANAGED, NAMESPACED

VERSION = "1.36"
READS = {"get", "list", "watch"}
OFF_LIMITS = "secret-drift-agent/off-limits"
ALL = (
    *("heal", "restart", "recreate", "monitoring", "metrics-tls", "metrics-token"),
    *("pushgateway", "pushgateway-ca", "pushgateway-token", "workload-identity"),
)


def _seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def test_every_object_is_one_that_kubernetes_knows() -> None:
    """Every field of every object is in the schemas of the API: none is misspelt, none is of a wrong type."""
    found = {
        json.dumps(each)  # most are the same in many shapes, and to validate one takes a tenth of a second
        for shape, step, namespaces in itertools.product(SHAPES, STEPS, ((), ("payments",)))
        for objects in (kustomize(shape, STEPS[step], namespaces), chart(shape, STEPS[step], namespaces))
        for each in objects.values()
    }
    for text in sorted(found):
        kubernetes_validate.validate(json.loads(text), VERSION, strict=True)


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


@pytest.mark.parametrize(
    ("objects", "deadline"),
    [
        (lambda: kustomize("cronjob"), 300),
        (lambda: kustomize("cronjob", own=example("a longer deadline")), 900),
        (lambda: chart("cronjob"), 300),
        (lambda: chart("cronjob", (), (), "--set", "deadline=15m"), 900),
        (lambda: chart("cronjob", (), (), "--set", "deadline=90s"), 90),
    ],
    ids=["kustomize", "patched", "chart", "minutes", "seconds"],
)
def test_a_run_ends_before_its_job_is_ended(objects: Callable[[], Objects], deadline: int) -> None:
    """The deadline of `once` is sooner than the Job's, by the time that starting and writing the ledger may take; and
    no second run begins beside it or after it."""
    made = objects()
    (job,) = of_kind(made, "CronJob")
    (container,) = pod_of(made)["spec"]["containers"]
    arguments = parser().parse_args(container["args"])
    grace = pod_of(made)["spec"]["terminationGracePeriodSeconds"]
    inner = job["spec"]["jobTemplate"]["spec"]
    assert arguments.deadline == deadline
    assert inner["activeDeadlineSeconds"] == deadline + 120 >= deadline + grace
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
    assert budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in budget["spec"], "of a single replica no node could be drained"
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


def test_a_secured_port_has_its_files_and_probes_that_speak_its_language() -> None:
    """The command takes the arguments, each file is in a mounted Secret, and kubelet probes with HTTPS."""
    spec = pod_of(kustomize("deployment", ("monitoring", "metrics-tls", "metrics-token")))["spec"]
    (container,) = spec["containers"]
    arguments = parser().parse_args(container["args"])
    files = [arguments.tls_cert, arguments.tls_key, arguments.metrics_token_file]
    assert [file.name for file in files] == ["tls.crt", "tls.key", "token"]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    assert [secrets[mounted[str(file.parent)]] for file in files] == ["metrics-tls", "metrics-tls", "metrics-token"]
    assert not any(name.startswith(PREFIX) for name in secrets.values()), "the agent may write those"
    assert {container[f"{probe}Probe"]["httpGet"]["scheme"] for probe in ("readiness", "liveness")} == {"HTTPS"}
    for each in (volume for volume in spec["volumes"] if "secret" in volume):
        assert "optional" not in each["secret"], "a port that was to be secured would be open"


@pytest.mark.parametrize("how", ["monitoring", "monitoring-service"])
def test_each_replica_is_scraped_by_the_names_that_the_pods_have(how: str) -> None:
    """Pods, port, job and secrets are those of the Deployment; a metric's own label `namespace` wins."""
    objects = kustomize("deployment", (how, "metrics-tls", "metrics-token"))
    (monitor,) = of_kind(objects, "PodMonitor", "ServiceMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints" if how == "monitoring" else "endpoints"]
    selector = monitor["spec"]["selector"]["matchLabels"]
    labels = pod_of(objects)["metadata"]["labels"]
    name = f"{HOME}.{HOME}.svc"
    if how == "monitoring-service":
        (service,) = of_kind(objects, "Service")
        kubernetes_validate.validate(service, VERSION, strict=True)
        assert selector.items() <= service["metadata"]["labels"].items()
        assert monitor["spec"]["jobLabel"] in service["metadata"]["labels"]
        (port,) = service["spec"]["ports"]
        assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
        assert name == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
        assert (port["name"], port["targetPort"]) == (endpoint["port"], "http")
        selector = service["spec"]["selector"]
    assert selector.items() <= labels.items()
    assert labels[monitor["spec"]["jobLabel"]] == HOME
    assert selector["app.kubernetes.io/component"] == "run"
    assert endpoint["port"] in [port["name"] for port in pod_of(objects)["spec"]["containers"][0]["ports"]]
    assert endpoint["honorLabels"] is True
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {"ca": {"secret": {"name": "metrics-tls", "key": "ca.crt"}}, "serverName": name}
    assert endpoint["authorization"] == {"type": "Bearer", "credentials": {"name": "metrics-token", "key": "token"}}


def test_an_agent_in_another_namespace_is_scraped_by_its_name_there() -> None:
    """By the patch of the page with kustomize, by itself with the chart; account and rights move along."""
    secured = ("--set", "monitoring.podMonitor=true,metrics.tlsSecret=metrics-tls", "--namespace", "ops")
    for objects in (
        kustomize("deployment", ("monitoring", "metrics-tls"), own=example("another namespace")),
        chart("deployment", (), (), *secured),
    ):
        (monitor,) = of_kind(objects, "PodMonitor")
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["tlsConfig"]["serverName"] == f"{HOME}.ops.svc"
        bindings = of_kind(objects, "RoleBinding", "ClusterRoleBinding")
        assert {subject["namespace"] for binding in bindings for subject in binding["subjects"]} == {"ops"}
        assert HOME not in {namespace for _, namespace, _ in objects}


def test_azures_prometheus_finds_monitors_of_its_own_group() -> None:
    """With the limits without which it drops what it reads, and without a kind that its clusters do not know."""
    objects = kustomize("deployment", ("monitoring", "monitoring-azure"))
    (monitor,) = of_kind(objects, "PodMonitor", "ServiceMonitor")
    assert monitor["apiVersion"] == "azmonitoring.coreos.com/v1"
    assert {"labelLimit", "labelNameLengthLimit", "labelValueLengthLimit"} <= set(monitor["spec"])
    assert not [each for each in objects.values() if each["apiVersion"].startswith("monitoring.coreos.com")]


@pytest.mark.parametrize("interval", ["1s", "9s", "30s", "1m"])
@pytest.mark.parametrize("kind", ["podMonitor", "serviceMonitor"])
def test_a_scrape_is_given_up_before_the_next_one(interval: str, kind: str) -> None:
    """A timeout longer than the interval makes the operator refuse the monitor as a whole."""
    objects = chart("deployment", (), (), "--set", f"monitoring.{kind}=true,monitoring.interval={interval}")
    (monitor,) = of_kind(objects, "PodMonitor", "ServiceMonitor")
    (endpoint,) = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
    assert _seconds(endpoint["scrapeTimeout"]) == min(10, _seconds(endpoint["interval"]))


def test_a_pushgateway_is_reached_and_its_url_is_never_invented(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands in the component is a wrong argument, which the command says; the way out is for runs alone."""
    objects = kustomize("cronjob", ("pushgateway",))
    (container,) = pod_of(objects)["spec"]["containers"]
    (told,) = (each for each in container["env"] if each["name"] == "SECRET_DRIFT_PUSH_GATEWAY")
    monkeypatch.setenv(told["name"], told["value"])
    with pytest.raises(SystemExit):
        parser().parse_args(container["args"])
    assert "--push-gateway: expected http://HOST" in capsys.readouterr().err
    monkeypatch.setenv(told["name"], "http://pushgateway.monitoring.svc:9091")
    assert parser().parse_args(container["args"]).push_gateway == "http://pushgateway.monitoring.svc:9091"
    secured = pod_of(kustomize("cronjob", ("pushgateway", "pushgateway-ca", "pushgateway-token")))["spec"]
    given = parser().parse_args(secured["containers"][0]["args"])
    mounted = {mount["mountPath"]: mount["name"] for mount in secured["containers"][0]["volumeMounts"]}
    secrets = {each["name"]: each["secret"]["secretName"] for each in secured["volumes"] if "secret" in each}
    files = [given.push_gateway_ca, given.push_gateway_token_file]
    assert [(secrets[mounted[str(file.parent)]], file.name) for file in files] == [
        ("pushgateway-ca", "ca.crt"), ("pushgateway-token", "token"),
    ]  # fmt: skip
    network = objects["NetworkPolicy", HOME, f"{HOME}-push"]
    kubernetes_validate.validate(network, VERSION, strict=True)
    assert network["spec"]["podSelector"]["matchLabels"].items() <= pod_of(objects)["metadata"]["labels"].items()
    assert network["spec"]["policyTypes"] == ["Egress"]


MORE = """
managedIdentity: {enabled: true}
networkPolicy: {extraEgress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{protocol: TCP, port: 3128}]}]}
podLabels: {team: platform}
podAnnotations: {note: "1"}
affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}
priorityClassName: high
tolerations: [{key: system, operator: Exists}]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy:3128"}]
extraEnvFrom: [{configMapRef: {name: proxy}}]
extraVolumes: [{name: authorities, configMap: {name: authorities}}]
extraVolumeMounts: [{name: authorities, mountPath: /etc/authorities, readOnly: true}]
"""


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_cluster_asks_of_its_pods_can_be_added(shape: str, tmp_path: Path) -> None:
    """A proxy and its way out, authorities, labels, where pods may run: beside what is there, not in its place."""
    (tmp_path / "values.yaml").write_text(MORE)
    objects, plain = chart(shape, (), (), "--values", str(tmp_path / "values.yaml")), chart(shape)
    for each in objects.values():
        kubernetes_validate.validate(each, VERSION, strict=True)
    pod, before = pod_of(objects), pod_of(plain)
    assert pod["metadata"] == {
        "labels": {**before["metadata"]["labels"], "team": "platform"}, "annotations": {"note": "1"},
    }  # fmt: skip
    assert (pod["spec"]["priorityClassName"], *pod["spec"]["affinity"]) == ("high", "nodeAffinity")
    (container,), (container_before,) = pod["spec"]["containers"], before["spec"]["containers"]
    assert container["env"] == [*container_before["env"], {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]
    assert container["envFrom"] == [{"configMapRef": {"name": "proxy"}}]
    assert [each["name"] for each in pod["spec"]["volumes"]] == ["policy", "authorities"]
    assert [each["mountPath"] for each in container["volumeMounts"]][1:] == ["/etc/authorities"]
    (policy,), (policy_before,) = of_kind(objects, "NetworkPolicy"), of_kind(plain, "NetworkPolicy")
    added = policy["spec"]["egress"][len(policy_before["spec"]["egress"]) :]
    assert [port["port"] for rule in added for port in rule["ports"]] == [80, 3128]
    assert not of_kind(chart(shape, (), (), "--set", "networkPolicy.enabled=false"), "NetworkPolicy")


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


ONE_TEAM = ("--set", "namespaces={payments},heal=true,policy.mode=heal")
GRANTED = (*ONE_TEAM, "--set", "clusterRead=true")


def test_an_admin_can_have_the_chart_read_what_belongs_to_no_namespace() -> None:
    """As by the component, for the account of this very release; two teams' releases are not in each other's way."""
    rights = by_name(output("kubectl", "kustomize", K8S / "components" / "observe" / "cluster"))
    at_home = chart("deployment", (), (), *GRANTED)
    assert {key: each for key, each in at_home.items() if key[0].startswith("ClusterRole")} == rights
    elsewhere = chart("deployment", (), (), *GRANTED, "--namespace", "ops")
    (binding,), (role,) = of_kind(elsewhere, "ClusterRoleBinding"), of_kind(elsewhere, "ClusterRole")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": HOME, "namespace": "ops"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"] not in {name for _, _, name in rights}
    assert role["rules"] == of_kind(rights, "ClusterRole")[0]["rules"]


@pytest.mark.parametrize(
    ("values", "said", "unsaid"),
    [
        ((), ["heals nothing: set heal=true"], ["may heal", "clusterRead"]),
        (("--set", "heal=true"), ["heals nothing: its policy says mode: observe"], ["may heal", "clusterRead"]),
        (("--set", "heal=true,policy.mode=heal"), ["may heal"], ["clusterRead", "nothing"]),
        (ONE_TEAM, ["nothing is healed", "clusterRead=true", "apply -k k8s/components/observe/cluster"], ["may heal"]),
        ((*ONE_TEAM, "--namespace", "ops"), ["--serviceaccount=ops:secret-drift-agent"], ["may heal"]),
        ((*GRANTED, "--namespace", "ops"), ["may heal", "No ValidatingAdmissionPolicy"], ["clusterRead", "nothing"]),
    ],
    ids=["observe", "right-alone", "heal", "blind", "elsewhere", "granted"],
)
def test_the_notes_say_what_this_release_will_do(values: tuple[str, ...], said: list[str], unsaid: list[str]) -> None:
    """Whether it heals, and if not, what is missing for it: who reads `may heal` can rely on it."""
    told = notes(*values)
    assert [each for each in said if each not in told] == []
    assert [each for each in unsaid if each in told] == []


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
        away = [policy for policy in policies if policy["metadata"]["name"] != "secret-drift-agent-observe"]
        assert all(OFF_LIMITS in yaml.safe_dump(policy) for policy in away)


def test_the_agent_knows_by_which_policy_each_of_its_rights_is_bounded() -> None:
    """What `doctor` and the metric look for are the policies of the very component that grants the right."""
    for component in ("observe", "heal", "restart", "recreate"):
        objects = by_name(output("kubectl", "kustomize", K8S / "components" / component))
        rules = [rule for kind in ("ClusterRole", "Role") for role in of_kind(objects, kind) for rule in role["rules"]]
        granted = {
            (verb, group, resource)
            for rule in rules for verb in rule["verbs"] for group in rule["apiGroups"] for resource in rule["resources"]
        }  # fmt: skip
        bounds = {policy["metadata"]["name"] for policy in of_kind(objects, "ValidatingAdmissionPolicy")}
        known = {name for right, name in BOUND_BY.items() if right in granted}
        assert bounds == (known or set(ALWAYS)), component


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
