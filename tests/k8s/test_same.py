"""kustomize and the chart install the same."""

from __future__ import annotations

import json

import pytest
import yaml
from k8s.rendered import CLIENT, IMAGE, SHAPES, STEPS, TAG, Object, Objects, chart, example, kustomize, of_kind, pod_of
from support.dashboards import NAMES, dashboard

from k8s.monitoring.alerts import ALERTS

KEPT_BY_KUBECTL = 256 * 1024
"""Bytes of the annotation in which ``kubectl apply`` keeps what it has applied."""


def _comparable(objects: Objects) -> Objects:
    """Without the Namespace, which helm makes or finds; the policy as what it says, not as it is written."""
    kept = {key: dict(each) for key, each in objects.items() if key[0] != "Namespace"}
    for key, each in kept.items():
        if key[0] == "ConfigMap":
            each["data"] = {name: yaml.safe_load(text) for name, text in each["data"].items()}
    return kept


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("namespaces", [(), ("payments", "orders")], ids=["everywhere", "namespaced"])
def test_both_make_the_same_objects_field_by_field(shape: str, step: str, namespaces: tuple[str, ...]) -> None:
    """Whichever a team installs with, the objects are the same, whatever it lets the agent do."""
    by_kustomize = _comparable(kustomize(shape, STEPS[step], namespaces))
    by_chart = _comparable(chart(shape, STEPS[step], namespaces))
    if namespaces:  # which the user of kustomize adds by a patch of his own
        wanted = [word for name in namespaces for word in ("-n", name)]
        arguments = pod_of(by_chart)["spec"]["containers"][0]["args"]
        assert arguments[-len(wanted) :] == wanted
        del arguments[-len(wanted) :]
    assert sorted(by_chart) == sorted(by_kustomize)
    for key, each in by_kustomize.items():
        assert by_chart[key] == each, key


@pytest.mark.parametrize("shape", SHAPES)
def test_both_know_workload_identity(shape: str) -> None:
    """The account names the Azure identity, and the pod asks to be given its token."""
    values = ("--set", "workloadIdentity.enabled=true", "--set", f"workloadIdentity.clientId={CLIENT}")
    by_chart = chart(shape, ("heal",), (), *values)
    by_kustomize = kustomize(shape, ("heal", "workload-identity"))
    (account,) = of_kind(by_kustomize, "ServiceAccount")
    account["metadata"]["annotations"]["azure.workload.identity/client-id"] = CLIENT
    annotations = pod_of(by_chart)["metadata"].pop("annotations")
    assert annotations == {"secret-drift-agent/client-id": CLIENT}, "another identity makes other pods, which read it"
    assert _comparable(by_chart) == _comparable(by_kustomize)
    assert pod_of(by_chart)["metadata"]["labels"]["azure.workload.identity/use"] == "true"


@pytest.mark.parametrize("shape", SHAPES)
def test_both_know_a_managed_identity(shape: str) -> None:
    """The pods are let out to the nodes' metadata service; of several identities one is named, by the page's patch."""
    let_out = chart(shape, (), (), "--set", "managedIdentity.enabled=true")
    assert _comparable(let_out) == _comparable(kustomize(shape, ("managed-identity",)))
    named = chart(shape, (), (), "--set", f"managedIdentity.enabled=true,managedIdentity.clientId={CLIENT}")
    patch = example("one of several identities")
    if shape == "cronjob":
        patch = patch.replace("Deployment", "CronJob").replace("/spec/template", "/spec/jobTemplate/spec/template")
    assert _comparable(named) == _comparable(kustomize(shape, ("managed-identity",), own=patch))
    assert {"name": "AZURE_CLIENT_ID", "value": CLIENT} in pod_of(named)["spec"]["containers"][0]["env"]


SECURED = ("--set", "metrics.tlsSecret=metrics-tls", "--set", "metrics.tokenSecret=metrics-token")
AZURE = ("--set", "monitoring.apiGroup=azmonitoring.coreos.com")


@pytest.mark.parametrize(
    ("components", "values"),
    [
        (("monitoring",), ("--set", "monitoring.podMonitor=true")),
        (("monitoring-service",), ("--set", "monitoring.serviceMonitor=true")),
        (("monitoring", "monitoring-service"), ("--set", "monitoring.serviceMonitor=true")),
        (("metrics-tls", "metrics-token"), SECURED),
        (("monitoring", "metrics-tls", "metrics-token"), ("--set", "monitoring.podMonitor=true", *SECURED)),
        (("monitoring-service", "metrics-tls", "metrics-token"), ("--set", "monitoring.serviceMonitor=true", *SECURED)),
        (("monitoring", "metrics-token"), ("--set", "monitoring.podMonitor=true", *SECURED[2:])),
        (("monitoring", "monitoring-azure"), ("--set", "monitoring.podMonitor=true", *AZURE)),
        (
            ("monitoring-service", "metrics-tls", "monitoring-azure"),
            ("--set", "monitoring.serviceMonitor=true", *SECURED[:2], *AZURE),
        ),
    ],
    ids=[
        "pods",
        "service",
        "in-place",
        "secured",
        "pods-secured",
        "service-secured",
        "token",
        "azure-pods",
        "azure-service",
    ],
)
def test_both_know_how_the_agent_is_scraped(components: tuple[str, ...], values: tuple[str, ...]) -> None:
    """By a PodMonitor or by a ServiceMonitor, never by both; in the clear, over TLS, with a token, and by Azure's."""
    by_kustomize = _scraped(kustomize("deployment", components))
    assert _scraped(chart("deployment", (), (), *values)) == by_kustomize
    monitors = {kind for kind, _, _ in by_kustomize if kind.endswith("Monitor")}
    assert len(monitors) == any(each.startswith("monitoring") for each in components)


