"""A world, an agent, and a test between them: what every scenario is written with.

``with Scenario() as s``: a sandbox in a thread, its files in a temporary directory, and helpers that look at the world
from the test's own thread. What they show comes from the servers' stores and the kubelet's record, not from the agent.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, ClassVar, Literal, TypeVar

import pytest
import requests
import yaml
from support.controlplane import ControlPlane
from support.killing import KillPoint, Request
from support.policies import heal_policy
from support.processes import AgentProcess, Result
from support.realworld import Installed, OwnPlane, real_cluster
from support.report import dump
from support.rights import ALWAYS, Asked, asked, needed
from support.views import EmbeddedView, RealView, View

from agent.sandbox.actors.controller.objects import ready
from agent.sandbox.actors.kubelet import Received
from agent.sandbox.apiserver import AuditEntry
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.client import Object
from agent.sandbox.files import write_files
from agent.sandbox.keyvault import Vault
from agent.sandbox.thread import SandboxThread
from agent.sandbox.world import AGENT_NAMESPACE, OnlyEmbedded, Options, Sandbox

T = TypeVar("T")
Write = tuple[str, str, str, str]
"""(verb, resource, subresource, namespace/name)."""

_APART = 2.5
"""Seconds by which things lie apart for sure, however whole seconds are read."""
_IN_VAIN = "not within"
_NOT_ACTIONS = ("events", "leases")
POD = "secret-drift-agent-0"
"""The pod of every agent that is not told another: one that is started again is its restarted container."""
LISTS = {"list", "versions"}
"""What the agent may ask of a vault. Every scenario ends with a look at that."""
_WITH_POLICY = ("run", "once", "scan", "explain", "doctor", "heal", "resume")
_WRITES = ("create", "update", "patch", "delete", "deletecollection")


class Scenario:
    """One world and the agents that are started against it; all of them end with the block."""

    real = False
    """Whether worlds are put around a real API server; ``--real`` or ``--cluster`` sets it for the whole run."""
    around: Callable[[], Installed] = OwnPlane
    """What makes that cluster, where there is none yet."""
    compared: ClassVar[list[tuple[frozenset[str], frozenset[Asked]]]] = []
    """Of each world around one: the components that were installed, and what the agent asked for."""

    def __init__(self, options: Options | None = None) -> None:
        self._options, self._stack = options, ExitStack()
        self._thread: SandboxThread
        self._view: View
        self._installed: Installed | None = None
        self._granted: frozenset[str] = frozenset()
        self.withheld: frozenset[str] = frozenset()
        """Components that are not installed, though the policy could use them."""
        self.only_in = ""
        """The namespace in which alone the agent has its rights; everywhere, if there is none."""
        self._temporary = TemporaryDirectory(prefix="scenario-")
        self.directory = Path(self._temporary.name)
        self.processes: list[AgentProcess] = []
        self.environment: dict[str, str] = {}
        self._pid: Future[int] = Future()
        self._policy: Path | None = None

    def __enter__(self) -> Scenario:
        try:
            return self._begin()
        except OnlyEmbedded as reason:
            pytest.skip(f"in the embedded world only: {reason}")

    def _begin(self) -> Scenario:
        with ExitStack() as stack:
            if self.real:
                self._installed = stack.enter_context(real_cluster(self.around))
                self._thread = stack.enter_context(SandboxThread(self._options, cluster=self._installed.cluster))
                self._view = RealView(self._thread, self._installed.requested)
                self._installed.lead_to(self._thread.sandbox.vaults.port)
            else:
                self._thread = stack.enter_context(SandboxThread(self._options))
                self._view = EmbeddedView(self._thread)
            self._stack = stack.pop_all()
        files = write_files(self.sandbox, self.directory)
        self.environment = {**files, "PATH": "/usr/bin:/bin", "TZ": "UTC", "POD_NAME": POD}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, AssertionError) and not str(error).startswith(_IN_VAIN):
                error.add_note(self.state())  # a failure that comes once in a hundred runs must tell all it can
            for process in self.processes:
                if not process.ended:
                    process.kill()
            if error is None and self.processes:
                assert self.asked_of_vaults() <= LISTS, "a value was asked for"
            if self._installed and self._granted:
                self.compared.append((self._granted, frozenset(asked(self.requests()))))
        finally:
            self._stack.__exit__(kind, error, trace)
            self._temporary.cleanup()
        if isinstance(error, OnlyEmbedded):
            pytest.skip(f"in the embedded world only: {error}")

    @property
    def sandbox(self) -> Sandbox:
        """The world; its parts are touched through ``call`` and ``run``."""
        return self._thread.sandbox

    @property
    def plane(self) -> ControlPlane:
        """The real etcd, API server and controllers. Skips the test in a world without them."""
        if self._installed is None or self._installed.plane is None:
            pytest.skip("takes a real control plane of its own: make test-cluster")
        return self._installed.plane

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function in the world's loop."""
        return self._thread.call(function, *args, **kwargs)

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine in the world's loop."""
        return self._thread.run(coroutine)

    # The world as the test shapes it.

    def vault(self, name: str) -> Vault:
        """A vault's store, made if need be; write to it through ``rotate`` or ``call``."""
        return self.call(self.sandbox.vaults.vault, name)

    def rotate(self, vault: str, name: str, value: str, **attributes: Any) -> str:
        """Write a new version (see ``Vault.set`` for attributes); returns its id."""
        return self.call(lambda: self.sandbox.vaults.vault(vault).set(name, value, **attributes)).version

    def apply(self, *objects: Object) -> None:
        """Create or replace objects as the admin; missing namespaces are created."""
        self._thread.apply(*(self._installed.adapt(*objects) if self._installed else objects))

    def seed(self, *objects: Object) -> None:
        """Put objects in as given, with status and past."""
        self._thread.seed(*objects)

    def advance(self, seconds: float) -> None:
        """Move the world's clock. Running agents see it soon: a watch of theirs ends, and its next tells the time.

        Raises OnlyEmbedded in a world with a real API server.
        """
        self._thread.advance(seconds)
        ended = FaultRule(effect="break-watches", user="agent", resource="namespaces")
        self.call(self.sandbox.api.faults.add, ended)

    def hasten(self, seconds: float) -> None:
        """Spare a wait that ends by itself: with a real API server it is waited for, as long as it takes."""
        if not self.real:
            self.advance(seconds)

    def pass_time(self, seconds: float, least: float = _APART) -> None:
        """Let time pass where no more is wanted than that things lie apart: with a real API server the least of it."""
        if self.real:
            time.sleep(least)
        else:
            self.advance(seconds)

    # The world as it is.

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object, such as ``get("Deployment", "shop", "backend")``."""
        return self._view.get(kind, namespace, name)

    def objects(self, kind: str, namespace: str | None = None) -> list[Object]:
        """All objects of a kind, in one namespace or all."""
        return self._view.objects(kind, namespace)

    def secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        """A Secret's data, decoded."""
        found = self.get("Secret", namespace, name)
        return found and {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    def pods(self, namespace: str, app: str | None = None) -> list[Object]:
        """Pods that are not being deleted, by name; those of one workload by its label ``app``."""
        alive = [pod for pod in self.objects("Pod", namespace) if "deletionTimestamp" not in pod["metadata"]]
        return [pod for pod in alive if app in (None, (pod["metadata"].get("labels") or {}).get("app"))]

    def running(self, namespace: str, app: str | None = None) -> list[Received]:
        """What the containers hold that run now in pods not being deleted, by the kubelet's record."""
        names = {pod["metadata"]["name"] for pod in self.pods(namespace, app)}
        held = self.call(self.sandbox.kubelet.running, terminating=False)
        return [each for each in held if each.namespace == namespace and each.pod in names]

    def holds(self, namespace: str, pod: str, container: str = "app") -> dict[tuple[str, str], bytes | None]:
        """(Secret, key) -> value that a running container holds. KeyError if it does not run."""
        for each in self.running(namespace):
            if (each.pod, each.container) == (pod, container):
                return dict(each.source)
        raise KeyError(f"container {container} of pod {namespace}/{pod} does not run")

    def all_hold(self, namespace: str, app: str, secret: str, key: str, value: str | bytes | None) -> bool:
        """Whether every running container of a workload that uses the key holds this value, and at least one does."""
        wanted = value.encode() if isinstance(value, str) else value
        held = [each.source for each in self.running(namespace, app)]
        using = [source[secret, key] for source in held if (secret, key) in source]
        return bool(using) and all(each == wanted for each in using)

    def is_ready(self, namespace: str, name: str, kind: str = "Deployment") -> bool:
        """Whether a workload is rolled out: all replicas new, ready, and no other pod of it left.

        The pods are looked at, too: for a moment after one was deleted the status still counts it.
        """
        found = self.get(kind, namespace, name)
        if found is None:
            return False
        status, wanted = found.get("status") or {}, _wanted(kind, found)
        counts = [status.get(field, 0) for field in _COUNTS[kind]]
        pods = [p for p in self.objects("Pod", namespace) if (p["metadata"].get("labels") or {}).get("app") == name]
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        there = bool(wanted) or kind != "DaemonSet"  # one that has no pods has not found its nodes yet
        return current and there and wanted is not None and {wanted} == {*counts, len(pods), sum(map(ready, pods))}

    def ready(self, namespace: str, *names: str, kind: str = "Deployment", timeout: float = 20.0) -> None:
        """Wait until workloads are rolled out."""
        for name in names:
            self.wait(partial(self.is_ready, namespace, name, kind), timeout, f"{kind} {namespace}/{name} ready")

    def external_secret_ready(self, namespace: str, name: str, timeout: float = 20.0) -> Object:
        """Wait until ESO says Ready=True of this generation; returns the ExternalSecret."""

        def synced() -> Object | None:
            found = self.get("ExternalSecret", namespace, name) or {"metadata": {}}
            version = str((found.get("status") or {}).get("syncedResourceVersion", ""))
            return found if ready(found) and version.startswith(f"{found['metadata'].get('generation')}-") else None

        return self.wait(synced, timeout, f"ExternalSecret {namespace}/{name} ready")

    def wait(self, predicate: Callable[[], T | None], timeout: float = 20.0, why: str = "it") -> T:
        """The first true answer. AssertionError with the state of the world if there is none in time."""
        began = time.monotonic()
        while not (answer := predicate()):
            waited = time.monotonic() - began
            if self.sandbox.problems:
                raise ExceptionGroup("actors of the sandbox failed", list(self.sandbox.problems))
            if waited > timeout:
                raise AssertionError(f"{_IN_VAIN} {timeout} s: {why}\n{self.state()}")
            time.sleep(min(0.02 * (1 + waited), 0.1))  # to look at the world costs, and long waits end no sooner for it
        return answer

    def state(self) -> str:
        """The world and the agents in a page, without values, for messages."""
        told = "" if self.real else self.call(dump, self.sandbox)
        for process in self.processes:
            ended = "ended" if process.ended else "running"
            said = "\n".join(line for line in process.err.splitlines() if '"event":"compared' not in line)
            told += f"\nagent {' '.join(process.arguments)} ({ended}) said:\n{said[-5000:]}"
        return told

    # What was done.

    def requests(self, user: str = "agent") -> list[AuditEntry]:
        """All that a user asked of the API server, in order."""
        return [entry for entry in self._view.requests() if entry.user == user]

    def writes(self, user: str = "agent", verbs: Sequence[str] = _WRITES, *, refused: bool = False) -> list[Write]:
        """What a user changed, in order: without its own namespace, Events, Leases and dry-runs.

        ``refused``: the requests that the API server answered with an error, in place of those that it carried out.
        """
        found = []
        for e in self.requests(user):
            if e.verb not in verbs or e.dry_run:
                continue
            if e.code == 0 or (e.code >= 400) != refused:  # 0: dropped unheard
                continue
            if e.resource in _NOT_ACTIONS or e.namespace == AGENT_NAMESPACE or e.group == "authorization.k8s.io":
                continue
            found.append((e.verb, e.resource, e.subresource, f"{e.namespace}/{e.name}" if e.namespace else e.name))
        return found

    audit = writes

    def asked_of_vaults(self) -> set[str]:
        """The operations that the agent asked of any vault, whether it may or not; logging in is none."""
        audit = self.call(lambda: list(self.sandbox.vaults.audit))
        return {e.operation for e in audit if e.identity == "agent"} - {"token", "discovery"}

    def evicted(self, namespace: str, user: str = "agent") -> list[str]:
        """The pods that the agent had evicted, in order."""
        pods = [where for _, _, sub, where in self.writes(user) if sub == "eviction"]
        return [where.removeprefix(f"{namespace}/") for where in pods if where.startswith(f"{namespace}/")]

    def events(self, namespace: str, reason: str | None = None) -> list[Object]:
        """The Kubernetes Events that the agent recorded."""
        found = [e for e in self.objects("Event", namespace) if _source(e) == "secret-drift-agent"]
        return [event for event in found if reason in (None, event["reason"])]

    # The agent.

    def policy(self, document: str | dict[str, Any] | None = None, **overrides: Any) -> Path:
        """Write the policy of the agents started from now on: a text, a document, or ``heal_policy(**overrides)``."""
        text = document if isinstance(document, str) else yaml.safe_dump(document or heal_policy(**overrides))
        self._policy = self.directory / "policy.yaml"
        self._grant(needed(text) - self.withheld)
        fresh = self.directory / "policy.yaml.new"
        fresh.write_text(text)
        fresh.rename(self._policy)
        return self._policy

    def _grant(self, components: frozenset[str]) -> None:
        """On a real API server the agent gets the rights of these components, besides those that this world gave it."""
        if self._installed and not components <= self._granted:
            self._granted |= components
            self._installed.grant(self._granted, self.only_in)

    def launch(self, *arguments: str, fresh: bool = False, **environment: str) -> AgentProcess:
        """Start the command. ``fresh``: by an interpreter of its own, in place of a fork of one that is warm."""
        self._pid = Future()
        self._grant(ALWAYS)
        given = list(arguments)
        if self._policy and given[0] in _WITH_POLICY and "--policy" not in given:
            given += ["--policy", str(self._policy)]
        name = f"agent-{len(self.processes)}"
        process = AgentProcess(given, {**self.environment, **environment}, self.directory, name, fresh=fresh)
        self._pid.set_result(process.pid)
        self.processes.append(process)
        return process

    def start_agent(self, *arguments: str, fresh: bool = False, **environment: str) -> AgentProcess:
        """``run``, with its metrics on a free port; returns when it listens."""
        process = self.launch(
            "run", "--host", "127.0.0.1", "--port", "0", "--log-level", "debug", *arguments, fresh=fresh, **environment
        )
        self.wait(lambda: process.ended or self._port(process), 20, "the agent listens")
        assert not process.ended, f"the agent ended at once:\n{process.err}"
        return process

    def once(self, *arguments: str, timeout: float = 60.0, fresh: bool = False) -> Result:
        """``once``, to its end."""
        return self.launch("once", *arguments, fresh=fresh).wait(timeout)

    def scan(self, *arguments: str, fresh: bool = False) -> Result:
        """``scan``, to its end."""
        return self.launch("scan", *arguments, fresh=fresh).wait()

    def explain(self, *arguments: str, fresh: bool = False) -> Result:
        """``explain``, to its end."""
        return self.launch("explain", *arguments, fresh=fresh).wait()

    def cycles(self, process: AgentProcess, more: int = 4, timeout: float = 20.0) -> None:
        """Let whole comparisons of a running agent pass: what it has not done then, it was not about to do."""

        def ended() -> int:
            return sum("chains" in line for line in process.lines(level="debug"))

        goal = ended() + more
        self.wait(lambda: process.ended or ended() >= goal, timeout, f"{more} more comparisons")
        assert not process.ended, f"the agent ended:\n{process.err[-4000:]}"

    def metrics(self, process: AgentProcess) -> str:
        """A scrape of a running agent."""
        answer = requests.get(f"http://127.0.0.1:{self.port(process)}/metrics", timeout=10)
        answer.raise_for_status()
        return answer.text

    def port(self, process: AgentProcess) -> int:
        """Where a running agent listens."""
        found = self._port(process)
        assert found is not None, f"it does not listen:\n{process.err[-4000:]}"
        return found

    @staticmethod
    def _port(process: AgentProcess) -> int | None:
        return next((int(line["port"]) for line in process.lines() if "port" in line), None)

    def latest_pid(self) -> Future[int]:
        """The pid of the agent started last; of the next one, once it is being started."""
        return self._pid

    def kill_at(
        self, n: int, phase: Literal["before", "after"], only: Callable[[Request], bool] = lambda request: True
    ) -> KillPoint:
        """SIGKILL the agent started last around its n-th request from now; see ``KillPoint``. One at a time."""
        point = KillPoint(n, phase, only, self.latest_pid)
        self.call(point.install, self.sandbox)
        return point


_COUNTS = {
    "Deployment": ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"),
    "StatefulSet": ("replicas", "updatedReplicas", "readyReplicas"),
    "DaemonSet": ("currentNumberScheduled", "updatedNumberScheduled", "numberReady"),
}


def _wanted(kind: str, obj: Object) -> int | None:
    if kind == "DaemonSet":
        return (obj.get("status") or {}).get("desiredNumberScheduled")
    return int(obj["spec"].get("replicas", 1))


def _source(event: Object) -> str:
    return str(event.get("reportingComponent") or (event.get("source") or {}).get("component", ""))
