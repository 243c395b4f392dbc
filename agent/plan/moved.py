"""What a halt names: the vault secrets that have changed, and the version of each to go back to. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from agent.diagnose import sources as source_events
from agent.memory import HealMemory, Memory
from agent.model import ContainerVerdict, SourceKey
from agent.times import stamp


class Moved(NamedTuple):
    """One vault secret with a new version. Times are the vault's; ``back`` 0: no former version is known."""

    source: SourceKey
    created: float
    back: float = 0.0
    back_id: str = ""  # empty: the vault's lists do not name it

    def __str__(self) -> str:
        said = f"{self.source}: version of {stamp(self.created)} is new"
        number = f" ({self.back_id})" if self.back_id else ""
        return f"{said}, go back to that of {stamp(self.back)}{number}" if self.back else said

    @property
    def back_to(self) -> str:
        """The version to go back to in a word: its id, else when it was created; empty if none is known."""
        return self.back_id or (stamp(self.back) if self.back else "")


def what_moved(stale: Iterable[ContainerVerdict], heal: HealMemory | None, memory: Memory) -> tuple[Moved, ...]:
    """Every version that changed and the one to go back to: what the pods that still serve run."""
    running: dict[SourceKey, set[float]] = defaultdict(set)
    for verdict in stale:
        for source, versions in verdict.versions:
            running[source].update(versions)
    found = []
    for source in sorted(running or (heal.sources if heal else ())):
        known = memory.sources.get(source)
        if known is None or known.state.created in running.get(source, ()):
            continue
        back = max((c for c in running.get(source, ()) if c < known.state.created), default=0.0)
        former = source_events.previous(known)
        back = back or (former.created if former else 0.0)
        number = next((v.id for v in known.versions if v.created == back and v.id), "")
        found.append(Moved(source, known.state.created, back, number))
    return tuple(found)
