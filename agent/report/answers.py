"""Lines for whoever asked: what the log says of the chain and the workloads that a request is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from agent import events as ev
from agent.model import Finding, ObjectKey, Refusal, WorkloadKey
from agent.report.words import escape, sentence, subject


class Listener(Protocol):
    """One who asked."""

    def concerns(self, chains: Iterable[ObjectKey], workloads: Iterable[WorkloadKey]) -> bool:
        """Whether it is about one of these."""

    def say(self, line: str) -> None:
        """Tell one line."""


class Answers:
    """The subscriber. ``listeners``: all who ask now."""

    def __init__(self, listeners: Callable[[], Iterable[Listener]]) -> None:
        self._listeners = listeners

    def __call__(self, event: ev.Event) -> None:
        """Tell those whom it concerns."""
        listeners = list(self._listeners())
        if not listeners or isinstance(event, ev.StepDone | ev.CycleEnded):
            return
        chains, workloads = _about(event)
        for listener in listeners:
            if listener.concerns(chains, workloads):
                name = subject(event)
                said = sentence(event)
                listener.say(escape(f"{name}: {said}" if name else said, 1000))


def _about(event: ev.Event) -> tuple[set[ObjectKey], set[WorkloadKey]]:
    chains: set[ObjectKey] = set()
    workloads: set[WorkloadKey] = set()
    parts = [event, getattr(event, "finding", None), getattr(event, "refusal", None)]
    for part in parts:
        if not isinstance(part, ev.Event | Finding | Refusal):
            continue
        chain, workload = getattr(part, "chain", None), getattr(part, "workload", None)
        if isinstance(workload, WorkloadKey):
            workloads.add(workload)
        if isinstance(chain, ObjectKey):
            chains.add(chain)
    return chains, workloads