def _scraped(objects: Objects) -> Objects:
    """Without the rules, which are not how the agent is scraped."""
    return {key: each for key, each in _comparable(objects).items() if key[0] != "PrometheusRule"}


@pytest.mark.parametrize("shape", SHAPES)
def test_both_bring_the_alert_rules(shape: str) -> None:
    """Each word of them; the runbooks are where the team keeps them."""
    by_kustomize = kustomize(shape, ("alerts",))
    assert _comparable(chart(shape, (), (), "--set", "monitoring.rules=true")) == _comparable(by_kustomize)
    own = "https://wiki.example.com/runbooks"
    moved = chart(shape, (), (), "--set", "monitoring.rules=true", "--set", f"monitoring.runbooks={own}")
    (rules,) = of_kind(moved, "PrometheusRule")
    urls = [r["annotations"]["runbook_url"] for g in rules["spec"]["groups"] for r in g["rules"] if "alert" in r]
    assert len(urls) == len(ALERTS)
    assert all(url.startswith(f"{own}/SecretDrift") for url in urls)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_bring_the_dashboards(shape: str) -> None:
    """To the letter, each small enough for kubectl apply; the runbooks are where the team keeps them."""
    dashboards = ("--set", "monitoring.dashboards=true")
    by_kustomize, by_chart = (
        _dashboards(kustomize(shape, ("dashboards",))),
        _dashboards(chart(shape, (), (), *dashboards)),
    )
    assert by_chart == by_kustomize
    assert [set(each["data"]) for each in by_kustomize] == [{f"{name}.json"} for name in NAMES]
    for name, each in zip(NAMES, by_kustomize, strict=True):
        assert json.loads(each["data"][f"{name}.json"]) == dashboard(name)
        assert len(json.dumps(each)) < KEPT_BY_KUBECTL
    own = "https://wiki.example.com/runbooks"
    for each in _dashboards(chart(shape, (), (), *dashboards, "--set", f"monitoring.runbooks={own}")):
        assert f'"query":"{own}"' in next(iter(each["data"].values()))


def _dashboards(objects: Objects) -> list[Object]:
    """The ConfigMaps that Grafana's sidecar looks for, by their names."""
    maps = [each for each in of_kind(objects, "ConfigMap") if "grafana_dashboard" in each["metadata"].get("labels", {})]
    return sorted(maps, key=lambda each: str(each["metadata"]["name"]).removesuffix("-dashboard"))


PUSH_SECRETS = ("--set", "pushgateway.caSecret=pushgateway-ca", "--set", "pushgateway.tokenSecret=pushgateway-token")


@pytest.mark.parametrize(
    ("components", "values"),
    [((), ()), (("pushgateway-ca",), PUSH_SECRETS[:2]), (("pushgateway-ca", "pushgateway-token"), PUSH_SECRETS)],
    ids=["plain", "ca", "ca-and-token"],
)
def test_both_know_a_pushgateway(components: tuple[str, ...], values: tuple[str, ...]) -> None:
    """Each run is told where it is, and is let out to it; kustomize's value is the user's to put in."""
    url = "https://pushgateway.monitoring.svc:9091"
    by_kustomize = kustomize("cronjob", ("heal", "pushgateway", *components))
    (told,) = (e for e in pod_of(by_kustomize)["spec"]["containers"][0]["env"] if e["name"].endswith("PUSH_GATEWAY"))
    told["value"] = url
    by_chart = chart("cronjob", ("heal",), (), "--set", f"pushgateway.url={url}", *values)
    assert _comparable(by_chart) == _comparable(by_kustomize)
    grouped = chart("cronjob", (), (), "--set", f"pushgateway.url={url}", "--set", "pushgateway.group=east")
    environment = {each["name"]: each.get("value") for each in pod_of(grouped)["spec"]["containers"][0]["env"]}
    assert environment["SECRET_DRIFT_PUSH_GROUP"] == "east"


def test_a_prometheus_that_selects_monitors_by_a_label_finds_ours() -> None:
    """As that of kube-prometheus-stack does; an interval is the user's, too."""
    more = ("--set", "monitoring.labels.release=stack", "--set", "monitoring.interval=1m")
    for kind in ("podMonitor", "serviceMonitor"):
        objects = chart("deployment", (), (), "--set", f"monitoring.{kind}=true", *more)
        (monitor,) = of_kind(objects, "PodMonitor", "ServiceMonitor")
        assert monitor["metadata"]["labels"]["release"] == "stack"
        assert "interval: 1m" in yaml.safe_dump(monitor)


def test_an_image_is_never_invented() -> None:
    """No file of ours says where an image comes from: it is the user's name that the pods get, and no other."""
    for objects in (kustomize("deployment"), kustomize("cronjob"), chart("deployment"), chart("cronjob")):
        assert [c["image"] for c in pod_of(objects)["spec"]["containers"]] == [f"{IMAGE}:{TAG}"]
    digest = "sha256:" + "0" * 64
    pinned = chart("deployment", (), (), "--set", f"image.digest={digest}")
    assert pod_of(pinned)["spec"]["containers"][0]["image"] == f"{IMAGE}:{TAG}@{digest}"
