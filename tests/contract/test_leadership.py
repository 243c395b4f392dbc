"""Who may lead when somebody edits or deletes the Lease by hand, against an API server over TLS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from support.servers import Cluster, eventually

from agent.cluster.lease import Record, micro_time, write_lease
from agent.cluster.writer import Writer
from agent.leadership import LEASE_NAME, Leadership, Pace
from agent.model import ObjectKey

NS = "agents"
KEY = ObjectKey(NS, LEASE_NAME)
PACE = Pace(duration=2.0, act=1.5, renew=0.3, retry=0.05)


@contextmanager
def process(api: Cluster, me: str) -> Iterator[Leadership]:
    """One that leads, or stands by, until the end of the block; it has looked once."""
    leadership = Leadership(api.connect(), NS, me, pace=PACE)
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


def test_a_lease_that_says_it_lasts_for_no_time_is_not_taken_from_its_holder(api: Cluster) -> None:
    """Edited to 0 seconds it still belongs to its holder for as long as a holder of ours may act."""
    held(api, "other", 0.0)
    began = time.monotonic()
    with process(api, "me") as me:
        eventually(lambda: me.leading)
        assert time.monotonic() - began > PACE.duration
