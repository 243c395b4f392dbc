"""What took the place of a finding that is gone."""

from __future__ import annotations

import pytest
from report_events import BACKEND, finding

from agent.diagnose.changes import in_its_place, same
from agent.model import Finding, Kind, Link

STALE = finding()
DENIED = finding(kind=Kind.SYNC_FAILED, cause="access-denied")
MISSING = finding(link=Link.SECRET, kind=Kind.MISSING_SECRET)
OLD_PODS = finding(link=Link.CONTAINER, kind=Kind.STALE_POD, workload=BACKEND)
OTHER_PODS = finding(link=Link.CONTAINER, kind=Kind.STALE_POD, workload=BACKEND._replace(name="worker"))
UNKNOWN_PODS = finding(link=Link.CONTAINER, kind=Kind.UNKNOWN)
CHANGED = finding(link=Link.SECRET, kind=Kind.CHANGED_ELSEWHERE)
DISABLED = finding(kind=Kind.DISABLED)
EXPIRING = finding(kind=Kind.EXPIRING)


@pytest.mark.parametrize(
    ("gone", "found", "by"),
    [
        (STALE, [], None),
        (STALE, [DENIED], Kind.SYNC_FAILED),
        (STALE, [OLD_PODS], None),
        (STALE, [EXPIRING], None),
        (STALE, [DISABLED], Kind.DISABLED),
        (DENIED, [STALE], None),
        (DENIED, [finding(kind=Kind.UNKNOWN)], Kind.UNKNOWN),
        (MISSING, [STALE], None),
        (MISSING, [DENIED], None),
        (CHANGED, [DENIED], Kind.SYNC_FAILED),
        (OLD_PODS, [DENIED], Kind.SYNC_FAILED),
        (OLD_PODS, [OTHER_PODS], None),
        (OLD_PODS, [UNKNOWN_PODS], Kind.UNKNOWN),
    ],
)
def test_a_link_is_in_order_only_where_it_is_judged(gone: Finding, found: list[Finding], by: Kind | None) -> None:
    """What is broken further up, or cannot be judged, has not been healed; what other workloads do is no matter."""
    assert in_its_place(gone, found) is by


def test_another_cause_is_another_finding_and_more_evidence_is_not() -> None:
    """So a new cause is told, and a growing list of pods is not."""
    assert same(DENIED, finding(kind=Kind.SYNC_FAILED, cause="access-denied", evidence="more"))
    assert not same(DENIED, finding(kind=Kind.SYNC_FAILED, cause="not-found"))
    assert not same(DENIED, None)
