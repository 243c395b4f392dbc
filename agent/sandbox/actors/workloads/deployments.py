"""The Deployment controller: one ReplicaSet a template, moved step by step from the old ones to the newest."""

from __future__ import annotations

import json
from dataclasses import dataclass

from agent.sandbox.actors.controller.objects import (
    annotations_of,
    controller_uid,
    key_of,
    labels_of,
    matches,
    owner_reference,
    template_hash,
    terminating,
)
from agent.sandbox.actors.workloads.deployment_status import deployment_status, is_complete
from agent.sandbox.actors.workloads.hands import Hands
from agent.sandbox.actors.workloads.rolling import (
    Limits,
    ReplicaSetView,
    new_set_replicas,
    old_set_replicas,
    proportional,
)
from agent.sandbox.client import DEPLOYMENTS, PODS, REPLICA_SETS, ApiError, Object
from agent.sandbox.clock import WorldClock

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"


@dataclass(frozen=True)
class _Rollout:
    """A Deployment with its ReplicaSets, oldest first, and the one (if any) made from its present template."""

    deployment: Object
    sets: list[Object]
    new: Object | None

    @property
    def old(self) -> list[Object]:
        return [s for s in self.sets if s is not self.new]

    @property
    def limits(self) -> Limits:
        return limits_of(self.deployment)


