"""What PodDisruptionBudgets allow, in a world with evictions."""

from typing import Any

import pytest
from actors_world import NS, World, run, template, workload, world

from agent.sandbox.client import DEPLOYMENTS, PDBS, PODS, STATEFUL_SETS, ApiError, Object


def budget(**spec: Any) -> Object:
    selector = {"matchLabels": {"app": "shop"}}
    meta = {"name": "budget"}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta,
        "spec": {"selector": selector, **spec},
    }


async def evict(w: World, name: str) -> None:
    meta = {"name": name, "namespace": NS}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
    await w.client.request("POST", PODS.path(NS, name, "eviction"), body=body)


async def shop(w: World, replicas: int, **spec: Any) -> None:
    """A settled Deployment with a budget."""
    await w.secret(password="one")
    await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=replicas))
    await w.settled("shop", replicas)
    await w.create(PDBS, budget(**spec))
    await w.until(lambda: w.status(PDBS, "budget").get("observedGeneration") == 1)


def counts(w: World) -> tuple[int, int, int, int]:
    """expected, healthy, desired, allowed."""
    status = w.status(PDBS, "budget")
    names = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
    return tuple(status.get(n, 0) for n in names)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 3}, (4, 4, 3, 1)),
        ({"minAvailable": "60%"}, (4, 4, 3, 1)),
        ({"maxUnavailable": 2}, (4, 4, 2, 2)),
        ({"maxUnavailable": "30%"}, (4, 4, 2, 2)),
        ({"maxUnavailable": 0}, (4, 4, 4, 0)),
        ({"minAvailable": 5}, (4, 4, 5, 0)),
    ],
)
def test_numbers_and_percentages_are_counted_as_kubernetes_does(
    spec: dict[str, Any], expected: tuple[int, int, int, int]
) -> None:
    """minAvailable and maxUnavailable, as number or percentage of the owners' scale, both rounded up."""

    @run
    async def check() -> None:
        async with world() as w:
            await shop(w, 4, **spec)
            await w.until(lambda: counts(w) == expected)
            told = w.status(PDBS, "budget")["conditions"][0]
            assert told["reason"] == ("SufficientPods" if expected[3] else "InsufficientPods")

    check()


@run
async def test_an_eviction_uses_up_what_is_allowed_until_the_successor_is_ready() -> None:
    """After one eviction the next is refused, and allowed again once the new pod is ready."""
    async with world() as w:
        await shop(w, 3, minAvailable=2)
        await w.until(lambda: counts(w)[3] == 1)
        names = [p["metadata"]["name"] for p in w.pods()]
        await evict(w, names[0])
        with pytest.raises(ApiError) as refused:
            await evict(w, names[1])
        assert refused.value.code == 429
        await w.until(lambda: w.pod(names[0]) is None)
        await w.until(lambda: counts(w) == (3, 3, 2, 1))
        assert not w.status(PDBS, "budget").get("disruptedPods")
        await evict(w, names[1])


@run
async def test_an_evicted_pod_that_is_never_deleted_counts_again_after_two_minutes() -> None:
    """A pod noted as disrupted is taken out of the count for two minutes, not for ever."""
    async with world() as w:
        await shop(w, 3, minAvailable=2)
        await w.until(lambda: counts(w)[3] == 1)
        noted = {w.pods()[0]["metadata"]["name"]: w.clock.rfc3339()}
        await w.client.merge_patch(PDBS, NS, "budget", {"status": {"disruptedPods": noted}}, subresource="status")
        await w.until(lambda: counts(w) == (3, 2, 2, 0))
        w.clock.advance(121)
        await w.until(lambda: counts(w) == (3, 3, 2, 1))


@run
async def test_pods_that_are_not_ready_are_not_healthy() -> None:
    """When the backend revokes the value nothing is healthy and nothing may be disrupted."""
    async with world() as w:
        await w.secret(password="one")
        made = template(app={"app": {"env": "PASSWORD", "backend": "b"}})
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", made, replicas=2))
        await w.settled("shop", 2)
        await w.create(PDBS, budget(maxUnavailable=1))
        await w.until(lambda: counts(w) == (2, 2, 1, 1))
        w.kubelet.backends.revoke("b", "one")
        await w.until(lambda: counts(w) == (2, 0, 1, 0))


@run
async def test_a_stateful_set_has_a_scale_and_a_daemon_set_has_none() -> None:
    """A percentage works for a StatefulSet; for pods whose owner has no scale the budget says SyncFailed."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(STATEFUL_SETS, workload("StatefulSet", "db", template(), replicas=2, serviceName="db"))
        await w.create(PDBS, budget(maxUnavailable="50%"))
        await w.until(lambda: counts(w) == (2, 2, 1, 1))
        from agent.sandbox.client import DAEMON_SETS

        await w.create(DAEMON_SETS, workload("DaemonSet", "agent", template()))
        await w.until(lambda: w.status(PDBS, "budget")["conditions"][0]["reason"] == "SyncFailed")
        assert counts(w)[3] == 0
