"""From a Deployment to running containers with the Secret's values."""

from actors_world import NS, run, template, workload, world

from agent.sandbox.client import DEPLOYMENTS


@run
async def test_a_deployment_gets_its_pods_ready_and_each_start_is_recorded_with_its_value() -> None:
    """A Deployment's pods are spread over the nodes, get ready, and the record names the value that each received."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=3))
        await w.settled("shop", 3)
        assert {r.node for r in w.kubelet.record} == {"node-1", "node-2", "node-3"}
        assert [r.env for r in w.kubelet.running()] == [{("db", "password"): b"one"}] * 3
        assert {(r.namespace, r.container, r.kind, r.run) for r in w.kubelet.record} == {(NS, "app", "container", 0)}
