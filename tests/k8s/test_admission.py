"""Who has the agent's token can do with it what the agent does, and no more: each write, tried on a real API server.

Needs `--real` or `--cluster KUBECONFIG`. For the writes that must be refused the account is made an admin of the
cluster, so that it is admission which refuses them, and not a right that happens to be missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from k8s.realcluster import MERGE, OFF_LIMITS, Answer, Api, Cluster, Object, installed
from k8s.rendered import HOME, kustomize, pod_of

from agent.bounds import ALWAYS, BOUND_BY

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
ADMISSION = "ValidatingAdmissionPolicy"
RESTARTED = "secret-drift-agent/restarted-at"
MANAGED = "reconcile.external-secrets.io/managed"
IMAGE = "registry.example.com/app:1"


class Write(NamedTuple):
    """One request; ``{ns}`` in its path is the namespace, ``said`` a part of the refusal."""

    method: str
    path: str
    body: Any = None
    content: str = JSON
    said: str = ""

    def by(self, api: Api, namespace: str) -> Answer:
        """Send it."""
        return api(self.method, self.path.replace("{ns}", namespace), _placed(self.body, namespace), self.content)


def _placed(body: Any, namespace: str) -> Any:
    if isinstance(body, dict):
        return {key: _placed(value, namespace) for key, value in body.items()}
    return namespace if body == "{ns}" else body


ES = "/apis/external-secrets.io/v1/namespaces/{ns}/externalsecrets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{ns}/deployments"
DAEMONSETS = "/apis/apps/v1/namespaces/{ns}/daemonsets"
PODS = "/api/v1/namespaces/{ns}/pods"
SECRETS = "/api/v1/namespaces/{ns}/secrets"
CONFIGMAPS = f"/api/v1/namespaces/{HOME}/configmaps"
HOME_SECRETS = f"/api/v1/namespaces/{HOME}/secrets"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases"


def _event() -> Object:
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "told", "namespace": "{ns}"}, "type": "Normal",
        "involvedObject": {"kind": "ExternalSecret", "namespace": "{ns}", "name": "chain"}, "reason": "ForceSynced",
    }  # fmt: skip


def _metadata(**fields: object) -> Object:
    return {"metadata": fields}


def _stamp(value: str) -> Object:
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED: value}}}}}


def _eviction(**options: object) -> Object:
    metadata = {"name": "single", "namespace": "{ns}"}
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata, "deleteOptions": options}


def _kept(kind: str, name: str, **fields: object) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}


def _lease(name: str) -> Object:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}}


ONE = "but force-sync"
NOTHING_ELSE = "nothing else"
ASKED = {"force-sync": "1700000000"}
STAMP = "0123456789abcdef"
UID = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
POD = {"containers": [{"name": "c", "image": IMAGE}]}
A_POD = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
SELECTED = {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": A_POD}}
NEW_ES = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "new"}, "spec": {}}
A_TOKEN = {"name": "secret-drift-agent-ledger-token", "annotations": {"kubernetes.io/service-account.name": HOME}}
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
NODE = {"kind": "Node", "name": "n"}
EVIL = {"spec": {"containers": [{"name": "c", "image": "evil"}]}}
BESIDE = {"spec": {"containers": [{"name": "d", "image": IMAGE}]}}
WALK = "/spec/template/spec/containers/0/command"
MODE = "secret-drift-agent/mode"


def _chain(said: str, annotations: object = None, *, spec: object = ..., **metadata: object) -> Write:
    """Hidden in a request for a sync."""
    changed = _metadata(annotations={**ASKED, **(annotations or {})}, **metadata)  # type: ignore[dict-item]
    return Write("PATCH", f"{ES}/chain", changed if spec is ... else changed | {"spec": spec}, MERGE, said)


def _app(
    said: str, template: Object | None = None, *, spec: Object | None = None, content: str = MERGE, **metadata: object
) -> Write:
    """Hidden in a restart."""
    inside: Object = {"metadata": {"annotations": {RESTARTED: "a"}}, **(template or {})}
    body: Object = {"metadata": metadata, "spec": {**(spec or {}), "template": inside}}
    return Write("PATCH", f"{DEPLOYMENTS}/app", body, content, said)


def _noted(**annotations: object) -> Object:
    return {"metadata": {"annotations": annotations}}


FORBIDDEN: dict[str, Write] = {
    "es-spec": _chain("spec", spec={"refreshInterval": "1s"}),
    "es-spec-removed": _chain("spec", spec=None),
    "es-store": _chain("spec", spec={"secretStoreRef": {"name": "mine"}}),
    "es-label": _chain("labels", labels={"a": "b"}),
    "es-label-removed": _chain("labels", labels={"team": None}),
    "es-finalizer": _chain("finalizers", finalizers=["x.io/y"]),
    "es-owner": _chain("owners", ownerReferences=[OWNER]),
    "es-other-annotation": _chain(ONE, {"a": "b"}),
    "es-annotation-changed": _chain(ONE, {"kept": "no more"}),
    "es-opt-out-removed": _chain(ONE, {MODE: None}),
    "es-all-annotations-gone": Write("PATCH", f"{ES}/chain", _metadata(annotations=None), MERGE, ONE),
    "es-unstamped": _chain("seconds", {"force-sync": "a value to take along"}),
    "es-json-patch": Write("PATCH", f"{ES}/chain", [{"op": "remove", "path": "/spec"}], JSON_PATCH, "spec"),
    "es-status": Write("PATCH", f"{ES}/chain/status", {"status": {"refreshTime": "x"}}, MERGE, NOTHING_ELSE),
    "es-created": Write("POST", ES, NEW_ES, JSON, NOTHING_ELSE),
    "es-applied-into-being": Write("PATCH", f"{ES}/new?fieldManager=me&force=true", NEW_ES, APPLY, NOTHING_ELSE),
    "es-deleted": Write("DELETE", f"{ES}/chain", None, JSON, NOTHING_ELSE),
    "es-all-deleted": Write("DELETE", ES, None, JSON, NOTHING_ELSE),
    "pod-deleted": Write("DELETE", f"{PODS}/single", None, JSON, NOTHING_ELSE),
    "pods-all-deleted": Write("DELETE", PODS, None, JSON, NOTHING_ELSE),
    "pod-created": Write("POST", PODS, _kept("Pod", "new", spec=POD), JSON, NOTHING_ELSE),
    "pod-changed": Write("PATCH", f"{PODS}/single", _metadata(labels={"a": "b"}), MERGE, NOTHING_ELSE),
    "pod-bound": Write("POST", f"{PODS}/single/binding", _kept("Binding", "single", target=NODE), JSON, NOTHING_ELSE),
    "pod-entered": Write("POST", f"{PODS}/single/exec?command=id&stdout=true", None, JSON, NOTHING_ELSE),
    "pod-proxied": Write("GET", f"{PODS}/single/proxy/", None, JSON, NOTHING_ELSE),
    "pod-debugged": Write(
        "PATCH", f"{PODS}/single/ephemeralcontainers",
        {"spec": {"ephemeralContainers": [{"name": "e", "image": IMAGE}]}}, STRATEGIC, NOTHING_ELSE,
    ),
    "eviction-of-any-uid": Write("POST", f"{PODS}/single/eviction", _eviction(), JSON, "uid"),
    "eviction-now": Write("POST", f"{PODS}/single/eviction", _eviction(**UID, gracePeriodSeconds=0), JSON, "grace"),
    "deployment-scaled": _app("spec", spec={"replicas": 3}),
    "deployment-paused": _app("spec", spec={"paused": True}),
    "deployment-strategy": _app("spec", spec={"strategy": {"type": "Recreate", "rollingUpdate": None}}),
    "deployment-scale": Write("PATCH", f"{DEPLOYMENTS}/app/scale", {"spec": {"replicas": 3}}, MERGE, NOTHING_ELSE),
    "deployment-status": Write(
        "PATCH", f"{DEPLOYMENTS}/app/status", {"status": {"observedGeneration": 9}}, MERGE, NOTHING_ELSE
    ),
    "deployment-image": _app("pod template", EVIL, content=STRATEGIC),
    "deployment-container": _app("pod template", BESIDE, content=STRATEGIC),
    "deployment-command": Write(
        "PATCH", f"{DEPLOYMENTS}/app", [{"op": "add", "path": WALK, "value": ["sh"]}], JSON_PATCH, "pod template"
    ),
    "deployment-account": _app("pod template", {"spec": {"serviceAccountName": "admin"}}),
    "deployment-host": _app("pod template", {"spec": {"hostNetwork": True}}),
    "deployment-pod-label": _app("pod template", {"metadata": {"labels": {"more": "x"}}}),
    "deployment-pod-annotation": _app("no annotation", _noted(**{RESTARTED: "a", "x": "y"})),
    "deployment-pod-annotation-removed": _app("no annotation", _noted(**{RESTARTED: "a", "owner": None})),
    "deployment-pod-annotations-gone": _app("annotation", {"metadata": {"annotations": None}}),
    "deployment-foreign-restart": _app("no annotation", _noted(**{"kubectl.kubernetes.io/restartedAt": "2026-01-01"})),
    "deployment-long-stamp": _app("stamp", _noted(**{RESTARTED: "a" * 500})),
    "deployment-label": _app("labels", labels={"a": "b"}),
    "deployment-opt-out-removed": _app("annotations", annotations={MODE: None}),
    "deployment-finalizer": _app("finalizers", finalizers=["x.io/y"]),
    "deployment-deleted": Write("DELETE", f"{DEPLOYMENTS}/app", None, JSON, NOTHING_ELSE),
    "deployment-created": Write(
        "POST", DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "new"}} | SELECTED,
        JSON, NOTHING_ELSE,
    ),
    "daemonset-created": Write(
        "POST", DAEMONSETS, {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "new"}} | SELECTED,
        JSON, NOTHING_ELSE,
    ),
    "secret-unmanaged-deleted": Write("DELETE", f"{SECRETS}/unmanaged", None, JSON, "manages"),
    "secret-unowned-deleted": Write("DELETE", f"{SECRETS}/unowned", None, JSON, "owns"),
    "secret-of-another-deleted": Write("DELETE", f"{SECRETS}/of-another", None, JSON, "owns"),
    "secret-mutable-deleted": Write("DELETE", f"{SECRETS}/mutable", None, JSON, "immutable"),
    "secrets-all-deleted": Write("DELETE", SECRETS, None, JSON, ADMISSION),
    "secret-changed": Write("PATCH", f"{SECRETS}/mutable", {"stringData": {"a": "b"}}, MERGE, "own namespace"),
    "secret-labelled": Write(
        "PATCH", f"{SECRETS}/unmanaged", _metadata(labels={MANAGED: "true"}), MERGE, "own namespace"
    ),
    "secret-created": Write("POST", SECRETS, _kept("Secret", f"{HOME}-x", type="Opaque"), JSON, "own namespace"),
    "own-policy-changed": Write("PATCH", f"{CONFIGMAPS}/{HOME}-policy", {"data": {"policy.yaml": ""}}, MERGE, "policy"),
    "own-ca-changed": Write("PATCH", f"{CONFIGMAPS}/kube-root-ca.crt", {"data": {"ca.crt": "x"}}, MERGE, "its ledger"),
    "own-token-made": Write(
        "POST", HOME_SECRETS,
        _kept("Secret", "", type="kubernetes.io/service-account-token") | {"metadata": A_TOKEN}, JSON, "Opaque",
    ),
    "own-key-deleted": Write("DELETE", f"{HOME_SECRETS}/{HOME}-key", None, JSON, "manages"),
}  # fmt: skip
"""Each an attack, or a slip of the agent's own."""

