"""A list whose state is forgotten between two pages, read by the agent's own reader, on a server of its own."""

from __future__ import annotations

import threading

import pytest
from support.apiservers import ApiServerWorld, embedded, real

from agent.cluster.reader import list_all


def test_the_agents_reader_begins_anew_where_the_state_that_it_reads_is_forgotten_midway(
    server_kind: str, request: pytest.FixtureRequest
) -> None:
    """A server that was started anew after a compaction answers the next page with 410: all is read, as it is now."""
    if request.config.getoption("--cluster"):
        pytest.skip("etcd of this cluster is not ours to compact")
    with embedded() if server_kind == "sandbox" else real() as server, server.fresh_namespace():
        for number in range(9):
            _fill(server, number)
        forgotten = threading.Event()

        def forgetting(_: object) -> bool:
            if not forgotten.is_set():
                forgotten.set()
                _fill(server, 9)
                server.forget()
            return True

        listing = list_all(server.conn, "secrets", server.namespace, page=2, keep=forgetting)
        assert [secret.key.name for secret in listing.items] == [f"s{number}" for number in range(10)]


def _fill(server: ApiServerWorld, number: int) -> None:
    server.create("secrets", {"metadata": {"name": f"s{number}"}})
