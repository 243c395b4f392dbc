"""The Job controller: pods until enough of them have ended well, or too many badly."""

from __future__ import annotations

from agent.sandbox.actors.controller.objects import (
    active,
    condition,
    key_of,
    owner_reference,
    pod_from_template,
    ready,
    set_condition,
    terminating,
)
from agent.sandbox.actors.workloads.hands import Hands
from agent.sandbox.client import JOBS, PODS, Object
from agent.sandbox.clock import WorldClock


class Jobs:
    """Reconciles one Job at a time. Indexed completion and pod failure policies are not there."""

    def __init__(self, hands: Hands, clock: WorldClock) -> None:
        self._hands, self._clock = hands, clock
        self._jobs, self._pods = hands.stores.of(JOBS), hands.stores.of(PODS)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Start what is missing, or end the Job."""
        job = self._jobs.get(namespace, name)
        if job is None or terminating(job) or _is_over(job):
            return None
        spec, limit = job["spec"], job["spec"].get("backoffLimit", 6)
        running, succeeded, failed = self._count(job)
        wanted = spec.get("completions") or spec.get("parallelism", 1)
        ending = ""
        if failed > limit:
            ending = "Failed"
        elif succeeded >= wanted:
            ending = "Complete"
        if ending or spec.get("suspend"):
            await self._hands.delete_pods(running)
        else:
            missing = min(spec.get("parallelism", 1), wanted - succeeded) - len(running)
            await self._hands.create_pods(namespace, [self._pod(job)] * max(0, missing))
        await self._tell(job, ending)
        return None

    def _count(self, job: Object) -> tuple[list[Object], int, int]:
        pods = self._pods.owned_by(job["metadata"]["uid"])
        phases = [(p.get("status") or {}).get("phase") for p in pods]
        return [p for p in pods if active(p)], phases.count("Succeeded"), phases.count("Failed")

    def _pod(self, job: Object) -> Object:
        _, name = key_of(job)
        uid = job["metadata"]["uid"]
        extra = {
            "batch.kubernetes.io/job-name": name,
            "batch.kubernetes.io/controller-uid": uid,
            "job-name": name,
            "controller-uid": uid,
        }
        pod = pod_from_template(job["spec"]["template"], owner_reference("batch/v1", "Job", job), extra_labels=extra)
        if pod["spec"].get("restartPolicy") not in ("OnFailure", "Never"):
            pod["spec"]["restartPolicy"] = "Never"
        return pod

    async def _tell(self, job: Object, ending: str) -> None:
        running, succeeded, failed = self._count(job)
        before, now = job.get("status") or {}, self._clock.rfc3339()
        status: Object = {
            "active": 0 if ending else len(running),
            "ready": 0 if ending else sum(map(ready, running)),
            "succeeded": succeeded,
            "failed": failed,
            "startTime": before.get("startTime") or (None if job["spec"].get("suspend") else now),
        }
        if ending:
            reason, message = (
                ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
                if ending == "Failed"
                else ("CompletionsReached", "Reached expected number of succeeded pods")
            )
            new = {"type": ending, "status": "True", "reason": reason, "message": message}
            status["conditions"] = set_condition(before.get("conditions") or [], new, now)
            if ending == "Complete":
                status["completionTime"] = now
        await self._hands.tell(JOBS, job, status)


def _is_over(job: Object) -> bool:
    return any((condition(job, kind) or {}).get("status") == "True" for kind in ("Complete", "Failed"))
