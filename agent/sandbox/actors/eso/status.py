"""The status of an ExternalSecret: the Ready condition and the marks of the last good sync."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.sandbox.actors.eso.refresh import current_version
from agent.sandbox.clock import WorldClock

SYNCED = "SecretSynced"
FAILED = "SecretSyncedError"


def synced(
    external_secret: Mapping[str, Any],
    clock: WorldClock,
    begun: float,
    *,
    reason: str,
    message: str,
    binding: str | None,
) -> dict[str, Any]:
    """The status after a good sync: ``refreshTime`` is when it began, in whole seconds."""
    status = _with_ready(external_secret, clock, "True", reason, message)
    status["refreshTime"] = clock.rfc3339(begun)
    status["syncedResourceVersion"] = current_version(external_secret)
    return _bound(status, binding)


def failed(
    external_secret: Mapping[str, Any], clock: WorldClock, message: str, *, binding: str | None
) -> dict[str, Any]:
    """The status after a failure: neither refreshTime nor syncedResourceVersion move."""
    status = _with_ready(external_secret, clock, "False", FAILED, message)
    status.setdefault("refreshTime", None)
    return _bound(status, binding)


def _bound(status: dict[str, Any], binding: str | None) -> dict[str, Any]:
    if binding is not None:
        status["binding"] = {"name": binding}
    status.setdefault("binding", {"name": ""})
    return status


def with_condition(
    conditions: list[dict[str, Any]], clock: WorldClock, *, status: str, reason: str, message: str
) -> list[dict[str, Any]]:
    """Conditions with a new Ready; its ``lastTransitionTime`` moves only with its status."""
    old = next((condition for condition in conditions if condition.get("type") == "Ready"), None)
    new = {"type": "Ready", "status": status, "reason": reason, "message": message}
    if old and new.items() <= old.items():
        return conditions
    new["lastTransitionTime"] = old["lastTransitionTime"] if old and old.get("status") == status else clock.rfc3339()
    return [condition for condition in conditions if condition.get("type") != "Ready"] + [new]


def _with_ready(
    external_secret: Mapping[str, Any], clock: WorldClock, ready: str, reason: str, message: str
) -> dict[str, Any]:
    status = dict(external_secret.get("status") or {})
    conditions = list(status.get("conditions") or [])
    status["conditions"] = with_condition(conditions, clock, status=ready, reason=reason, message=message)
    return status
