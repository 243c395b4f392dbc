"""One face for the sandbox's API server and a real one, for tests that hold both to the same contract.

Requests go through the agent's own connection. What a test does not find on one of the two servers in the same way
is a difference that the sandbox has to lose.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
import yaml
from support.guest import CONTRACTS
from support.realworld import real_cluster

from agent.clock import Clock
from agent.cluster.connection import Connection, connect
from agent.cluster.errors import ApiProblem
from agent.cluster.resources import RESOURCES, Resource
from agent.cluster.writer import Writer
from agent.sandbox.actors.controller.objects import ready
from agent.sandbox.files import kubeconfig
from agent.sandbox.thread import SandboxThread
from agent.sandbox.world import Options

T = TypeVar("T")
Object = dict[str, Any]

MERGE = "application/merge-patch+json"
OTHERS: dict[str, Resource] = {
    "jobs": Resource("jobs", "Job", "batch"),
    "serviceaccounts": Resource("serviceaccounts", "ServiceAccount"),
}
"""What contracts touch and the agent does not."""


class ApiServerWorld:
    """A running API server. ``conn`` is the admin's; ``namespace`` is the test's own while a test runs."""

    def __init__(
        self, path: str, conn: Connection, *, compact: Callable[[], None] | None,
        forget: Callable[[], None] | None = None, nodes: bool, accounts: bool = True,
    ) -> None:  # fmt: skip
        """``path``: the admin's kubeconfig. ``accounts``: each namespace gets a ServiceAccount, which pods wait for.

        ``forget``: what makes the server lose with that what it knows in memory, where it knows anything.
        """
        self._kubeconfig = Path(path)
        self.conn, self._compact, self._nodes, self.accounts = conn, compact, nodes, accounts
        self._forget = forget or self.compact
        self.writer = Writer(conn)
        self.namespace = ""

    @contextmanager
    def fresh_namespace(self) -> Iterator[str]:
        """A namespace in which pods can be made, deleted afterwards with all that is in it."""
        self.namespace = f"contract-{uuid.uuid4().hex[:12]}"
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace, "labels": CONTRACTS}})
        if self.accounts:
            self.eventually(lambda: self.find("serviceaccounts", "default"), "the namespace has its account")
        try:
            yield self.namespace
        finally:
            try:
                self.request("DELETE", f"/api/v1/namespaces/{self.namespace}")
            except ApiProblem as gone:
                if gone.code != 404:
                    raise

    @contextmanager
    def logged_in(self, token: str) -> Iterator[Connection]:
        """A connection of whoever holds a token."""
        document = yaml.safe_load(self._kubeconfig.read_text())
        document["users"] = [{**user, "user": {"token": token}} for user in document["users"]]
        with TemporaryDirectory(prefix="contract-") as directory:
            path = Path(directory) / "kubeconfig"
            path.write_text(yaml.safe_dump(document))
            with _connected(str(path)) as conn:
                yield conn

    # Requests.

    def request(
        self, method: str, path: str, body: Object | None = None, *, accept: str = "application/json",
        content_type: str = "application/json", **query: str,
    ) -> Any:  # fmt: skip
        """One request; its JSON. Raises what the agent's connection raises."""
        encoded = None if body is None else json.dumps(body).encode()
        answer = self.conn.request(method, path, query=query, body=encoded, content_type=content_type, accept=accept)
        return json.loads(answer.body)

    def path(self, plural: str, name: str | None = None, subresource: str | None = None) -> str:
        """The path of a collection, object or subresource in the test's namespace."""
        return (RESOURCES.get(plural) or OTHERS[plural]).path(self.namespace, name, subresource)

    def create(self, plural: str, body: Object, **query: str) -> Any:
        """POST to the collection."""
        return self.request("POST", self.path(plural), body, **query)

    def get(self, plural: str, name: str, **query: str) -> Any:
        """GET of one object."""
        return self.request("GET", self.path(plural, name), None, **query)

    def find(self, plural: str, name: str) -> Any:
        """The same, None where it is not there."""
        try:
            return self.get(plural, name)
        except ApiProblem as error:
            if error.code == 404:
                return None
            raise

    def list(self, plural: str, **query: str) -> Any:
        """GET of the collection in the test's namespace."""
        return self.request("GET", self.path(plural), None, **query)

    def patch(self, plural: str, name: str, body: Object, *, subresource: str | None = None, **query: str) -> Any:
        """A merge patch."""
        return self.request("PATCH", self.path(plural, name, subresource), body, content_type=MERGE, **query)

    def replace(self, plural: str, body: Object, **query: str) -> Any:
        """PUT of one object."""
        return self.request("PUT", self.path(plural, body["metadata"]["name"]), body, **query)

    def delete(self, plural: str, name: str, options: Object | None = None, **query: str) -> Any:
        """DELETE of one object."""
        return self.request("DELETE", self.path(plural, name), options, **query)

    def watch(
        self, plural: str, version: str, *, accept: str = "application/json", **query: str
    ) -> Iterator[tuple[str, Object]]:
        """(type, object) until the server ends the watch, which is after 20 s unless ``timeoutSeconds`` says else."""
        asked = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "20", **query}
        with self.conn.stream(self.path(plural), query=asked, accept=accept, read_timeout=30) as lines:
            for line in lines:
                event = json.loads(line)
                yield event["type"], event["object"]

    # The world around it.

    def compact(self) -> None:
        """Have the server forget the past. Skips the test on a cluster that is not ours to compact."""
        if self._compact is None:
            pytest.skip("etcd of this cluster is not ours to compact")
        self._compact()

    def forget(self) -> None:
        """The same, and what it knows in memory is lost with it. Skips the test on a cluster that is not ours."""
        self._forget()

    def needs_nodes(self) -> None:
        """Skips the test on a cluster whose nodes would pull images: the ones of these tests are invented."""
        if not self._nodes:
            pytest.skip("the nodes of this cluster are real, the images of this test are not")

    def running_pod(self, name: str, *, labels: Mapping[str, str] | None = None, **spec: Any) -> Any:
        """A pod whose container has started and is ready."""
        self.needs_nodes()
        self.create("pods", pod(name, labels=labels, **spec))
        return self.eventually(lambda: _ready(self.get("pods", name)), f"pod {name} is ready")

    @staticmethod
    def eventually(condition: Callable[[], T], why: str, seconds: float = 20.0) -> T:
        """The first truthy answer; AssertionError if there is none in time."""
        until = time.monotonic() + seconds
        while not (answer := condition()):
            assert time.monotonic() < until, f"not within {seconds} s: {why}"
            time.sleep(0.02)
        return answer


