"""The eviction subresource of pods: a delete that asks the PodDisruptionBudgets first."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.sandbox.apiserver.deletion import DeleteOptions, Deletion, check_preconditions, delete_options
from agent.sandbox.apiserver.kinds import PDBS, PODS
from agent.sandbox.apiserver.selectors import label_selector
from agent.sandbox.apiserver.status import Cause, StatusError, bad_request, forbidden, success, too_many_requests
from agent.sandbox.apiserver.store import Object, Stored
from agent.sandbox.apiserver.writes import Writes

RETRY_AFTER = 10
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_MAX_DISRUPTED = 2000


def _condition(obj: Object, name: str) -> Object:
    conditions = obj.get("status", {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == name), {})


def _ignores_budgets(pod: Object) -> bool:
    """A pod that is not serving anyway: pending, ended, or already being deleted."""
    return (
        pod.get("status", {}).get("phase") in ("Pending", "Succeeded", "Failed")
        or "deletionTimestamp" in pod["metadata"]
    )


def _refusal(message: str, *, retry_after: int = 0) -> StatusError:
    """A time is advised only where the budget is not computed yet: nobody knows when one has room again."""
    error = too_many_requests(_REFUSED, retry_after)
    error.details["causes"] = [Cause(reason="DisruptionBudget", message=message).encoded()]
    return error


class Evictions:
    """POST .../pods/NAME/eviction."""

    def __init__(self, writes: Writes, deletion: Deletion) -> None:
        self._writes = writes
        self._store = writes.store
        self._clock = writes.clock
        self._deletion = deletion

    def evict(self, namespace: str, name: str, body: Any, query: dict[str, str]) -> bytes:
        """Evict a pod. Raises StatusError 400, 404, 409, 429 (its budget is used up) or 500 (several budgets)."""
        options = _options(name, body, query)
        stored = self._writes.existing(PODS, namespace, name)
        pod = stored.decoded()
        if not _ignores_budgets(pod):
            check_preconditions(PODS, stored, options)
            self._ask_budgets(stored, pod, options)
            if not options.dry_run:
                self._mark(stored)
                options = msgspec.structs.replace(options, rv=None)  # our own mark moved the version just checked
        target = self._writes.existing(PODS, namespace, name)
        self._deletion.delete(PODS, target, options)
        return msgspec.json.encode(success(code=201))

    def _budgets(self, stored: Stored) -> list[Stored]:
        matching = []
        for budget in self._store.scan(PDBS, stored.namespace):
            terms = label_selector(budget.decoded().get("spec", {}).get("selector"))
            if terms and all(term.holds(stored.labels) for term in terms):
                matching.append(budget)
        return matching

    def _ask_budgets(self, stored: Stored, pod: Object, options: DeleteOptions) -> None:
        budgets = self._budgets(stored)
        if not budgets:
            return
        if len(budgets) > 1:
            # Sent with neither reason nor details by the real server.
            raise StatusError(
                500,
                "",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )
        budget = budgets[0].decoded()
        status = {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, **budget.get("status", {})}
        if _condition(pod, "Ready").get("status") != "True":
            always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
            if always or status["currentHealthy"] >= status["desiredHealthy"] > 0:
                return
        _verify(budget, status)
        if not options.dry_run:
            self._take(budgets[0], stored.name)

    def _take(self, budget: Stored, pod_name: str) -> None:
        now = self._clock.rfc3339()

        def take(obj: Object) -> None:
            status = obj["status"]
            status["disruptionsAllowed"] -= 1
            status.setdefault("disruptedPods", {})[pod_name] = now
            if status["disruptionsAllowed"] == 0:
                _set_condition(obj, {
                    "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
                    "observedGeneration": status.get("observedGeneration", 0), "lastTransitionTime": now,
                })  # fmt: skip

        self._writes.change(PDBS, budget, take, manager="kube-apiserver", subresource="status")

    def _mark(self, stored: Stored) -> None:
        """Leave on the pod why it goes: the DisruptionTarget condition."""
        now = self._clock.rfc3339()
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastTransitionTime": now,
        }  # fmt: skip
        self._writes.change(
            PODS, stored, lambda obj: _set_condition(obj, condition), manager="kube-apiserver", subresource="status"
        )


def _options(name: str, body: Any, query: dict[str, str]) -> DeleteOptions:
    if not isinstance(body, dict) or body.get("kind", "Eviction") != "Eviction":
        raise bad_request("the object provided is unrecognized (must be of type Eviction)")
    if body.get("apiVersion", "policy/v1") not in ("policy/v1", "policy/v1beta1"):
        raise bad_request(f'no kind "Eviction" is registered for version "{body["apiVersion"]}"')
    if (body.get("metadata") or {}).get("name", name) != name:
        raise bad_request("name in URL does not match name in Eviction object")
    return delete_options(body.get("deleteOptions"), query)


def _verify(budget: Object, status: Object) -> None:
    """Raise StatusError unless the budget is up to date and allows one disruption more."""
    name = budget["metadata"]["name"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _refusal(f"The disruption budget {name} is still being processed by the server.", retry_after=RETRY_AFTER)
    if status["disruptionsAllowed"] < 0:
        raise forbidden("policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > _MAX_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden("policy", "poddisruptionbudget", name, why)
    if status["disruptionsAllowed"] == 0:
        raise _refusal(_exhausted(name, status, _condition(budget, "DisruptionAllowed")))


def _exhausted(name: str, status: Object, condition: Object) -> str:
    """Why a budget without disruptions left refuses; its counts mean nothing after a failed sync."""
    told = condition.get("message") if condition.get("status") == "False" else ""
    if told and condition.get("reason") == "SyncFailed":
        return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {told}"
    needs, has = status["desiredHealthy"], status["currentHealthy"]
    if has <= needs:
        return f"The disruption budget {name} needs {needs} healthy pods and has {has} currently"
    reason = f" ({condition.get('reason')}): {told}" if told else ""
    return f"The disruption budget {name} does not allow evicting pods currently{reason}"


def _set_condition(obj: Object, condition: Object) -> None:
    status = obj.setdefault("status", {})
    old = _condition(obj, condition["type"])
    if old.get("status") == condition["status"]:
        condition = {**condition, "lastTransitionTime": old.get("lastTransitionTime", condition["lastTransitionTime"])}
    others = [c for c in status.get("conditions") or () if c.get("type") != condition["type"]]
    status["conditions"] = [*others, condition]
