"""Pod status from the state of its containers, pure. Follows kubelet's getPhase and generateAPIPodStatus."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from agent.sandbox.actors.controller.objects import set_condition
from agent.sandbox.client import Object

Role = Literal["app", "init", "sidecar"]
Stamp = Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that is over; times are world seconds."""

    exit_code: int
    started_at: float
    finished_at: float
    container_id: str

    def as_json(self, stamp: Stamp) -> Object:
        return {
            "exitCode": self.exit_code,
            "reason": "Error" if self.exit_code else "Completed",
            "startedAt": stamp(self.started_at),
            "finishedAt": stamp(self.finished_at),
            "containerID": self.container_id,
        }


@dataclass(kw_only=True)
class ContainerState:
    """Where one container stands: waiting, running or ended, and how its last run ended."""

    name: str
    image: str
    role: Role = "app"
    waiting: tuple[str, str] = ("ContainerCreating", "")
    """Reason and message; counts while it neither runs nor has ended."""
    running_since: float | None = None
    ended: Ended | None = None
    last: Ended | None = None
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""

    @property
    def initialized(self) -> bool:
        """Whether it lets the next init container, or the app containers, start."""
        if self.role == "sidecar":
            return self.started
        return self.ended is not None and self.ended.exit_code == 0

    def as_json(self, stamp: Stamp) -> Object:
        state: Object
        if self.running_since is not None:
            state = {"running": {"startedAt": stamp(self.running_since)}}
        elif self.ended:
            state = {"terminated": self.ended.as_json(stamp)}
        else:
            reason, message = self.waiting
            state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        ran = bool(self.container_id)
        return {
            "name": self.name,
            "image": self.image,
            "imageID": image_id(self.image) if ran else "",
            **({"containerID": self.container_id} if ran else {}),
            "ready": self.ready if self.role != "init" else self.initialized,
            "started": self.started and self.running_since is not None,
            "restartCount": self.restarts,
            "state": state,
            "lastState": {"terminated": self.last.as_json(stamp)} if self.last else {},
        }


def image_id(image: str) -> str:
    """A digest as a registry would have it, made up from the name."""
    return f"{image.split('@')[0].split(':')[0]}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


@dataclass(kw_only=True)
class PodStates:
    """All containers of a pod."""

    init: list[ContainerState] = field(default_factory=list)
    app: list[ContainerState] = field(default_factory=list)

    @property
    def initialized(self) -> bool:
        return all(c.initialized for c in self.init)


def phase(states: PodStates, restart_policy: str) -> str:
    """Pending until every app container has run once; afterwards by how they stand."""
    if restart_policy == "Never" and any(c.role == "init" and c.ended and c.ended.exit_code for c in states.init):
        return "Failed"
    if not states.initialized and all(c.running_since is None and not c.restarts and not c.ended for c in states.app):
        return "Pending"
    running = [c for c in states.app if c.running_since is not None]
    stopped = [c for c in states.app if c.running_since is None and (c.ended or c.last)]
    if len(running) + len(stopped) < len(states.app):
        return "Pending"
    if running or restart_policy == "Always":
        return "Running"
    if all(c.ended and c.ended.exit_code == 0 for c in stopped):
        return "Succeeded"
    if restart_policy == "Never":
        return "Failed"
    return "Running"


def _conditions(states: PodStates, now_phase: str) -> list[Object]:
    unfinished = [c.name for c in states.init if not c.initialized]
    unready = [c.name for c in states.app if not c.ready]
    done = now_phase == "Succeeded"
    initialized = {"type": "Initialized", "status": "True" if not unfinished else "False"}
    if done:
        initialized |= {"reason": "PodCompleted"}
    elif unfinished:
        message = f"containers with incomplete status: [{' '.join(unfinished)}]"
        initialized |= {"reason": "ContainersNotInitialized", "message": message}
    rest: list[Object] = []
    for kind in ("ContainersReady", "Ready"):
        found: Object = {"type": kind, "status": "False" if done or unready or unfinished else "True"}
        if done:
            found["reason"] = "PodCompleted"
        elif now_phase == "Failed":
            found["reason"] = "PodFailed"
        elif unready or unfinished:
            found |= {
                "reason": "ContainersNotReady",
                "message": f"containers with unready status: [{' '.join(unready)}]",
            }
        rest.append(found)
    return [initialized, *rest, {"type": "PodScheduled", "status": "True"}]


def merged_conditions(before: Sequence[Object], wanted: Sequence[Object], now: str) -> list[Object]:
    """Ours renewed, those of others (DisruptionTarget, readiness gates) kept."""
    conditions = list(before)
    for each in wanted:
        # A reason that no longer holds has to go too.
        stale = [c for c in conditions if c["type"] == each["type"] and c["status"] != each["status"]]
        full = {"reason": None, "message": None, **each} if stale else each
        conditions = set_condition(conditions, full, now)
    return [{k: v for k, v in c.items() if v is not None} for c in conditions]


def pod_status(pod: Object, states: PodStates, *, started_at: float, now: float, pod_ip: str, stamp: Stamp) -> Object:
    """The whole status that the kubelet answers for. ``pod`` is the last one seen, for what is to be kept."""
    before = pod.get("status") or {}
    restart_policy = pod["spec"].get("restartPolicy", "Always")
    now_phase = phase(states, restart_policy)
    status: Object = {
        "phase": now_phase,
        "conditions": merged_conditions(before.get("conditions") or [], _conditions(states, now_phase), stamp(now)),
        "hostIP": "127.0.0.1",
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "startTime": before.get("startTime") or stamp(started_at),
        "containerStatuses": [c.as_json(stamp) for c in states.app],
        "qosClass": before.get("qosClass") or qos_class(pod),
    }
    if states.init:
        status["initContainerStatuses"] = [c.as_json(stamp) for c in states.init]
    return status


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by cpu and memory of all containers."""
    resources = [
        c.get("resources") or {} for c in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
    ]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    for each in resources:
        limits = each.get("limits") or {}
        requests = {**limits, **(each.get("requests") or {})}
        if not {"cpu", "memory"} <= limits.keys() or any(requests[k] != limits[k] for k in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"
