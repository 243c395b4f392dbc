"""Who waits for whom, where several workloads are stale by one version."""

from __future__ import annotations

from msgspec.structs import replace

from agent.engine.campaign import must_wait
from agent.memory import Eviction, Halt, HealMemory, Memory
from agent.model import SourceKey, WorkloadKey

SOURCE = SourceKey("prod-kv.vault.azure.net", "api-key")
FIRST, SECOND = WorkloadKey("aaa", "Deployment", "first"), WorkloadKey("shop", "Deployment", "backend")


def waits(*, refused: bool, under_way: bool = False) -> bool:
    """Whether the second waits for the first, which has begun and whose canary has not passed."""
    batch = (Eviction(pod="first-1", uid="u", at=1.0),) if under_way else ()
    memory = Memory(heals={FIRST: HealMemory(key="k", since=1.0, started=1.0, sources=(SOURCE,), batch=batch)})
    return bool(must_wait(SECOND, (SOURCE,), memory, memory.heals, lambda other: refused and other == FIRST))


def test_a_workload_waits_for_one_that_tries_the_version_and_not_for_one_that_may_not() -> None:
    """Whose next step is refused tries nothing, however long it is waited for; with a pod under way it does."""
    assert waits(refused=False)
    assert not waits(refused=True)
    assert waits(refused=True, under_way=True)


def test_a_heal_has_begun_once_anything_was_done_for_it_or_it_is_halted() -> None:
    """Those alone are gone through for each workload that is due: of thousands that may not begin, none is."""
    due = HealMemory(key="k", since=1.0, sources=(SOURCE,), blocked="pod-disruption-budget", blocked_until=9.0)
    evicted = (Eviction(pod="first-1", uid="u", at=1.0),)
    halt = Halt(reason="canary-failed", detail="", at=1.0)
    assert not due.begun
    assert all(replace(due, **now).begun for now in ({"started": 2.0}, {"batch": evicted}, {"halt": halt}))
    assert must_wait(SECOND, (SOURCE,), Memory(heals={FIRST: replace(due, halt=halt)}), (FIRST,), lambda _: False)