OFF: dict[str, Write] = {
    "force-sync": Write("PATCH", f"{ES}/chain", _metadata(annotations=ASKED), MERGE),
    "eviction": Write("POST", f"{PODS}/single/eviction", _eviction(**UID)),
    "restart": Write("PATCH", f"{DEPLOYMENTS}/app", _stamp(STAMP), MERGE),
    "recreate": Write("DELETE", f"{SECRETS}/stuck"),
    "Event": Write("POST", "/api/v1/namespaces/{ns}/events", _event()),
}
"""What the agent does where it may, in a namespace that is off limits."""


def _world(namespace: str, cluster: Cluster) -> list[Object]:
    here = {"namespace": namespace}
    chain = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {
            **here,
            "name": "chain",
            "labels": {"team": "a"},
            "annotations": {"kept": "as it is", MODE: "observe"},
        },
        "spec": {"secretStoreRef": {"name": "prod"}, "target": {"name": "stuck", "immutable": True}},
    }
    cluster.apply([chain])
    eso = {"apiVersion": chain["apiVersion"], "kind": "ExternalSecret", "name": "chain", "controller": True}
    eso["uid"] = cluster.admin("GET", f"{ES}/chain".replace("{ns}", namespace)).body["metadata"]["uid"]
    known = f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt"
    cluster.soon(lambda: cluster.admin("GET", known).code == 200, "what each namespace has")
    another = {"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt", "controller": True}
    another["uid"] = cluster.admin("GET", known).body["metadata"]["uid"]
    label = {MANAGED: "true"}

    def secret(name: str, *, immutable: bool = True, **metadata: object) -> Object:
        made = _kept("Secret", name, immutable=immutable, type="Opaque", stringData={"key": "value"})
        return made | {"metadata": {**here, "name": name, **metadata}}

    return [
        secret("stuck", labels=label, ownerReferences=[eso]),
        secret("unmanaged", ownerReferences=[eso]),
        secret("unowned", labels=label),
        secret("of-another", labels=label, ownerReferences=[another]),
        secret("mutable", immutable=False, labels=label, ownerReferences=[eso]),
        *({**_kept("Pod", name, spec=POD), "metadata": {**here, "name": name}} for name in ("single", "leaving")),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**here, "name": "app", "annotations": {MODE: "observe"}},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}, "annotations": {"owner": "us"}}, "spec": POD},
            },
        },
    ]


