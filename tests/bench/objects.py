"""The objects of the benchmark's world: as big and as varied as a production cluster's, in a steady state.

Each kind is built once, with its managedFields made by the API server's own rules, and then copied with other names.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.esohash import created_by, data_hash, field_manager, synced_resource_version
from agent.sandbox.apiserver.kinds import BY_NAME
from agent.sandbox.apiserver.managedfields import Manager, after_update

Object = dict[str, Any]

DAY = 86_400.0
PODS_EACH = 5
CHAINS_PER_NAMESPACE = 100
VAULTS = ("bench-a-kv", "bench-b-kv", "bench-c-kv")
KEYS = ("username", "password", "connection-string")


@dataclass(frozen=True)
class Size:
    """How big the world is: ``chains`` ExternalSecrets, as many Secrets and Deployments, five times as many pods."""

    chains: int

    @property
    def nodes(self) -> int:
        """As many as 200 pods a node need."""
        return max(3, self.chains * PODS_EACH // 200)


def namespace_of(index: int) -> str:
    """The namespace of a chain."""
    return f"team-{index // CHAINS_PER_NAMESPACE:03d}"


def vault_of(index: int) -> str:
    """The vault that a chain reads, one for each namespace."""
    return VAULTS[index // CHAINS_PER_NAMESPACE % len(VAULTS)]


def vault_secret(index: int) -> str:
    """The name of the vault secret that a chain reads."""
    return f"service-{index:05d}-credentials"


def value(index: int, key: str) -> str:
    """What that secret holds under a key."""
    return {
        "username": f"service-{index:05d}",
        "password": f"{uuid.uuid5(uuid.NAMESPACE_OID, f'{index}/{key}')}-{index:05d}",
        "connection-string": f"mongodb+srv://service-{index:05d}:{uuid.uuid5(uuid.NAMESPACE_OID, str(index))}"
        f"@cluster0.internal.example.com/service_{index:05d}?retryWrites=true&w=majority&authSource=admin&tls=true",
    }[key]


def every_object(size: Size, now: float) -> Iterator[Object]:
    """The whole cluster, owners before what they own."""
    namespaces = sorted({namespace_of(index) for index in range(size.chains)})
    yield from (_node(number, now) for number in range(size.nodes))
    for number, name in enumerate(namespaces):
        yield _namespace(name, now)
        yield _store(name, VAULTS[number % len(VAULTS)], now)
    templates = _Templates(now)
    for index in range(size.chains):
        yield from templates.chain(index, size.nodes)


class _Templates:
    """One object of each kind as text, in which names, uids and times are replaced."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._texts = {
            "ExternalSecret": json.dumps(_external_secret(now)),
            "Deployment": json.dumps(_deployment(now)),
            "ReplicaSet": json.dumps(_replica_set(now)),
            "Pod": json.dumps(_pod(now)),
        }

    def chain(self, index: int, nodes: int) -> Iterator[Object]:
        namespace, name = namespace_of(index), f"service-{index:05d}"
        uids = {kind: str(uuid.uuid4()) for kind in ("ExternalSecret", "Deployment", "ReplicaSet")}
        common = {
            "NAMESPACE": namespace,
            "NAME": name,
            "VAULTSECRET": vault_secret(index),
            "UID-RS": uids["ReplicaSet"],
            "UID-DEPLOYMENT": uids["Deployment"],
        }
        external_secret = self._made("ExternalSecret", {**common, "UID-SELF": uids["ExternalSecret"]})
        meta = external_secret["metadata"]
        refreshed = self._now - index % 1200
        external_secret["status"] |= {
            "refreshTime": _time(refreshed),
            "syncedResourceVersion": synced_resource_version(
                meta["generation"], meta.get("labels", {}), meta.get("annotations", {})
            ),
        }
        yield external_secret
        yield _secret(index, external_secret, self._now)
        yield self._made("Deployment", {**common, "UID-SELF": uids["Deployment"]})
        yield self._made("ReplicaSet", {**common, "UID-SELF": uids["ReplicaSet"]})
        for number in range(PODS_EACH):
            place = index * PODS_EACH + number
            created = self._now - 10 * DAY + 7 * place % 86_400
            yield self._made(
                "Pod",
                {
                    **common,
                    "UID-SELF": str(uuid.uuid4()),
                    "SUFFIX": f"{place * 7919 % 1_048_576:05x}",
                    "TOKEN": f"{place * 104_729 % 1_048_576:05x}",
                    "NODE": f"node-{place % nodes:04d}",
                    "IP": f"10.{place // 62_500}.{place // 250 % 250}.{place % 250 + 1}",
                    "CREATED": _time(created),
                    "STARTED": _time(created + 3),
                    "READY": _time(created + 12),
                },
            )

    def _made(self, kind: str, words: dict[str, str]) -> Object:
        text = self._texts[kind]
        for word, meant in words.items():
            text = text.replace(f"@{word}@", meant)
        made: Object = json.loads(text)
        return made


