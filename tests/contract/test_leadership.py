"""Who may lead when somebody edits or deletes the Lease by hand, against an API server over TLS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.servers import Cluster, eventually

from agent.cluster.lease import Record, micro_time, read_lease, write_lease
from agent.cluster.writer import Writer
from agent.leadership import LEASE_NAME, Leadership, Pace
from agent.model import ObjectKey
from agent.sandbox.apiserver.faults import FaultRule

NS = "agents"
KEY = ObjectKey(NS, LEASE_NAME)
PACE = Pace(duration=4.0, act=3.0, renew=0.3, retry=0.05)
LOOKS = 5
"""What a stand-by has not done at its next looks, it was not about to do."""


@contextmanager
def process(api: Cluster, me: str, pace: Pace = PACE) -> Iterator[Leadership]:
    """One that leads, or stands by, until the end of the block; it has looked once."""
    leadership = Leadership(api.connect(), NS, me, pace=pace)
    leadership.start()
    try:
        yield leadership
    finally:
        leadership.stop()


def held(api: Cluster, holder: str, seconds: float) -> None:
    """Somebody has just renewed the Lease, and does so no more."""
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
    now = micro_time(api.connect().server_now())
    write_lease(Writer(api.connect()), KEY, Record(holder=holder, seconds=seconds, acquired=now, renewed=now))


def deleted(api: Cluster) -> float:
    """Delete the Lease as `kubectl delete` does; when that was (monotonic)."""
    at = time.monotonic()
    api.connect().request("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{NS}/leases/{LEASE_NAME}")
    return at


def looks(api: Cluster) -> None:
    """Let some more looks at the Lease pass."""
    goal = len(answered(api)) + LOOKS
    eventually(lambda: len(answered(api)) >= goal)


def answered(api: Cluster) -> list[Any]:
    """The looks at the Lease that have ended."""
    return [entry for entry in api.asked("leases", "get") if entry.code]


def test_a_lease_that_says_it_lasts_for_no_time_is_not_taken_from_its_holder(api: Cluster) -> None:
    """Edited to 0 seconds it still belongs to its holder for as long as a holder of ours may act."""
    held(api, "other", 0.0)
    began = time.monotonic()
    with process(api, "me") as me:
        eventually(lambda: me.leading)
        assert time.monotonic() - began > PACE.duration


def test_a_lease_that_is_deleted_is_made_anew_by_its_holder_alone(api: Cluster) -> None:
    """A stand-by that has seen the holder waits for it, and at its next renewal the holder has its Lease again."""
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
    with process(api, "one") as one, process(api, "two") as two:
        assert (one.leading, two.leading, two.holder) == (True, False, "one")
        deleted(api)
        looks(api)
        assert (one.leading, two.leading, two.holder) == (True, False, "one")
        eventually(lambda: read_lease(api.connect(), KEY))
        looks(api)
        assert (one.leading, two.leading, two.holder) == (True, False, "one")


def test_a_lease_that_is_deleted_with_its_holder_gone_is_taken_when_that_one_acts_no_more(api: Cluster) -> None:
    """Whoever saw the holder waits for as long as that one could act; whoever never saw any takes the Lease at once."""
    held(api, "other", PACE.duration)
    with process(api, "me") as me:
        at = deleted(api)
        eventually(lambda: me.leading)
        assert time.monotonic() - at > PACE.duration
    deleted(api)
    with process(api, "newcomer") as newcomer:
        assert newcomer.leading


def test_a_holder_whose_renewal_hangs_knows_it_within_seconds(api: Cluster) -> None:
    """A server that never answers the write is given up while there is time to act left, and the trouble is told."""
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
    with process(api, "me", Pace(renew=0.1)) as me:
        rule = FaultRule(effect="half-open", verb="update", resource="leases")
        api.loop.call(api.server.faults.add, rule)
        eventually(lambda: me.trouble is not None and me.trouble.cause == "unreachable", Pace().act)
        assert me.leading
        api.loop.call(api.server.faults.remove, rule)