def pod(name: str, *, labels: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """A pod with one container, which prints two lines."""
    containers = [{"name": "app", "image": "example/app:1", "env": [{"name": "KEY", "value": "value"}]}]
    notes = {"sandbox/app": json.dumps({"app": {"env": "KEY", "success": ["starting", "connected"]}})}
    metadata = {"name": name, "labels": dict(labels or {}), "annotations": notes}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


def event(namespace: str, name: str) -> Object:
    """An Event about a Secret of the namespace."""
    about = {"kind": "Secret", "name": "x", "namespace": namespace}
    return {"metadata": {"name": name}, "involvedObject": about, "reason": "Tested", "type": "Normal"}


def _ready(obj: Object) -> Object | None:
    return obj if ready(obj) else None


@contextmanager
def embedded() -> Iterator[ApiServerWorld]:
    """The sandbox, with nodes and controllers."""
    with SandboxThread(Options(eso=False)) as thread, TemporaryDirectory(prefix="contract-") as directory:
        path = Path(directory) / "kubeconfig"
        path.write_text(kubeconfig(thread.sandbox, "admin"))
        with _connected(str(path)) as conn:
            compact = partial(thread.call, thread.sandbox.api.compact)
            yield ApiServerWorld(str(path), conn, compact=compact, nodes=True, accounts=False)


@contextmanager
def real() -> Iterator[ApiServerWorld]:
    """A real control plane of our own, with the sandbox's nodes; the controllers are real."""
    with ExitStack() as stack:
        installed = stack.enter_context(real_cluster())
        stack.enter_context(SandboxThread(Options(eso=False), cluster=installed.cluster))
        plane = installed.plane
        assert plane is not None
        conn = stack.enter_context(_connected(str(plane.kubeconfig)))
        yield ApiServerWorld(str(plane.kubeconfig), conn, compact=plane.compact, forget=plane.forget, nodes=True)


@contextmanager
def foreign(path: str) -> Iterator[ApiServerWorld]:
    """Any cluster, in namespaces of their own, during a ``Visit``."""
    with _connected(path) as conn:
        yield ApiServerWorld(path, conn, compact=None, nodes=False)


@contextmanager
def _connected(path: str) -> Iterator[Connection]:
    conn = connect(path, None, clock=Clock(), user_agent="contract-tests")
    try:
        yield conn
    finally:
        conn.close()