@pytest.fixture(scope="module")
def cluster(real: str) -> Iterator[Cluster]:
    """Everything that can be installed, and the same small world in both namespaces."""
    with installed(real, ("heal", "restart", "recreate")) as cluster:
        for namespace in (cluster.open, cluster.closed):
            cluster.soon(lambda ns=namespace: _has_account(cluster, ns), "the namespace's default account")  # type: ignore[misc]
            cluster.apply(_world(namespace, cluster))
        cluster.apply(
            [_kept("Secret", f"{HOME}-key", type="Opaque") | {"metadata": {"namespace": HOME, "name": f"{HOME}-key"}}]
        )
        yield cluster


def _has_account(cluster: Cluster, namespace: str) -> bool:
    return cluster.admin("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default").code == 200


@pytest.fixture(scope="module")
def agent(cluster: Cluster) -> Api:
    """The agent's own account, with the rights of its components, once these and their bounds are in force."""
    api = cluster.agent()
    for write in OFF.values():
        cluster.soon(lambda w=write: ADMISSION in w.by(api, cluster.closed).words, f"bounds of {write.path}")  # type: ignore[misc]
    probe = Write("POST", HOME_SECRETS, _kept("Secret", "probe", type="Opaque"))
    cluster.soon(lambda: ADMISSION in probe.by(api, HOME).words, "bounds of the ledger")
    return api


