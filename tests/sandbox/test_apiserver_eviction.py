"""Evictions and PodDisruptionBudgets."""

from __future__ import annotations

from typing import Any

from apiserver_harness import NS, World, in_world, pod, refused

from agent.sandbox.client import PDBS, PODS, Object

LABELS = {"app": "a"}


async def _pod(made: World, name: str, *, ready: bool = True, phase: str = "Running") -> Object:
    await made.client.create(PODS, NS, pod(name, node="n1", labels=LABELS))
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    return await made.client.merge_patch(PODS, NS, name, {"status": status}, subresource="status")


async def _budget(made: World, name: str = "b", *, allowed: int = 1, observed: int = 1, **spec: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": LABELS}, "minAvailable": 1, **spec}}
    await made.client.create(PDBS, NS, body)
    status = {"disruptionsAllowed": allowed, "observedGeneration": observed, "currentHealthy": 1, "desiredHealthy": 1}
    await made.client.merge_patch(PDBS, NS, name, {"status": status}, subresource="status")


async def _evict(made: World, name: str, query: dict[str, str] | None = None, **options: Any) -> Object:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NS}}
    if options:
        body["deleteOptions"] = options
    return await made.client.request("POST", PODS.path(NS, name, "eviction"), query=query, body=body)


@in_world
async def test_without_a_budget_an_eviction_is_a_delete_with_grace(made: World) -> None:
    """The pod is marked for its grace period and says why; the answer is 201 Success."""
    await _pod(made, "p")
    answer = await _evict(made, "p")
    assert (answer["status"], answer["code"]) == ("Success", 201)
    evicted = await made.client.get(PODS, NS, "p")
    assert evicted["metadata"]["deletionGracePeriodSeconds"] == 30
    target = next(c for c in evicted["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert (target["status"], target["reason"]) == ("True", "EvictionByEvictionAPI")
    entry = made.server.audit[-2]
    assert (entry.verb, entry.resource, entry.subresource, entry.name, entry.code) == (
        "create",
        "pods",
        "eviction",
        "p",
        201,
    )


@in_world
async def test_a_budget_is_used_up(made: World) -> None:
    """The first eviction takes the one allowed disruption and is recorded in the budget; the second is 429."""
    await _budget(made, allowed=1)
    for name in ("p1", "p2"):
        await _pod(made, name)
    await _evict(made, "p1")
    status = (await made.client.get(PDBS, NS, "b"))["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["p1"]
    condition = next(c for c in status["conditions"] if c["type"] == "DisruptionAllowed")
    assert (condition["status"], condition["reason"]) == ("False", "InsufficientPods")
    error = await refused(_evict(made, "p2"), 429, "TooManyRequests")
    assert error.status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert error.status["details"]["causes"] == [
        {"reason": "DisruptionBudget", "message": "The disruption budget b needs 1 healthy pods and has 1 currently"}
    ]
    assert "deletionTimestamp" not in (await made.client.get(PODS, NS, "p2"))["metadata"]


@in_world
async def test_a_refusal_says_when_to_come_back(made: World) -> None:
    """429 carries Retry-After: 10 while the budget is not computed, and no advice once it is used up."""
    await _budget(made, allowed=0, observed=0)
    await _pod(made, "p")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    url = made.client.base_url + PODS.path(NS, "p", "eviction")
    async with made.client.session.post(url, json=body) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
    await made.client.merge_patch(PDBS, NS, "b", {"status": {"observedGeneration": 1}}, subresource="status")
    async with made.client.session.post(url, json=body) as answer:
        assert (answer.status, answer.headers.get("Retry-After")) == (429, None)


@in_world
async def test_a_budget_not_yet_computed_refuses(made: World) -> None:
    """While the budget's controller has not seen its newest spec, nothing is evicted."""
    await _budget(made, allowed=5, observed=0)
    await _pod(made, "p")
    error = await refused(_evict(made, "p"), 429, "TooManyRequests")
    assert "still being processed" in error.status["details"]["causes"][0]["message"]


@in_world
async def test_a_refusal_names_what_holds_the_budget(made: World) -> None:
    """A failed sync is named as such; healthy counts that would do are not blamed."""
    await _budget(made, allowed=0)
    await _pod(made, "p")
    for patch, words in (
        ({"currentHealthy": 5}, "does not allow evicting pods currently"),
        ({"conditions": [_denied("InsufficientPods", "wait")]}, "currently (InsufficientPods): wait"),
        ({"conditions": [_denied("SyncFailed", "no controller")]}, "because it failed sync: no controller"),
    ):
        await made.client.merge_patch(PDBS, NS, "b", {"status": patch}, subresource="status")
        error = await refused(_evict(made, "p"), 429)
        assert error.status["details"]["causes"][0]["message"].endswith(words)


def _denied(reason: str, message: str) -> Object:
    return {"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": message}


@in_world
async def test_two_budgets_are_a_server_error(made: World) -> None:
    """A pod matched by two budgets cannot be evicted: 500, with the words of the real server."""
    await _budget(made, "b1")
    await _budget(made, "b2")
    await _pod(made, "p")
    error = await refused(_evict(made, "p"), 500)
    assert error.status["message"].startswith("This pod has more than one PodDisruptionBudget")


@in_world
async def test_budgets_of_other_pods_and_empty_selectors_do_not_count(made: World) -> None:
    """A budget matches by its selector; one without any matches nothing."""
    await _budget(
        made, "other", allowed=0, selector={"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}
    )
    await _budget(made, "empty", allowed=0, selector={})
    await _pod(made, "p")
    await _evict(made, "p")


@in_world
async def test_pods_that_serve_nothing_are_not_protected(made: World) -> None:
    """Pending, ended and terminating pods are evicted whatever the budget says, and take nothing from it."""
    await _budget(made, allowed=0)
    await _pod(made, "pending", phase="Pending", ready=False)
    await _pod(made, "ended", phase="Failed", ready=False)
    await _pod(made, "terminating")
    await made.client.delete(PODS, NS, "terminating")
    for name in ("pending", "ended", "terminating"):
        await _evict(made, name)
    assert "disruptedPods" not in (await made.client.get(PDBS, NS, "b"))["status"]


@in_world
async def test_a_pod_that_is_not_ready_depends_on_the_policy(made: World) -> None:
    """IfHealthyBudget lets it go while the rest is healthy, AlwaysAllow always; neither takes a disruption."""
    await _budget(made, allowed=0)
    await _pod(made, "p1", ready=False)
    await _evict(made, "p1")
    await _pod(made, "p2", ready=False)
    await made.client.merge_patch(PDBS, NS, "b", {"status": {"currentHealthy": 0}}, subresource="status")
    await refused(_evict(made, "p2"), 429)
    await made.client.merge_patch(PDBS, NS, "b", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})
    await _evict(made, "p2")
    assert (await made.client.get(PDBS, NS, "b"))["status"]["disruptionsAllowed"] == 0


@in_world
async def test_a_dry_run_asks_the_budget_and_takes_nothing(made: World) -> None:
    """dryRun=All, in query or options, refuses and permits like the real thing, and changes nothing."""
    await _budget(made, allowed=1)
    before = await _pod(made, "p")
    await _evict(made, "p", {"dryRun": "All"})
    await _evict(made, "p", dryRun=["All"])
    assert await made.client.get(PODS, NS, "p") == before
    await made.client.merge_patch(PDBS, NS, "b", {"status": {"disruptionsAllowed": 0}}, subresource="status")
    await refused(_evict(made, "p", {"dryRun": "All"}), 429)
    assert [entry.dry_run for entry in made.server.audit if entry.subresource == "eviction"] == [True, True, True]


@in_world
async def test_an_eviction_means_one_pod(made: World) -> None:
    """Another uid is 409 and takes nothing from the budget, an absent pod 404, another name in the body 400."""
    await _budget(made, allowed=1)
    await _pod(made, "p")
    await refused(_evict(made, "p", preconditions={"uid": "other"}), 409, "Conflict")
    assert (await made.client.get(PDBS, NS, "b"))["status"]["disruptionsAllowed"] == 1
    error = await refused(_evict(made, "absent"), 404, "NotFound")
    assert error.status["message"] == 'pods "absent" not found'
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "q"}}
    await refused(made.client.request("POST", PODS.path(NS, "p", "eviction"), body=body), 400)


@in_world
async def test_a_uid_that_fits_evicts(made: World) -> None:
    """The uid as precondition, and a grace of its own, are honoured."""
    uid = (await _pod(made, "p"))["metadata"]["uid"]
    await _evict(made, "p", preconditions={"uid": uid}, gracePeriodSeconds=3)
    assert (await made.client.get(PODS, NS, "p"))["metadata"]["deletionGracePeriodSeconds"] == 3