def limits_of(deployment: Object) -> Limits:
    """The Deployment's size and fence posts; Recreate has neither surge nor a minimum."""
    spec = deployment["spec"]
    replicas = spec.get("replicas", 1)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Limits(replicas=replicas, surge=0, unavailable=0)
    rolling = strategy.get("rollingUpdate") or {}
    return Limits.of(replicas, rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%"))


def view(one: Object) -> ReplicaSetView:
    return ReplicaSetView(
        name=one["metadata"]["name"],
        created=one["metadata"].get("creationTimestamp", ""),
        replicas=one["spec"].get("replicas", 1),
        available=(one.get("status") or {}).get("availableReplicas", 0),
        max_replicas=int(annotations_of(one).get(MAXIMUM, "0")) or None,
    )


def same_template(one: Object, other: Object) -> bool:
    """Equal but for the label that the controller itself adds."""
    first, second = (json.loads(json.dumps(t)) for t in (one, other))
    for template in (first, second):
        found = template.setdefault("metadata", {}).get("labels") or {}
        found.pop(HASH, None)
    return bool(first == second)


class Deployments:
    """Reconciles one Deployment at a time."""

    def __init__(self, hands: Hands, clock: WorldClock) -> None:
        self._hands, self._clock = hands, clock
        stores = hands.stores
        self._deployments, self._sets, self._pods = stores.of(DEPLOYMENTS), stores.of(REPLICA_SETS), stores.of(PODS)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One step of the rollout. The answer is when its progress deadline passes, while it is under way."""
        deployment = self._deployments.get(namespace, name)
        if deployment is None:
            return None
        await self._adopt(deployment)
        rollout = self._rollout(deployment)
        if not terminating(deployment):
            if deployment["spec"].get("paused") or self._resized(rollout):
                await self._resize(rollout)
            elif (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
                await self._recreate(rollout)
            else:
                await self._roll(rollout)
        return await self._tell(namespace, name)

    async def _adopt(self, deployment: Object) -> None:
        owner = owner_reference("apps/v1", "Deployment", deployment)
        for one in self._sets.in_namespace(deployment["metadata"]["namespace"]):
            if (
                not controller_uid(one)
                and not terminating(one)
                and matches(deployment["spec"]["selector"], labels_of(one))
            ):
                await self._hands.adopt(REPLICA_SETS, one, owner)

    def _rollout(self, deployment: Object) -> _Rollout:
        sets = [s for s in self._sets.owned_by(deployment["metadata"]["uid"]) if not terminating(s)]
        sets.sort(key=lambda s: (s["metadata"].get("creationTimestamp", ""), s["metadata"]["name"]))
        new = next((s for s in sets if same_template(s["spec"]["template"], deployment["spec"]["template"])), None)
        return _Rollout(deployment, sets, new)

    def _resized(self, rollout: _Rollout) -> bool:
        wanted = str(rollout.limits.replicas)
        return any(
            annotations_of(s).get(DESIRED, wanted) != wanted for s in rollout.sets if s["spec"].get("replicas", 1)
        )

    async def _resize(self, rollout: _Rollout) -> None:
        limits = rollout.limits
        alive = [s for s in rollout.sets if s["spec"].get("replicas", 1)]
        if len(alive) <= 1:
            only = alive[0] if alive else rollout.new or (rollout.sets[-1] if rollout.sets else None)
            if only:
                await self._scale(rollout, {only["metadata"]["name"]: limits.replicas})
            return
        sizes = {s["metadata"]["name"]: s["spec"].get("replicas", 1) for s in alive}
        await self._scale(rollout, {**sizes, **proportional(limits, [view(s) for s in alive])})

    async def _recreate(self, rollout: _Rollout) -> None:
        await self._scale(rollout, {s["metadata"]["name"]: 0 for s in rollout.old})
        leftover = (p for s in rollout.old for p in self._pods.owned_by(s["metadata"]["uid"]))
        if any((p.get("status") or {}).get("phase") not in ("Succeeded", "Failed") for p in leftover):
            return
        rollout = await self._with_new(rollout, rollout.limits.replicas)
        await self._finish(rollout)

    async def _roll(self, rollout: _Rollout) -> None:
        limits = rollout.limits
        nothing = ReplicaSetView(name="", created="", replicas=0)
        rollout = await self._with_new(rollout, new_set_replicas(limits, nothing, [view(s) for s in rollout.old]))
        if rollout.new is None:
            return
        old = [view(s) for s in rollout.old]
        size = new_set_replicas(limits, view(rollout.new), old)
        if size != rollout.new["spec"].get("replicas", 1):
            await self._scale(rollout, {rollout.new["metadata"]["name"]: size})
        else:
            await self._scale(rollout, old_set_replicas(limits, view(rollout.new), old))
        await self._finish(rollout)

    async def _with_new(self, rollout: _Rollout, replicas: int) -> _Rollout:
        """The same with a ReplicaSet for the present template, which bears the highest revision."""
        revision = 1 + max((int(annotations_of(s).get(REVISION, "0")) for s in rollout.old), default=0)
        if rollout.new is None:
            await self._create(rollout.deployment, replicas, revision, rollout.limits)
        elif int(annotations_of(rollout.new).get(REVISION, "0")) < revision:
            notes = {REVISION: str(revision)}
            await self._hands.patch(REPLICA_SETS, rollout.new, {"metadata": {"annotations": notes}})
        rollout = self._rollout(rollout.deployment)
        current = annotations_of(rollout.new)[REVISION] if rollout.new else ""
        if current and annotations_of(rollout.deployment).get(REVISION) != current:
            notes = {REVISION: current}
            await self._hands.patch(DEPLOYMENTS, rollout.deployment, {"metadata": {"annotations": notes}})
        return rollout

    async def _create(self, deployment: Object, replicas: int, revision: int, limits: Limits) -> None:
        namespace, name = key_of(deployment)
        template = json.loads(json.dumps(deployment["spec"]["template"]))
        collisions = (deployment.get("status") or {}).get("collisionCount") or 0
        digest = template_hash(template, collisions)
        template.setdefault("metadata", {}).setdefault("labels", {})[HASH] = digest
        selector = json.loads(json.dumps(deployment["spec"]["selector"]))
        selector.setdefault("matchLabels", {})[HASH] = digest
        body: Object = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{name}-{digest}",
                "labels": template["metadata"]["labels"],
                "annotations": {
                    **{
                        k: v
                        for k, v in annotations_of(deployment).items()
                        if not k.startswith("kubectl.kubernetes.io/last-")
                    },
                    REVISION: str(revision),
                    DESIRED: str(limits.replicas),
                    MAXIMUM: str(limits.replicas + limits.surge),
                },
                "ownerReferences": [owner_reference("apps/v1", "Deployment", deployment)],
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        }
        if seconds := deployment["spec"].get("minReadySeconds"):
            body["spec"]["minReadySeconds"] = seconds
        try:
            await self._hands.create(REPLICA_SETS, namespace, body)
        except ApiError as error:
            if error.code != 409:
                raise
            if self._sets.get(namespace, f"{name}-{digest}") is None:
                raise
            await self._hands.tell(DEPLOYMENTS, deployment, {"collisionCount": collisions + 1})
            raise

    async def _scale(self, rollout: _Rollout, sizes: dict[str, int]) -> None:
        limits = rollout.limits
        notes = {DESIRED: str(limits.replicas), MAXIMUM: str(limits.replicas + limits.surge)}
        for one in rollout.sets:
            size = sizes.get(one["metadata"]["name"])
            if size is None:
                continue
            noted = {k: annotations_of(one).get(k) for k in notes} == notes
            if size != one["spec"].get("replicas", 1) or (size and not noted):
                await self._hands.patch(
                    REPLICA_SETS, one, {"metadata": {"annotations": notes}, "spec": {"replicas": size}}
                )

    async def _finish(self, rollout: _Rollout) -> None:
        """When the rollout is complete, old ReplicaSets beyond the history limit go."""
        deployment = self._deployments.by_uid(rollout.deployment["metadata"]["uid"])
        if deployment is None or not is_complete(deployment):
            return
        idle = [
            s for s in rollout.old if not s["spec"].get("replicas", 1) and not (s.get("status") or {}).get("replicas")
        ]
        idle.sort(key=lambda s: int(annotations_of(s).get(REVISION, "0")))
        surplus = len(idle) - deployment["spec"].get("revisionHistoryLimit", 10)
        for one in idle[: max(0, surplus)]:
            await self._hands.delete(REPLICA_SETS, one)

    async def _tell(self, namespace: str, name: str) -> float | None:
        deployment = self._deployments.get(namespace, name)
        if deployment is None:
            return None
        rollout = self._rollout(deployment)
        limits = rollout.limits
        status, again = deployment_status(
            deployment, rollout.sets, rollout.new, at_least=limits.replicas - limits.unavailable, now=self._clock.now()
        )
        await self._hands.tell(DEPLOYMENTS, deployment, status)
        return again
