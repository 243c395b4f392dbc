"""Who waits for the canary of another workload is looked at as soon as it need not wait any more."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.engines import looking

from agent.engine.campaign import must_wait
from agent.engine.context import Context
from agent.memory import Eviction, Halt, HealMemory, Memory
from agent.model import Refusal, SourceKey, Step, WorkloadKey
from agent.policy import Policy

SOURCE = SourceKey("prod-kv.vault.azure.net", "api-key")
FIRST, SECOND = WorkloadKey("aaa", "Deployment", "first"), WorkloadKey("shop", "Deployment", "backend")
PODS = (Eviction(pod="first-1", uid="u", at=1.0, done=True),)
TRIES = HealMemory(key="k", since=1.0, started=1.0, sources=(SOURCE,), batch=PODS, stage="canary")
REFUSED = Refusal(step=Step.RECYCLE, reason="pod-disruption-budget", detail="", workload=FIRST)


def held_up() -> Context:
    """The first has begun, and the second waits for it."""
    context = looking(Memory(heals={FIRST: TRIES}), Policy()).context
    assert waits(context)
    context.held_up.waits(SECOND)
    return context


def waits(context: Context) -> bool:
    """Whether the second would be refused for the first now."""
    refused = context.refusal(workload=FIRST) is not None
    return bool(must_wait(SECOND, (SOURCE,), context.memory, context.begun, lambda _: refused))


@pytest.mark.parametrize(
    "now",
    [
        TRIES,
        replace(TRIES, batch=()),
        replace(TRIES, batch=(), canary_passed=True),
        replace(TRIES, batch=(), started=0.0),
        replace(TRIES, halt=Halt(reason="canary-failed", detail="", at=2.0), batch=()),
        replace(TRIES, halt=Halt(reason="canary-blocked", detail="", at=2.0)),
        None,
    ],
)
def test_it_is_looked_at_when_what_the_other_one_does_no_longer_holds_it_up(now: HealMemory | None) -> None:
    """The canary has passed, could not start, or was given up; one that failed goes on holding up all others."""
    context = held_up()
    context.remember_heal(FIRST, now)
    assert (SECOND in context.world.dirty_workloads) is not waits(context)


@pytest.mark.parametrize("batch", [PODS, ()])
def test_it_is_looked_at_when_the_next_step_of_the_other_one_is_refused(batch: tuple[Eviction, ...]) -> None:
    """One that may not go on tries nothing, unless a pod of it is under way."""
    context = held_up()
    context.remember_heal(FIRST, replace(TRIES, batch=batch))
    context.refuse(REFUSED)
    assert (SECOND in context.world.dirty_workloads) is not waits(context)
