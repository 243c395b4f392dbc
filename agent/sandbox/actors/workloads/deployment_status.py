"""A Deployment's status from its ReplicaSets': counters, and the Available and Progressing conditions. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.sandbox.actors.controller.objects import condition, set_condition, unix
from agent.sandbox.client import Object

_COUNTERS = ("replicas", "readyReplicas", "availableReplicas")


def is_complete(deployment: Object) -> bool:
    """All replicas are of the newest template and available, as of the last status."""
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    return (
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
        and all(status.get(k, 0) == wanted for k in ("updatedReplicas", "replicas", "availableReplicas"))
    )  # fmt: skip


def deployment_status(
    deployment: Object, sets: list[Object], new: Object | None, *, at_least: int, now: float
) -> tuple[Object, float | None]:
    """The status to write, and the world time at which it changes by itself (the progress deadline).

    ``at_least`` is how many pods have to be available for the condition Available.
    """
    spec, before = deployment["spec"], deployment.get("status") or {}
    status: Object = {k: sum((s.get("status") or {}).get(k, 0) for s in sets) for k in _COUNTERS}
    status["updatedReplicas"] = ((new or {}).get("status") or {}).get("replicas", 0)
    asked = sum(s["spec"].get("replicas", 1) for s in sets)
    status["unavailableReplicas"] = max(0, asked - status["availableReplicas"])
    status["observedGeneration"] = deployment["metadata"].get("generation", 1)
    stamp = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = list(before.get("conditions") or [])
    enough = status["availableReplicas"] >= at_least
    conditions = _set(conditions, _available(enough), stamp, refresh=False)
    progress, refresh = _progressing(deployment, status, new, now)
    if progress:
        conditions = _set(conditions, progress, stamp, refresh=refresh)
    status["conditions"] = conditions
    again = None
    if progress and progress["reason"] in ("ReplicaSetUpdated", "NewReplicaSetCreated"):
        found = next(c for c in conditions if c["type"] == "Progressing")
        again = unix(found["lastUpdateTime"]) + spec.get("progressDeadlineSeconds", 600) + 1
    return status, again


def _set(conditions: list[Object], new: Object, stamp: str, *, refresh: bool) -> list[Object]:
    changed = set_condition(conditions, new, stamp)
    if changed is conditions and not refresh:
        return conditions
    return [{**c, "lastUpdateTime": stamp} if c["type"] == new["type"] else c for c in changed]


def _available(enough: bool) -> Object:
    return {
        "type": "Available",
        "status": "True" if enough else "False",
        "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
    }


def _progressing(deployment: Object, status: Object, new: Object | None, now: float) -> tuple[Object | None, bool]:
    """The condition, and whether its update time moves although it says the same."""
    old = condition(deployment, "Progressing")
    wanted = deployment["spec"].get("replicas", 1)
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'
    if deployment["spec"].get("paused"):
        return _progress("Unknown", "DeploymentPaused", "Deployment is paused"), False
    if all(status[k] == wanted for k in ("updatedReplicas", "replicas", "availableReplicas")):
        return _progress("True", "NewReplicaSetAvailable", f"{subject} has successfully progressed."), False
    if old and old["reason"] == "NewReplicaSetAvailable" and status["replicas"] == status["updatedReplicas"]:
        # Pods that come and go after a finished rollout are no rollout.
        return None, False
    if old is None or _moved(deployment.get("status") or {}, status):
        return _progress("True", "ReplicaSetUpdated", f"{subject} is progressing."), True
    deadline = unix(old.get("lastUpdateTime") or old["lastTransitionTime"]) + deployment["spec"].get(
        "progressDeadlineSeconds", 600
    )
    if old["reason"] == "ProgressDeadlineExceeded" or now > deadline:
        return _progress("False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing."), False
    return _progress("True", "ReplicaSetUpdated", f"{subject} is progressing."), False


def _moved(before: Object, after: Object) -> bool:
    def old_replicas(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    more = any(after[k] > before.get(k, 0) for k in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return more or old_replicas(after) < old_replicas(before)


def _progress(status: str, reason: str, message: str) -> Object:
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}
