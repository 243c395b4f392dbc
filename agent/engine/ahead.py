"""Reads of a Secret that were ahead of its watch, until the watch has caught up. Pure.

What the watch tells is exact: every write, in order. A read shows one state and hides those before it, which the watch
has yet to bring, or never will, where it breaks off or the process ends first. So a read counts as the end of a gap, on
top of what the watch has told, and is forgotten once the watch has brought the same state.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from agent.diagnose import history
from agent.memory import SecretMemory
from agent.model import SecretView


class Read(NamedTuple):
    """A state that was read; ``since``: until when the watch had told all; ``at``: when the answer came."""

    view: SecretView
    since: float
    at: float


class Ahead(NamedTuple):
    """What watch and lists have told of a Secret, and the reads of later states, oldest first."""

    told: SecretMemory
    reads: tuple[Read, ...] = ()

    def read(self, view: SecretView, *, since: float, at: float) -> Ahead:
        """One more read, of a later state."""
        return Ahead(self.told, (*self.reads, Read(view, since, at)))

    def brought(self, view: SecretView, *, since: float, seen: float) -> Ahead:
        """The watch brings a state: it was there at the latest when it, or a later one, was read."""
        seen = min([seen, *(read.at for read in self.reads if not older(read.view, view))])
        return Ahead(history.watched(self.told, view, since=since, seen=seen), self._later(view))

    def listed(self, told: SecretMemory, view: SecretView, *, asked: float) -> Ahead:
        """A list, asked for at this time, ended a gap; only what was read later than the list holds on."""
        return Ahead(told, tuple(read._replace(since=max(read.since, asked)) for read in self._later(view)))

    def _later(self, view: SecretView) -> tuple[Read, ...]:
        return tuple(read for read in self.reads if older(view, read.view))

    def exact(self, known: SecretMemory) -> SecretMemory:
        """What has been told, and of ``known``, as remembered until now, what no watch of Secrets tells."""
        if self.told is known:
            return known
        return replace(self.told, cache=known.cache, assumed_from=known.assumed_from)

    def memory(self, known: SecretMemory) -> SecretMemory:
        """The same, and on top of it the newest read."""
        if not self.reads:
            return self.exact(known)
        view, since, at = self.reads[-1]
        return history.after_gap(self.exact(known), view, confirmed=since, seen=at, born=lambda key: 0.0)


def older(view: SecretView, known: SecretMemory | SecretView) -> bool:
    """The same object as it was before what we know of it: read ahead of its watch, which brings the former now."""
    now, then = view.resource_version, known.resource_version
    return view.uid == known.uid and now.isdecimal() and then.isdecimal() and int(now) < int(then)