def _time(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _managed(obj: Object, *writes: tuple[str, str, float]) -> Object:
    """Give an object the managedFields that these writers left: (manager, subresource, when), the creator first."""
    kind = BY_NAME[obj["apiVersion"], obj["kind"]]
    status = obj.pop("status", None)
    before: Object | None = None
    for manager, subresource, at in writes:
        after = {**obj, "metadata": dict(obj["metadata"])}
        if subresource == "status" and status is not None:
            after["status"] = status
        elif before is not None and "status" in before:
            after["status"] = before["status"]
        writer = Manager(manager, "Update", obj["apiVersion"], subresource)
        after["metadata"]["managedFields"] = after_update(kind, before, after, writer, _time(at))
        before = after
    assert before is not None
    return before


def _meta(name: str, namespace: str | None, uid: str, created: float, **more: Any) -> Object:
    meta: Object = {"name": name, "uid": uid, "creationTimestamp": _time(created), **more}
    return meta if namespace is None else {**meta, "namespace": namespace}


def _namespace(name: str, now: float) -> Object:
    labels = {"kubernetes.io/metadata.name": name, "pod-security.kubernetes.io/enforce": "restricted", "team": name}
    meta = _meta(name, None, str(uuid.uuid4()), now - 90 * DAY, labels=labels)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta, "spec": {"finalizers": ["kubernetes"]}}
    return _managed({**namespace, "status": {"phase": "Active"}}, ("kubectl-create", "", now - 90 * DAY))


def _store(namespace: str, vault: str, now: float) -> Object:
    azure = {
        "vaultUrl": f"https://{vault}.vault.azure.net", "authType": "WorkloadIdentity", "useAzureSDK": True,
        "serviceAccountRef": {"name": "external-secrets-reader"},
    }  # fmt: skip
    return _managed(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "SecretStore",
            "metadata": _meta("vault", namespace, str(uuid.uuid4()), now - 80 * DAY, generation=1),
            "spec": {"provider": {"azurekv": azure}, "refreshInterval": 0},
            "status": {
                "capabilities": "ReadWrite",
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "Valid", "message": "store validated",
                     "lastTransitionTime": _time(now - 80 * DAY)}
                ],
            },
        },
        ("argocd-controller", "", now - 80 * DAY),
        ("external-secrets", "status", now - 80 * DAY),
    )  # fmt: skip


def _labels(part: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "@NAME@",
        "app.kubernetes.io/instance": "@NAME@-production",
        "app.kubernetes.io/component": part,
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": "service-4.12.3",
        "team": "@NAMESPACE@",
    }


def _external_secret(now: float) -> Object:
    created = now - 30 * DAY
    data = [
        {
            "secretKey": key,
            "remoteRef": {
                "key": "@VAULTSECRET@", "property": key, "conversionStrategy": "Default", "decodingStrategy": "None",
                "metadataPolicy": "None", "nullBytePolicy": "Ignore",
            },
        }
        for key in KEYS
    ]  # fmt: skip
    target = {"name": "@NAME@", "creationPolicy": "Owner", "deletionPolicy": "Retain"}
    return _managed(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": _meta(
                "@NAME@", "@NAMESPACE@", "@UID-SELF@", created, generation=1, labels=_labels("secrets"),
                annotations={"argocd.argoproj.io/tracking-id":
                             "@NAME@:external-secrets.io/ExternalSecret:@NAMESPACE@/@NAME@"},
            ),
            "spec": {
                "refreshInterval": "1h",
                "refreshPolicy": "Periodic",
                "secretStoreRef": {"kind": "SecretStore", "name": "vault"},
                "target": target,
                "data": data,
            },
            "status": {
                "binding": {"name": "@NAME@"},
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "secret synced",
                     "lastTransitionTime": _time(created)}
                ],
                "refreshTime": _time(now),
                "syncedResourceVersion": "",
            },
        },
        ("argocd-controller", "", created),
        ("external-secrets", "status", now - 600),
    )  # fmt: skip


