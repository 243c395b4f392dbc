"""Since when what a vault says of its newest versions is so."""

from __future__ import annotations

from typing import Any

import pytest
from test_diagnose_chain import LONG_AGO, LOOK, NOW, POLICY, SOURCE, full, history, pod, view

from agent.diagnose.chain import workload_finding
from agent.memory import SourceMemory
from agent.model import Kind, SourceState, WorkloadKey

HORIZON = POLICY.report.expiry_horizon


@pytest.mark.parametrize(
    ("state", "known", "kind", "since"),
    [
        ({"expires": NOW + 60}, {}, Kind.EXPIRING, max(LONG_AGO, NOW + 60 - HORIZON)),
        ({"created": NOW - 90, "expires": NOW + 60}, {}, Kind.EXPIRING, NOW - 90),
        ({"expires": NOW - 60}, {}, Kind.EXPIRED, NOW - 60),
        ({"enabled": False}, {"seen_at": NOW - 7}, Kind.DISABLED, NOW - 7),
        ({"enabled": False}, {"seen_at": NOW - 7, "event_at": NOW - 9, "witnessed": True}, Kind.DISABLED, NOW - 9),
    ],
)
def test_a_note_begins_when_it_came_true_or_when_we_saw_it_first(
    state: dict[str, Any], known: dict[str, Any], kind: Kind, since: float
) -> None:
    """Not when the version was created: one of last year does not expire since last year."""
    seen = SourceState(**{"created": LONG_AGO, **state})
    source = SourceMemory(**{"state": seen, "event_at": LONG_AGO, "seen_at": LONG_AGO, **known})
    found = {note.kind: note.since for note in full(view(sources={SOURCE: source})).findings}
    assert found[kind] == since


def test_since_when_a_container_is_suspect_is_not_told() -> None:
    """It is not kept, and that it was found just now would not be true."""
    changed = NOW - 500
    seen = view(pod("at", created=changed - 1), memory=history(("b", changed), ("a", LOOK)), created=changed - 20)
    report = full(seen)
    finding = workload_finding(report, WorkloadKey("shop", "Deployment", "backend"), list(report.verdicts), NOW)
    assert finding is not None
    assert (finding.kind, finding.since) == (Kind.SUSPECT, 0.0)