@pytest.mark.parametrize("name", FORBIDDEN)
def test_the_components_rights_let_nothing_of_it_pass(agent: Api, cluster: Cluster, name: str) -> None:
    """With the rights that it is given, the agent is refused all of it too, by one fence or the other."""
    answer = FORBIDDEN[name].by(agent, cluster.open)
    assert answer.code in (403, 404, 405, 422), answer


@pytest.mark.parametrize("name", OFF)
def test_nothing_is_touched_where_the_owner_says_off_limits(agent: Api, cluster: Cluster, name: str) -> None:
    """A label on the namespace is enough: no sync, no eviction, no restart, no delete, no Event."""
    answer = OFF[name].by(agent, cluster.closed)
    assert answer.code == 403
    assert f"namespace {cluster.closed} is off limits: it bears the label {OFF_LIMITS}" in answer.words


def test_what_a_heal_takes_passes(agent: Api, cluster: Cluster) -> None:
    """A sync asked for twice, a restart asked for twice, an eviction, and a stuck Secret deleted, with exact bodies."""
    ns = cluster.open
    chain, app = f"{ES}/chain".replace("{ns}", ns), f"{DEPLOYMENTS}/app".replace("{ns}", ns)
    uid = cluster.admin("GET", chain).body["metadata"]["uid"]
    for stamp in ("1700000000", "1700000060"):
        got = agent(
            "PATCH", f"{chain}?fieldManager={HOME}", _metadata(uid=uid, annotations={"force-sync": stamp}), MERGE
        )
        assert got.code == 200, got
    for stamp in ("0123456789abcdef", "fedcba9876543210"):
        got = _restarted(agent, app, stamp)
        while got.code == 409:  # its controller was faster
            got = _restarted(agent, app, stamp)
        assert got.code == 200, got
    pod = cluster.admin("GET", f"{PODS}/leaving".replace("{ns}", ns)).body["metadata"]
    evicted = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "leaving", "namespace": ns}}
    got = agent(
        "POST",
        f"{PODS}/leaving/eviction".replace("{ns}", ns),
        evicted | {"deleteOptions": {"preconditions": {"uid": pod["uid"]}}},
    )
    assert got.code == 201, got
    stuck = f"{SECRETS}/stuck".replace("{ns}", ns)
    meant = cluster.admin("GET", stuck).body["metadata"]
    exact = {"uid": meant["uid"], "resourceVersion": meant["resourceVersion"]}
    got = agent("DELETE", stuck, {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": exact})
    assert got.code == 200, got


def _restarted(agent: Api, path: str, stamp: str) -> Answer:
    now = agent("GET", path).body["metadata"]
    named = _metadata(uid=now["uid"], resourceVersion=now["resourceVersion"])
    return agent("PATCH", f"{path}?fieldManager={HOME}", named | _stamp(stamp), MERGE)


def test_a_workload_that_never_bore_an_annotation_may_be_restarted(agent: Api, cluster: Cluster) -> None:
    """Where the template has no annotation at all, ours is the first; a large one fits the API's budget for rules."""
    wide = {f"setting-{number}": "x" * 200 for number in range(500)}
    env = [{"name": name.upper().replace("-", "_"), "value": value} for name, value in wide.items()]
    pod = {"containers": [{"name": f"c{number}", "image": IMAGE, "env": env} for number in range(5)]}
    cluster.apply(
        [
            {
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": cluster.open, "name": "large"},
                "spec": {
                    "replicas": 0, "selector": {"matchLabels": {"app": "large"}},
                    "template": {"metadata": {"labels": {"app": "large"}}, "spec": pod},
                },
            }
        ]
    )  # fmt: skip
    got = Write("PATCH", f"{DEPLOYMENTS}/large", _stamp(STAMP), MERGE).by(agent, cluster.open)
    assert got.code == 200, got


def test_the_ledger_and_the_lease_can_be_written(agent: Api, cluster: Cluster) -> None:
    """What the agent remembers, and the Lease of its name: created, read and replaced."""
    for path, body in (
        (HOME_SECRETS, _kept("Secret", "secret-drift-agent-ledger-history-0", type="Opaque")),
        (CONFIGMAPS, _kept("ConfigMap", "secret-drift-agent-ledger-heals-0")),
        (LEASES, _lease(HOME)),
    ):
        made = agent("POST", path, body)
        assert made.code == 201, made
        place = f"{path}/{body['metadata']['name']}"
        found = agent("GET", place)
        assert found.code == 200, found
        again = agent("PUT", place, found.body)
        assert again.code == 200, again
    assert agent("GET", f"{LEASES}/another").code == 403
    other = f"/apis/coordination.k8s.io/v1/namespaces/{cluster.open}/leases"
    assert agent("POST", other, _lease(HOME)).code == 403


def test_others_are_left_alone(cluster: Cluster) -> None:
    """The bounds are the agent's alone: its admin edits what he likes, in either namespace."""
    for namespace in (cluster.open, cluster.closed):
        for path in (f"{ES}/chain", f"{DEPLOYMENTS}/app"):
            write = Write("PATCH", path, _metadata(labels={"edited": "yes"}), MERGE)
            assert write.by(cluster.admin, namespace).code == 200


def test_the_agents_pods_are_admitted_as_restricted(cluster: Cluster) -> None:
    """Pod security of the level `restricted` takes the agent's pods, and refuses one with less."""
    selector = f"app.kubernetes.io/name={HOME}"
    pods = f"/api/v1/namespaces/{HOME}/pods"
    cluster.soon(lambda: len(cluster.admin("GET", f"{pods}?labelSelector={selector}").body["items"]) == 2, "two pods")
    job = _kept("Pod", "of-the-cronjob", spec=pod_of(kustomize("cronjob"))["spec"])
    admitted = cluster.admin("POST", f"{pods}?dryRun=All", job)
    assert admitted.code == 201, admitted
    plain = _kept("Pod", "plain", spec={"containers": [{"name": "c", "image": IMAGE}]})
    refused = cluster.admin("POST", pods, plain)
    assert refused.code == 403
    assert "restricted" in refused.words


def test_the_rules_pass_the_servers_own_type_check(cluster: Cluster) -> None:
    """No expression of ours makes the API server warn about a field that is not there."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    def checked() -> list[Object]:
        found = [p for p in cluster.admin("GET", path).body["items"] if p["metadata"]["name"].startswith(HOME)]
        return [p.get("status", {}) for p in found if "typeChecking" in p.get("status", {})]

    cluster.soon(lambda: len(checked()) == len(ALWAYS) + len(BOUND_BY), "all are checked")
    assert [status["typeChecking"] for status in checked() if status["typeChecking"]] == []


@pytest.fixture(scope="module")
def mighty(cluster: Cluster, agent: Api) -> Iterator[Api]:
    """The same account where somebody has made it an admin of the cluster: only admission is left to bound it."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{cluster.open}-mighty"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": HOME, "namespace": HOME}],
    }
    cluster.apply([binding])
    try:
        cluster.soon(lambda: agent("GET", "/apis/apps/v1/deployments").code == 200, "an admin may get all")
        cluster.soon(lambda: agent("GET", "/api/v1/configmaps").code == 200, "an admin may list all")
        yield agent
    finally:
        cluster.remove([binding])
        cluster.soon(lambda: agent("GET", "/api/v1/configmaps").code == 403, "no admin any more")


@pytest.mark.parametrize("name", FORBIDDEN)
def test_admission_refuses_what_the_agent_has_no_business_with(mighty: Api, cluster: Cluster, name: str) -> None:
    """Even an account that may do everything changes nothing but what a heal takes."""
    answer = FORBIDDEN[name].by(mighty, cluster.open)
    assert answer.code in (403, 422), answer
    assert ADMISSION in answer.words
    assert FORBIDDEN[name].said in answer.words
