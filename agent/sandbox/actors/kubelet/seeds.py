"""Container states of pods that were running before the kubelet came, read back from their status."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from agent.sandbox.actors.controller.objects import unix
from agent.sandbox.actors.kubelet.record import Ref
from agent.sandbox.actors.kubelet.resolve import Found
from agent.sandbox.actors.kubelet.status import ContainerState, Ended, PodStates, Role
from agent.sandbox.client import Object


def _role(spec: Object, *, init: bool) -> Role:
    if not init:
        return "app"
    return "sidecar" if spec.get("restartPolicy") == "Always" else "init"


def pod_states(pod: Object) -> PodStates:
    """The states of a pod's containers as its status tells them; never started where it does not."""
    status, spec = pod.get("status") or {}, pod["spec"]
    told = {c["name"]: c for k in ("initContainerStatuses", "containerStatuses") for c in status.get(k) or []}
    inits = spec.get("initContainers") or []
    states = PodStates(
        init=[_state(c, _role(c, init=True), told.get(c["name"])) for c in inits],
        app=[_state(c, "app", told.get(c["name"])) for c in spec["containers"]],
    )
    if inits:
        for each in [*states.init, *states.app]:
            if each.name not in told:
                each.waiting = ("PodInitializing", "")
    return states


def _state(spec: Object, role: Role, told: Object | None) -> ContainerState:
    state = ContainerState(name=spec["name"], image=spec.get("image", ""), role=role)
    if not told:
        return state
    now = told.get("state") or {}
    state.restarts, state.container_id = told.get("restartCount", 0), told.get("containerID", "")
    if "running" in now:
        state.running_since = unix(now["running"]["startedAt"])
        state.ready, state.started = bool(told.get("ready")), bool(told.get("started", True))
    elif "terminated" in now:
        state.ended = _ended(now["terminated"])
    elif "waiting" in now:
        state.waiting = (now["waiting"].get("reason", "ContainerCreating"), now["waiting"].get("message", ""))
    if last := (told.get("lastState") or {}).get("terminated"):
        state.last = _ended(last)
    return state


def _ended(told: Object) -> Ended:
    return Ended(
        exit_code=told.get("exitCode", 0),
        started_at=unix(told["startedAt"]) if told.get("startedAt") else 0.0,
        finished_at=unix(told["finishedAt"]) if told.get("finishedAt") else 0.0,
        container_id=told.get("containerID", ""),
    )


def secrets_holding(values: Mapping[Ref, str | bytes]) -> Found:
    """Secret objects with exactly these values, to be resolved as real ones are."""
    data: dict[str, dict[str, str]] = {}
    for (secret, key), value in values.items():
        octets = value.encode() if isinstance(value, str) else value
        data.setdefault(secret, {})[key] = base64.b64encode(octets).decode()
    return {("Secret", name): {"data": keys} for name, keys in data.items()}
