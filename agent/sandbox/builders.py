"""Kubernetes objects in one line each, for tests, the demo and world files.

Every builder answers a plain object that may be changed at will. Keyword arguments that a builder does not name go into
the object's spec as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.sandbox.client import Object

STORE = "vault"
"""The name of a store, where none is given."""
Ref = Sequence[str]
"""(Secret, key)."""


def _meta(name: str, namespace: str | None, labels: Any = None, annotations: Any = None) -> Object:
    meta: Object = {"name": name}
    if namespace is not None:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = dict(labels)
    if annotations:
        meta["annotations"] = dict(annotations)
    return meta


def namespace(
    name: str, *, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
) -> Object:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _meta(name, None, labels, annotations)}


def secret_store(vault: str, namespace: str, *, name: str = STORE, **spec: Any) -> Object:
    """A SecretStore of an Azure vault, given by its name or by its whole URL."""
    return _store("SecretStore", vault, _meta(name, namespace), spec)


def cluster_secret_store(vault: str, *, name: str = STORE, **spec: Any) -> Object:
    """A ClusterSecretStore of an Azure vault."""
    return _store("ClusterSecretStore", vault, _meta(name, None), spec)


def _store(kind: str, vault: str, metadata: Object, spec: Object) -> Object:
    url = vault if "://" in vault else f"https://{vault}.vault.azure.net"
    azure = {"vaultUrl": url, "authType": "WorkloadIdentity", "useAzureSDK": True}
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": {"provider": {"azurekv": azure}, **spec},
    }


def external_secret(
    name: str,
    namespace: str,
    data: Mapping[str, str | Mapping[str, Any]] | None = None,
    *,
    store: str = STORE,
    store_kind: str = "SecretStore",
    refreshInterval: str = "1h",
    target: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Object:
    """An ExternalSecret. ``data``: Secret key -> vault secret, or -> a whole remoteRef. ``target``: its fields."""
    entries = [
        {"secretKey": key, "remoteRef": {"key": remote} if isinstance(remote, str) else dict(remote)}
        for key, remote in (data or {}).items()
    ]
    body: Object = {"refreshInterval": refreshInterval, "secretStoreRef": {"name": store, "kind": store_kind}}
    body["target"] = {"name": name, "creationPolicy": "Owner", **(target or {})}
    if entries:
        body["data"] = entries
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": _meta(name, namespace, labels, annotations),
        "spec": {**body, **spec},
    }


def secret(name: str, namespace: str, values: Mapping[str, str], *, immutable: bool = False, **metadata: Any) -> Object:
    """A Secret made by hand. ``metadata``: labels, annotations and other fields of it."""
    obj: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {**_meta(name, namespace), **metadata}}
    return {**obj, "stringData": dict(values), **({"immutable": True} if immutable else {})}


def container(
    name: str = "app",
    *,
    image: str = "example/app:1",
    env: Mapping[str, Ref | str] | None = None,
    env_from: Sequence[str | Ref] = (),
    mounts: Mapping[str, str | Ref] | None = None,
    **fields: Any,
) -> Object:
    """A container.

    ``env``: variable -> (Secret, key), or -> a plain value. ``env_from``: Secrets, or (prefix, Secret).
    ``mounts``: path -> volume, or -> (volume, subPath).
    """
    made: Object = {"name": name, "image": image}
    if env:
        made["env"] = [_variable(variable, source) for variable, source in env.items()]
    if env_from:
        made["envFrom"] = [_all_of(source) for source in env_from]
    if mounts:
        made["volumeMounts"] = [_mount(path, volume) for path, volume in mounts.items()]
    return {**made, **fields}


def _variable(name: str, source: Ref | str) -> Object:
    if isinstance(source, str):
        return {"name": name, "value": source}
    secret_name, key = source
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": key}}}


def _all_of(source: str | Ref) -> Object:
    if isinstance(source, str):
        return {"secretRef": {"name": source}}
    prefix, secret_name = source
    return {"prefix": prefix, "secretRef": {"name": secret_name}}


def _mount(path: str, volume: str | Ref) -> Object:
    if isinstance(volume, str):
        return {"mountPath": path, "name": volume}
    name, sub_path = volume
    return {"mountPath": path, "name": name, "subPath": sub_path}


def pod_template(
    *containers: Object,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
    init: Sequence[Object] = (),
    volumes: Mapping[str, str | Mapping[str, Any]] | None = None,
    app: Mapping[str, Any] | None = None,
    one_per_node: bool = False,
    **spec: Any,
) -> Object:
    """A pod template.

    ``volumes``: name -> Secret, or -> a whole volume source. ``app``: how the programs behave (annotation
    ``sandbox/app``), by container, or that of the first container alone. ``one_per_node``: required anti-affinity.
    """
    notes = dict(annotations or {})
    if app:
        by_container = app if not {"env", "file"} & app.keys() else {containers[0]["name"]: app}
        notes["sandbox/app"] = json.dumps(by_container)
    body: Object = {"containers": list(containers)}
    if init:
        body["initContainers"] = list(init)
    if volumes:
        body["volumes"] = [{"name": name, **_volume(source)} for name, source in volumes.items()]
    if one_per_node:
        term = {"labelSelector": {"matchLabels": dict(labels)}, "topologyKey": "kubernetes.io/hostname"}
        body["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    metadata: Object = {"labels": dict(labels), **({"annotations": notes} if notes else {})}
    return {"metadata": metadata, "spec": {**body, **spec}}


def _volume(source: str | Mapping[str, Any]) -> Object:
    return {"secret": {"secretName": source}} if isinstance(source, str) else dict(source)


_OF_CONTAINER = ("image", "env", "env_from", "mounts", "ports", "readinessProbe")
_OF_TEMPLATE = ("init", "volumes", "app", "one_per_node")


def _template(name: str, given: dict[str, Any]) -> Object:
    """The pod template out of a workload's arguments; takes from ``given`` what belongs to it."""
    first = {key: given.pop(key) for key in _OF_CONTAINER if key in given}
    containers = [container(**first)] if first or "containers" not in given else []
    containers += given.pop("containers", [])
    parts = {key: given.pop(key) for key in _OF_TEMPLATE if key in given}
    labels = {"app": name, **given.pop("pod_labels", {})}
    pod_annotations = given.pop("pod_annotations", None)
    return pod_template(*containers, labels=labels, annotations=pod_annotations, **parts, **given.pop("pod", {}))


