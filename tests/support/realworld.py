"""A world around a real control plane: ESO's kinds, and the agent's account with its manifests' rights and bounds."""

from __future__ import annotations

import atexit
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from support.cleaning import Cleaner
from support.controlplane import ControlPlane, users
from support.installing import custom_kinds, grant, manifests, put, token, until_served
from support.requested import AuditLog, Requested
from support.rights import ALWAYS

from agent.clock import Clock
from agent.cluster.connection import Connection, connect
from agent.cluster.errors import ApiProblem, Unreachable
from agent.sandbox.client import Object
from agent.sandbox.world import USERS, RealCluster

_ALL_RIGHTS = ("system:masters",)


class Installed:
    """A cluster with a real API server and everything installed, which one world after another is put around."""

    cluster: RealCluster
    """How a world's actors reach it."""
    requested: Requested
    """What was asked of its API server."""
    plane: ControlPlane | None = None
    """Its parts, where they are ours."""

    def lead_to(self, vaults: int) -> None:
        """A world begins, whose vaults listen on this port."""

    def adapt(self, *objects: Object) -> list[Object]:
        """Objects of a world as they can be applied here."""
        return list(objects)

    def grant(self, components: frozenset[str], namespace: str = "") -> None:
        """Give the agent's account the rights of these components and no others; returns when they are in force.

        ``namespace``: where it has them alone; "" for everywhere.
        """
        raise NotImplementedError

    def clean(self) -> bool:
        """Whether nothing is left of the last world, not even in the minds of the controllers."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it."""
        raise NotImplementedError


class OwnPlane(Installed):
    """A control plane that was started for it, with nothing else in it."""

    def __init__(self) -> None:
        known = users({name: _ALL_RIGHTS for name in USERS if name != "agent"})
        with ExitStack() as stack:
            self.plane: ControlPlane = stack.enter_context(ControlPlane(known))
            self._conn = connect(str(self.plane.kubeconfig), None, clock=Clock(), user_agent="tests")
            stack.callback(self._conn.close)
            for document in (*custom_kinds(), *manifests()):
                put(self._conn, document)
            until_served(self._conn)
            self.grant(ALWAYS)
            self._cleaner = Cleaner(self._conn)
            tokens = {name: user.token for name, user in known.items()} | {"agent": token(self._conn)}
            self._stack = stack.pop_all()
        pem = (self.plane.directory / "ca.pem").read_bytes()
        client = ssl.create_default_context(cadata=pem.decode())
        self.cluster = RealCluster(url=self._conn.host, client=client, pem=pem, tokens=tokens)
        self.requested = AuditLog(self.plane.audit_log)

    def grant(self, components: frozenset[str], namespace: str = "") -> None:
        grant(self._conn, components, namespace=namespace)

    def clean(self) -> bool:
        try:
            return not self.plane.disturbed and self._cleaner.clean()
        except (ApiProblem, Unreachable):
            return False

    def stop(self) -> None:
        self._stack.close()


@contextmanager
def admin(plane: ControlPlane) -> Iterator[Connection]:
    """A connection with all rights."""
    conn = connect(str(plane.kubeconfig), None, clock=Clock(), user_agent="tests")
    try:
        yield conn
    finally:
        conn.close()


_idle: list[Installed] = []


@atexit.register
def _stop_idle() -> None:
    while _idle:
        _idle.pop().stop()


@contextmanager
def real_cluster(make: Callable[[], Installed] = OwnPlane) -> Iterator[Installed]:
    """A cluster with everything installed and nothing else in it that is the tests'.

    A test process keeps it for its next world; one that does not come clean is made anew.
    """
    installed = _idle.pop() if _idle else make()
    try:
        yield installed
    finally:
        if installed.clean():
            _idle.append(installed)
        else:
            installed.stop()
