"""Opens and counts the rotations of all chains; what is open is in the chains' memory."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from agent.diagnose import rotations
from agent.diagnose.view import ChainReport
from agent.engine.context import Context
from agent.events import RotationCounted
from agent.model import ObjectKey, SourceKey


class Rotations:
    """The service level of one engine."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def witnessed(self, source: SourceKey, chains: Iterable[ObjectKey]) -> None:
        """A vault secret has changed before our eyes, or between two runs: a new version is on its way."""
        known = self._context.memory.sources.get(source)
        if known is None:
            return
        for key in chains:
            memory = self._context.chain_memory(key)
            before = memory.rotations.get(str(source))
            now = rotations.opened(before, known)
            if now is not None and now != before:
                self._context.remember_chain(key, replace(memory, rotations={**memory.rotations, str(source): now}))

    def judged(self, key: ObjectKey, report: ChainReport) -> None:
        """A chain was judged anew."""
        context, memory = self._context, self._context.chain_memory(key)
        if not memory.rotations:
            return  # most chains, always
        objective = context.policy.report.propagation_objective
        step = rotations.advance(memory.rotations, report, context.now, objective)
        context.remember_chain(key, replace(memory, rotations=step.open))
        for ended in step.ended:
            context.tell(RotationCounted, chain=key, source=ended.source, in_time=ended.in_time, seconds=ended.seconds)
        if step.wake_at is not None:
            context.timers.set(key, step.wake_at)
