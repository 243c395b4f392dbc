"""How long a workload is left alone after a change, so that no pod in place of another can have got the old value."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from agent.diagnose import containers
from agent.diagnose.view import ChainReport, Upstream
from agent.memory import Entry
from agent.model import ContainerRun, ContainerSpec, ObjectKey, Pod, State, Use, WorkloadKey
from agent.plan.decisions import Wait
from agent.plan.gates import gate_returning, gate_settle
from agent.plan.recycle import Chain, PodCase, RecycleCase, Surroundings
from agent.policy import Policy, RecycleRule

CHANGED = 2_000_000.0
POLICY = Policy()
KEY = ObjectKey("shop", "app-secrets")
ENV = Use(KEY.name, "env", ("API_KEY",))


def settled(now: float, *, changed: float = CHANGED, settle: float = 0.0, clock_error: float = 0.0) -> float | None:
    """Until when a workload whose Secret changed waits; None: it does not."""
    above = Upstream(vault=State.FRESH, secret=State.FRESH)
    report = ChainReport(chain=KEY, upstream=above, containers=State.STALE, findings=(), changed_at=changed)
    rule = RecycleRule.model_validate({"namespaces": ("shop",), "settle": settle})
    case = RecycleCase(
        key=WorkloadKey("shop", "Deployment", "backend"), workload=None, pods=(), heal=None, heal_key="k", sources=(),
        chains=(Chain(report=report, excluded=False),), policy=POLICY, rule=rule, around=Surroundings(), now=now,
        clock_error=clock_error,
    )  # fmt: skip
    answer = gate_settle(case)
    assert answer is None or isinstance(answer, Wait)
    return answer.until if answer is not None else None


def test_the_policys_settle_counts_from_the_newest_change() -> None:
    """Until it is over nothing is recycled."""
    assert settled(CHANGED + 14.9, settle=15) == CHANGED + 15
    assert settled(CHANGED + 15, settle=15) is None


def test_without_a_settle_kubelets_lag_is_waited_for_all_the_same() -> None:
    """And the second that the pod's creation time may hide."""
    assert settled(CHANGED + 2.9) == CHANGED + 3
    assert settled(CHANGED + 3) is None


def test_a_pod_that_stays_unready_after_its_nodes_return_is_waited_for_no_longer() -> None:
    """Until its kubelet has had its time nothing goes; after that it counts as what it says it is. The ready go on."""

    def waits(now: float, *, until: float) -> bool:
        pod = Pod(
            key=ObjectKey("shop", "p"), uid="p", created=1.0, node="node-1", owner=None, phase="Running", ready=False,
            ready_since=None, deleting=False, containers=(), runs=(),
        )  # fmt: skip
        found = (PodCase(pod=pod, state=State.STALE, returning_until=until), PodCase(pod=pod, state=State.STALE))
        case = RecycleCase(
            key=WorkloadKey("shop", "Deployment", "backend"), workload=None, pods=found, heal=None, heal_key="k",
            sources=(), chains=(), policy=POLICY, rule=None, around=Surroundings(), now=now,
        )  # fmt: skip
        answer = gate_returning(case)
        assert answer is None or (answer.until, answer.why) == (until, "node node-1 was not ready until a moment ago")
        return answer is not None

    assert [waits(CHANGED, until=CHANGED + 30), waits(CHANGED + 30, until=CHANGED + 30)] == [True, False]
    assert not waits(CHANGED, until=0.0)


@given(fraction=st.floats(0, 0.999), error=st.floats(0, 0.5), ahead=st.floats(-1, 1))
def test_the_pod_that_replaces_a_stale_one_is_never_doubted(fraction: float, error: float, ahead: float) -> None:
    """However uncertain the clock is, what is created when the wait is over has got the new value for sure."""
    changed = CHANGED + fraction
    until = settled(changed, changed=changed, clock_error=error)
    assert until is not None
    created = until - ahead * error
    pod = Pod(
        key=ObjectKey("shop", "p"), uid="p", created=math.floor(created), node="node-1",
        owner=None, phase="Running", ready=True, ready_since=None, deleting=False,
        containers=(ContainerSpec("app", "container", (ENV,)),),
        runs=(ContainerRun(state="running", started=math.floor(created), ready=True),),
    )  # fmt: skip
    at = containers.span(pod, pod.runs[0], ENV, POLICY, now=created + 10)
    entries = (Entry(value="b", lo=changed - 1, hi=changed), Entry(value="a", lo=CHANGED - 99, hi=CHANGED - 99))
    assert containers.judge(entries, CHANGED - 99, at, before_us=State.SUSPECT) is State.FRESH
