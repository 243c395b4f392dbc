"""What the API server fills in: only the defaults that somebody in this world reads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from agent.sandbox.apiserver.kinds import Kind
from agent.sandbox.apiserver.status import bad_request

Object = dict[str, Any]


def _pod_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    for volume in spec.get("volumes") or ():
        for source in ("secret", "configMap", "projected"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 420)


def _template(spec: Object) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        _pod_spec(template.setdefault("spec", {}))


def _pod(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _pod_spec(spec)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("enableServiceLinks", True)


def _deployment(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _template(spec)


def _replica_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)


def _stateful_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    _template(spec)


def _daemon_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    _template(spec)


def _job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    for name, value in (("parallelism", 1), ("completions", 1), ("backoffLimit", 6), ("completionMode", "NonIndexed")):
        spec.setdefault(name, value)
    spec.setdefault("suspend", False)
    _template(spec)


def _cron_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    for name, value in (
        ("concurrencyPolicy", "Allow"),
        ("successfulJobsHistoryLimit", 3),
        ("failedJobsHistoryLimit", 1),
    ):
        spec.setdefault(name, value)
    spec.setdefault("suspend", False)


def _secret(obj: Object) -> None:
    """Type, and stringData (write-only) into data. Raises StatusError 400 where data is no base64."""
    obj.setdefault("type", "Opaque")
    data = obj.get("data") or {}
    for value in data.values():
        _check_base64(value)
    for key, text in (obj.pop("stringData", None) or {}).items():
        data[key] = base64.b64encode(str(text).encode()).decode()
    obj.pop("data", None)
    if data:
        obj["data"] = data


def _check_base64(value: Any) -> None:
    problem = "json: cannot unmarshal into Go struct field Secret.data of type []uint8"
    if isinstance(value, str):
        try:
            base64.b64decode(value.encode(), validate=True)
        except (ValueError, binascii.Error):
            problem = "illegal base64 data at input byte 0"
        else:
            return
    raise bad_request(f'Secret in version "v1" cannot be handled as a Secret: {problem}')


def _config_map(obj: Object) -> None:
    for member in ("data", "binaryData"):
        if member in obj and not obj[member]:
            del obj[member]


def _namespace(obj: Object) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _external_secret(obj: Object) -> None:
    _external_secret_spec(obj.setdefault("spec", {}))


def _cluster_external_secret(obj: Object) -> None:
    inner = obj.setdefault("spec", {}).get("externalSecretSpec")
    if isinstance(inner, dict):
        _external_secret_spec(inner)


def _external_secret_spec(spec: Object) -> None:
    """Defaults of ESO's definition; refreshPolicy has none."""
    spec.setdefault("refreshInterval", "1h0m0s")
    target = spec.setdefault("target", {})
    target.setdefault("creationPolicy", "Owner")
    target.setdefault("deletionPolicy", "Retain")
    if isinstance(spec.get("secretStoreRef"), dict):
        spec["secretStoreRef"].setdefault("kind", "SecretStore")


_DEFAULTS: dict[str, Callable[[Object], None]] = {
    "Pod": _pod, "Deployment": _deployment, "ReplicaSet": _replica_set, "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set, "Job": _job, "CronJob": _cron_job, "Secret": _secret,
    "ConfigMap": _config_map, "Namespace": _namespace, "ExternalSecret": _external_secret,
    "ClusterExternalSecret": _cluster_external_secret,
}  # fmt: skip


def fill(kind: Kind, obj: Object) -> None:
    """Set the kind's defaults in place, on every write. Raises StatusError 400 for data that cannot be decoded."""
    for member in ("labels", "annotations", "ownerReferences", "finalizers"):
        if not obj["metadata"].get(member, True):
            del obj["metadata"][member]
    if kind.kind in _DEFAULTS:
        _DEFAULTS[kind.kind](obj)


def _quality(pod: Object) -> str:
    containers = [c.get("resources") or {} for c in pod["spec"].get("containers") or ()]
    if not any(c.get("requests") or c.get("limits") for c in containers):
        return "BestEffort"
    exact = all({"cpu", "memory"} <= (c.get("limits") or {}).keys() for c in containers)
    return (
        "Guaranteed"
        if exact and all(c.get("requests", c["limits"]) == c["limits"] for c in containers)
        else "Burstable"
    )


def first_status(kind: Kind, obj: Object) -> None:
    """The status an object begins with; what the creator sent as status is dropped."""
    if not kind.status or kind.keeps_status:
        return
    obj.pop("status", None)
    if kind.kind == "Pod":
        obj["status"] = {"phase": "Pending", "qosClass": _quality(obj)}
    elif kind.kind in ("PersistentVolumeClaim", "PersistentVolume"):
        obj["status"] = {"phase": "Pending"}
    elif kind.kind == "Namespace":
        obj["status"] = {"phase": "Active"}
    elif kind.kind == "PodDisruptionBudget":
        obj["status"] = dict.fromkeys(("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"), 0)
    elif not kind.custom:
        obj["status"] = {}
