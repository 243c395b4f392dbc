"""How long changes of the memory are gathered before they are written, where no step depends on them. Pure."""

from __future__ import annotations

SHORTEST = 1.0
LONGEST = 10.0
PACE = 20.0
"""So many times as long as the last writing took: where thousands of things change at once, nearly all is written."""


class Pace:
    """Seconds from one writing to the next."""

    def __init__(self) -> None:
        self.seconds = SHORTEST

    def written(self, took: float) -> None:
        """All that had changed was written, in so many seconds."""
        self.seconds = min(max(SHORTEST, PACE * took), LONGEST)