def _secret(index: int, owner: Object, now: float) -> Object:
    """As ESO writes it: the ExternalSecret's labels and annotations copied, and its own marks."""
    created, meta = now - 30 * DAY, owner["metadata"]
    data = {key: value(index, key).encode() for key in KEYS}
    reference = {
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": meta["name"], "uid": meta["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    labels = {
        **meta["labels"],
        "reconcile.external-secrets.io/managed": "true",
        "reconcile.external-secrets.io/created-by": created_by(meta["namespace"], meta["name"]),
    }
    annotations = {**meta["annotations"], "reconcile.external-secrets.io/data-hash": data_hash(data)}
    return _managed(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": _meta(
                meta["name"], meta["namespace"], str(uuid.uuid4()), created, labels=labels, annotations=annotations,
                ownerReferences=[reference],
            ),
            "type": "Opaque",
            "data": {key: b64encode(one).decode() for key, one in data.items()},
        },
        (field_manager(meta["name"]), "", created),
    )  # fmt: skip


def _template() -> Object:
    secret_variables = [
        {"name": key.upper().replace("-", "_"), "valueFrom": {"secretKeyRef": {"name": "@NAME@", "key": key}}}
        for key in KEYS
    ]
    plain = {"LOG_LEVEL": "info", "OTEL_SERVICE_NAME": "@NAME@"}
    container = {
        "name": "app",
        "image": "registry.example.com/platform/service:4.12.3@sha256:" + "3f" * 32,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            *({"name": name, "value": text} for name, text in plain.items()),
            *secret_variables,
        ],
        "envFrom": [{"configMapRef": {"name": "@NAME@-settings"}}],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/service", "readOnly": True},
                         {"name": "kube-api-access", "readOnly": True,
                          "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }  # fmt: skip
    projected = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
                                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]  # fmt: skip
    return {
        "metadata": {
            "labels": {**_labels("api"), "pod-template-hash": "7c9d8f6b5"},
            "annotations": {"prometheus.io/scrape": "true", "checksum/config": "9e" * 32},
        },
        "spec": {
            "containers": [container],
            "volumes": [
                {"name": "config", "configMap": {"name": "@NAME@-config", "defaultMode": 420}},
                {"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": projected}},
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "@NAME@",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "schedulerName": "default-scheduler",
        },
    }  # fmt: skip


def _selector() -> Object:
    return {"matchLabels": {"app.kubernetes.io/name": "@NAME@", "app.kubernetes.io/instance": "@NAME@-production"}}


def _deployment(now: float) -> Object:
    created, template = now - 20 * DAY, _template()
    del template["metadata"]["labels"]["pod-template-hash"]
    template["spec"]["volumes"].pop()
    template["spec"]["containers"][0]["volumeMounts"].pop()
    conditions = [
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
         "message": "Deployment has minimum availability.", "lastUpdateTime": _time(created + 30),
         "lastTransitionTime": _time(created + 30)},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
         "message": 'ReplicaSet "@NAME@-7c9d8f6b5" has successfully progressed.',
         "lastUpdateTime": _time(created + 30), "lastTransitionTime": _time(created)},
    ]  # fmt: skip
    return _managed(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _meta(
                "@NAME@", "@NAMESPACE@", "@UID-SELF@", created, generation=7, labels=_labels("api"),
                annotations={"deployment.kubernetes.io/revision": "7",
                             "argocd.argoproj.io/tracking-id": "@NAME@:apps/Deployment:@NAMESPACE@/@NAME@"},
            ),
            "spec": {
                "replicas": PODS_EACH,
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                "selector": _selector(),
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": template,
            },
            "status": {
                "observedGeneration": 7, "replicas": PODS_EACH, "updatedReplicas": PODS_EACH,
                "readyReplicas": PODS_EACH, "availableReplicas": PODS_EACH, "conditions": conditions,
            },
        },
        ("argocd-controller", "", created),
        ("kube-controller-manager", "status", created + 30),
    )  # fmt: skip


