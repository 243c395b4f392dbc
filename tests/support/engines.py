"""An engine without a cluster: it is fed by hand, only looks, and nobody answers its requests."""

from __future__ import annotations

import queue
import threading
from email.utils import formatdate

from kubernetes.client import Configuration

from agent.clock import Clock
from agent.cluster.connection import Connection
from agent.engine.context import Context
from agent.engine.engine import Engine
from agent.engine.observe import Observer
from agent.engine.world import World
from agent.ledger import Ledger
from agent.memory import Memory
from agent.policy import Policy

BEGIN = 1_795_000_000
"""A Wednesday, 13:06:40 UTC: what the API server's clock says as it begins."""


def looking(memory: Memory, policy: Policy) -> Engine:
    """One that knows of the world what its observer is told."""
    clock, world = Clock(), World()
    clock.observe_date(formatdate(BEGIN, usegmt=True), clock.monotonic(), clock.monotonic())
    conn = Connection(Configuration(host="https://127.0.0.1:1"), clock=clock, user_agent="test")
    context = Context(
        conn=conn, writer=None, ledger=Ledger(conn, "agent", None), memory=memory, policy=policy, clock=clock,
        observer=Observer(world, memory, on_malformed=lambda _: None), emit=lambda _: None,
        ask_vault=lambda _, __: None, stopping=threading.Event(),
    )  # fmt: skip
    engine = Engine(context, queue.SimpleQueue())
    engine.acting = False
    return engine
