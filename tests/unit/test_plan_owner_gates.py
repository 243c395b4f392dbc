"""What owners and other programs say of a workload, from the API server's bytes to the gates that heed it."""

from __future__ import annotations

import pytest
from decode_builders import body, meta, pod

from agent.cluster.decode import decode_object
from agent.model import RESTARTERS, Pod, State, Workload, WorkloadKey
from agent.plan.gates import gate_opt_out, gate_owner
from agent.plan.recycle import PodCase, RecycleCase, Surroundings
from agent.policy import Policy

NOW = 2_000_000.0


def case(annotations: dict[str, str], *, template: dict[str, str] | None = None) -> RecycleCase:
    """A Deployment with these annotations, as it comes from the API server."""
    spec = {"template": {"metadata": {"annotations": template or {}}, "spec": {"containers": [{"name": "app"}]}}}
    found = decode_object("deployments", body({"metadata": meta("backend", annotations=annotations), "spec": spec}))
    assert isinstance(found, Workload)
    return RecycleCase(
        key=found.key, workload=found, pods=(), chains=(), heal=None, heal_key="k", sources=(), policy=Policy(),
        rule=None, around=Surroundings(), now=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(("begins", "who"), RESTARTERS.items())
def test_whoever_restarts_a_workload_is_recognized_by_each_of_its_annotations(begins: str, who: str) -> None:
    """On the workload or on its template, all that the table names gets through from the API server's bytes."""
    name = f"{begins}restartedAt" if begins.endswith("/") else begins
    for found in (case({name: "true"}), case({}, template={name: "2026-11-27T00:00:00Z"})):
        refusal = gate_owner(found)
        assert refusal is not None
        assert refusal.reason == "other-restarter"
        assert refusal.detail.startswith(who)
    assert gate_owner(case({"example.com/auto": "true"})) is None


def test_who_is_told_not_to_restart_a_workload_does_not_handle_it() -> None:
    """An annotation that says `false` leaves it to us, unless another one says otherwise."""
    assert gate_owner(case({"reloader.stakater.com/auto": "false"})) is None
    assert gate_owner(case({"operator.1password.io/auto-restart": "False"})) is None
    both = {"reloader.stakater.com/auto": "false", "secret.reloader.stakater.com/reload": "app"}
    assert gate_owner(case(both)) is not None


@pytest.mark.parametrize(("mode", "left"), [("ignore", True), ("observe", True), ("heal", False), (None, False)])
def test_the_owner_of_a_pod_without_a_workload_speaks_on_the_pod(mode: str | None, left: bool) -> None:
    """There is nothing else that could bear the word: once evicted, nothing would bring such a pod back."""
    annotations = {"example.com/note": "x", **({"secret-drift-agent/mode": mode} if mode else {})}
    found = decode_object("pods", body(pod("lonely", annotations=annotations)))
    assert isinstance(found, Pod)
    refusal = gate_opt_out(
        RecycleCase(
            key=WorkloadKey("shop", "Pod", "lonely"), workload=None, pods=(PodCase(pod=found, state=State.STALE),),
            chains=(), heal=None, heal_key="k", sources=(), policy=Policy(), rule=None, around=Surroundings(), now=NOW,
        )
    )  # fmt: skip
    assert (refusal is not None) is left