def _replica_set(now: float) -> Object:
    created = now - 10 * DAY
    owner = {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "@NAME@", "uid": "@UID-DEPLOYMENT@", "controller": True,
        "blockOwnerDeletion": True,
    }  # fmt: skip
    template = _template()
    return _managed(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": _meta(
                "@NAME@-7c9d8f6b5", "@NAMESPACE@", "@UID-SELF@", created, generation=1,
                labels=template["metadata"]["labels"], ownerReferences=[owner],
                annotations={"deployment.kubernetes.io/desired-replicas": "5",
                             "deployment.kubernetes.io/max-replicas": "7", "deployment.kubernetes.io/revision": "7"},
            ),
            "spec": {"replicas": PODS_EACH, "selector": _selector(), "template": template},
            "status": {"replicas": PODS_EACH, "readyReplicas": PODS_EACH, "availableReplicas": PODS_EACH,
                       "fullyLabeledReplicas": PODS_EACH, "observedGeneration": 1},
        },
        ("kube-controller-manager", "", created),
        ("kube-controller-manager", "status", created + 30),
    )  # fmt: skip


def _pod(now: float) -> Object:
    """Its times are words to be replaced: no two pods of a rollout start in the same second."""
    template = _template()
    template["spec"]["volumes"][-1]["name"] = "kube-api-access-@TOKEN@"
    template["spec"]["containers"][0]["volumeMounts"][-1]["name"] = "kube-api-access-@TOKEN@"
    owner = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "@NAME@-7c9d8f6b5", "uid": "@UID-RS@",
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    conditions = [
        {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": "@READY@"} for kind in kinds
    ]
    status = {
        "name": "app", "ready": True, "started": True, "restartCount": 0, "lastState": {},
        "image": template["spec"]["containers"][0]["image"],
        "imageID": "registry.example.com/platform/service@sha256:" + "3f" * 32,
        "containerID": "containerd://" + "5a" * 32,
        "state": {"running": {"startedAt": "@STARTED@"}},
    }  # fmt: skip
    tolerations = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in ("not-ready", "unreachable")
    ]
    ip = {"podIP": "@IP@", "podIPs": [{"ip": "@IP@"}], "hostIP": "10.240.0.4", "hostIPs": [{"ip": "10.240.0.4"}]}
    pod = _managed(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": _meta(
                "@NAME@-7c9d8f6b5-@SUFFIX@", "@NAMESPACE@", "@UID-SELF@", now, **template["metadata"],
                generateName="@NAME@-7c9d8f6b5-", ownerReferences=[owner],
            ),
            "spec": {**template["spec"], "nodeName": "@NODE@", "tolerations": tolerations, "priority": 0,
                     "enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority"},
            "status": {"phase": "Running", "qosClass": "Burstable", "startTime": "@CREATED@", **ip,
                       "conditions": conditions, "containerStatuses": [status]},
        },
        ("kube-controller-manager", "", now - 1),
        ("kubelet", "status", now),
    )  # fmt: skip
    pod["metadata"]["creationTimestamp"] = "@CREATED@"
    for entry, word in zip(pod["metadata"]["managedFields"], ("@CREATED@", "@READY@"), strict=True):
        entry["time"] = word
    return pod


def _node(number: int, now: float) -> Object:
    name, ready = f"node-{number:04d}", {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    images = [
        {"names": [f"registry.example.com/image-{i:03d}@sha256:{'ab' * 32}", f"registry.example.com/image-{i:03d}:1"],
         "sizeBytes": 52_428_800 + i}
        for i in range(50)
    ]  # fmt: skip
    return _managed(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": _meta(name, None, str(uuid.uuid4()), now - 60 * DAY, labels={
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "agentpool": "default",
                "topology.kubernetes.io/zone": f"westeurope-{number % 3 + 1}"}),
            "spec": {"podCIDR": f"10.{number // 250}.{number % 250}.0/24", "providerID": f"azure:///bench/{name}"},
            "status": {"conditions": [{**ready, "lastHeartbeatTime": _time(now), "message": "kubelet is posting ready",
                                       "lastTransitionTime": _time(now - 60 * DAY)}], "images": images},
        },
        ("cloud-node-manager", "", now - 60 * DAY),
        ("kubelet", "status", now),
    )  # fmt: skip