def _workload(kind: str, name: str, namespace: str, given: dict[str, Any]) -> Object:
    metadata = _meta(name, namespace, given.pop("labels", None), given.pop("annotations", None))
    template = _template(name, given)
    body: Object = {"selector": {"matchLabels": {"app": name}}, "template": template, **given}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": body}


def deployment(name: str, namespace: str, replicas: int = 1, **given: Any) -> Object:
    """A Deployment whose pods bear the label ``app: NAME``.

    One container ``app`` is made of ``image``, ``env``, ``env_from`` and ``mounts`` (see ``container``); ``containers``
    adds others. ``init``, ``volumes``, ``app``, ``one_per_node``: see ``pod_template``; ``pod``: other fields of the
    pod spec; ``pod_labels``, ``pod_annotations``; ``labels``, ``annotations``: of the Deployment. All else: its spec.
    """
    return _workload("Deployment", name, namespace, {"replicas": replicas, **given})


def statefulset(name: str, namespace: str, replicas: int = 1, **given: Any) -> Object:
    """A StatefulSet; arguments as for ``deployment``."""
    return _workload("StatefulSet", name, namespace, {"replicas": replicas, "serviceName": name, **given})


def daemonset(name: str, namespace: str, **given: Any) -> Object:
    """A DaemonSet; arguments as for ``deployment``."""
    return _workload("DaemonSet", name, namespace, given)


def job(name: str, namespace: str, **given: Any) -> Object:
    """A Job that runs once; arguments as for ``deployment``."""
    metadata = _meta(name, namespace, given.pop("labels", None), given.pop("annotations", None))
    given["pod"] = {"restartPolicy": "Never", **given.get("pod", {})}
    template = _template(name, given)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template, **given}}


def cron_job(name: str, namespace: str, schedule: str = "0 4 * * *", **given: Any) -> Object:
    """A CronJob; arguments as for ``job``."""
    made = job(name, namespace, **given)
    body = {"schedule": schedule, "jobTemplate": {"spec": made["spec"]}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": made["metadata"], "spec": body}


def pod(name: str, namespace: str, **given: Any) -> Object:
    """A pod without a controller; arguments as for ``deployment``."""
    annotations = {**(given.pop("annotations", None) or {}), **(given.pop("pod_annotations", None) or {})}
    labels = {**(given.pop("labels", None) or {}), **(given.pop("pod_labels", None) or {})}
    template = _template(name, {**given, "pod_annotations": annotations, "pod_labels": labels})
    metadata = {**_meta(name, namespace), **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def budget(name: str, namespace: str, app: str | None = None, **spec: Any) -> Object:
    """A PodDisruptionBudget over the pods of workload ``app`` (by default its own name): ``minAvailable=2``."""
    selector = {"matchLabels": {"app": app or name}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(name, namespace),
        "spec": {"selector": selector, **spec},
    }


BUILDERS: dict[str, Callable[..., Object]] = {
    "namespace": namespace,
    "secretStore": secret_store,
    "clusterSecretStore": cluster_secret_store,
    "externalSecret": external_secret,
    "secret": secret,
    "deployment": deployment,
    "statefulSet": statefulset,
    "daemonSet": daemonset,
    "job": job,
    "cronJob": cron_job,
    "pod": pod,
    "budget": budget,
}
"""By the name under which a world file calls them."""
