"""Who waits for the canary of another workload is looked at as soon as it need not wait any more."""

from __future__ import annotations

import threading
from email.utils import formatdate

import pytest
from kubernetes.client import Configuration
from msgspec.structs import replace

from agent.clock import Clock
from agent.cluster.connection import Connection
from agent.engine.campaign import must_wait
from agent.engine.context import Context
from agent.engine.observe import Observer
from agent.engine.world import World
from agent.ledger import Ledger
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
    clock, world, memory = Clock(), World(), Memory(heals={FIRST: TRIES})
    clock.observe_date(formatdate(1_795_000_000, usegmt=True), clock.monotonic(), clock.monotonic())
    conn = Connection(Configuration(host="https://127.0.0.1:1"), clock=clock, user_agent="test")  # nobody is there
    context = Context(
        conn=conn, writer=None, ledger=Ledger(conn, "agent", None), memory=memory,
        observer=Observer(world, memory, on_malformed=lambda _: None), policy=Policy(), clock=clock,
        emit=lambda _: None, ask_vault=lambda _, __: None, stopping=threading.Event(),
    )  # fmt: skip
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
