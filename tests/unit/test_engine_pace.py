"""How long changes of the memory are gathered before they are written."""

from __future__ import annotations

from agent.engine.pace import LONGEST, SHORTEST, Pace


def test_what_takes_long_to_write_is_written_the_more_rarely_within_bounds() -> None:
    """A few objects are written each second; a hundred of them, or those of a slow API server, less often."""
    pace = Pace()
    assert pace.seconds == SHORTEST
    waits = []
    for took in (0.001, 0.1, 0.3, 60.0, 0.0):
        pace.written(took)
        waits.append(pace.seconds)
    assert waits == [SHORTEST, 2.0, 6.0, LONGEST, SHORTEST]
