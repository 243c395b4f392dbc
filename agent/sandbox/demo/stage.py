"""The stage: the embedded world with the runbook's objects, the agent as a process of its own, and who watches."""

from __future__ import annotations

import json
import os
import re
import subprocess  # the agent runs as it would in a pod: a process of its own
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from agent.sandbox import builders as make
from agent.sandbox.actors.controller.objects import ready
from agent.sandbox.actors.kubelet import Received, Settings
from agent.sandbox.client import DEPLOYMENTS, EXTERNAL_SECRETS, Object
from agent.sandbox.files import write_files
from agent.sandbox.thread import SandboxThread
from agent.sandbox.world import AGENT_NAMESPACE, Options

NAMESPACE = "klinematrix-test"
VAULT = "klinematrix-test-kv"
CHAIN = "app-secrets"
MONGODB = "mongodb-connection-string-test"
AGED = 7200.0
"""Seconds by which the world is older than the agent: nothing in it happened "just now".

It begins in the past, so that kubectl, which has this machine's time, can tell how old things are.
"""

POLICY = f"""\
apiVersion: secret-drift-agent/v1
kind: HealPolicy
mode: heal
interval: 500ms
vaults:
  - {{name: {VAULT}, namespaces: ["{NAMESPACE}"], requestsPerSecond: 100}}
sync:
  - {{namespaces: ["{NAMESPACE}"], steps: [force-sync, recreate]}}
recycle:
  - namespaces: ["{NAMESPACE}"]
    settle: 1s
    canary: {{readyWithin: 30s, log: {{success: "MongoDB connected", failure: "authentication failed", within: 20s}}}}
margins: {{kubeletLag: 0s, node: 1s}}
"""
"""As in production, but for the times: nobody wants to watch a settle time of 15 seconds six times."""

APP = {"env": "MONGODB_URI", "backend": "mongodb", "success": "MongoDB connected", "failure": "authentication failed"}


class Line(NamedTuple):
    """One line that the agent logged."""

    at: float  # monotonic, when it was read
    text: str
    fields: dict[str, object]


class Stage:
    """``with Stage(directory) as stage``: the world is up, its pods are ready, the agent has had its first look."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        nodes = Settings(start=0.15, ready=0.3, termination=0.15)
        self._thread = SandboxThread(Options(node_settings=nodes, behind=AGED))
        self.lines: list[Line] = []
        self.on_line: Callable[[Line], None] = lambda _: None
        self._agent: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Stage:
        self._thread.__enter__()
        try:
            self._build()
            self._start_agent()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._agent is not None and self._agent.poll() is None:
            self._agent.terminate()
            try:
                self._agent.wait(10)
            except subprocess.TimeoutExpired:
                self._agent.kill()
        self._thread.__exit__(kind, error, trace)

    # -------------------------------------------------------------------------------------------- acting on it

    def rotate(self, name: str, value: str) -> None:
        """A new version in the vault."""
        vaults = self._thread.sandbox.vaults
        self._thread.call(lambda: vaults.vault(VAULT).set(name, value))

    def reject(self, value: str) -> None:
        """MongoDB does not know this password."""
        self._thread.call(self._thread.sandbox.backends.reject, "mongodb", value)

    def allow_eso(self, allowed: bool) -> None:
        """Give or take ESO's right to read secrets of the vault."""
        vaults = self._thread.sandbox.vaults
        self._thread.call(lambda: vaults.grant("eso", VAULT, list=True, get=allowed))

    def add_keys(self, keys: dict[str, str]) -> None:
        """Edit the ExternalSecret as a developer would: more entries in ``spec.data``."""
        found = self._get(CHAIN)
        data = found["spec"]["data"] + [{"secretKey": k, "remoteRef": {"key": name}} for k, name in keys.items()]
        admin = self._thread.sandbox.admin
        self._thread.run(admin.merge_patch(EXTERNAL_SECRETS, NAMESPACE, CHAIN, {"spec": {"data": data}}))

    # ------------------------------------------------------------------------------------------------ watching

    def held(self, app: str) -> list[Received]:
        """What the running containers of a Deployment hold, by the kubelets' record."""
        running = self._thread.call(self._thread.sandbox.kubelet.running, terminating=False)
        return [each for each in running if each.namespace == NAMESPACE and each.pod.startswith(f"{app}-")]

    def all_hold(self, app: str, wanted: dict[str, str], replicas: int) -> bool:
        """Every container of the Deployment runs with these values of the Secret's keys."""
        return len(self.held(app)) == replicas == self.holding(app, wanted)

    def holding(self, app: str, wanted: dict[str, str]) -> int:
        """How many containers of the Deployment run with these values of the Secret's keys."""
        values = {key: value.encode() for key, value in wanted.items()}
        found = ({key: v for (_, key), v in each.source.items() if key in wanted} for each in self.held(app))
        return sum(got == values for got in found)

    def ready(self, app: str) -> int:
        """Ready replicas of a Deployment."""
        found: Object = self._thread.run(self._thread.sandbox.admin.get(DEPLOYMENTS, NAMESPACE, app))
        return int(found.get("status", {}).get("readyReplicas") or 0)

    def log_says(self, app: str, pattern: str) -> bool:
        """The log of every running container of a Deployment has a line with this text."""
        kubelet = self._thread.sandbox.kubelet
        names = {each.pod for each in self.held(app)}
        logs = [self._thread.call(lambda pod=name: kubelet.logs(NAMESPACE, pod, "app") or []) for name in names]
        return bool(logs) and all(any(re.search(pattern, line) for _, line in log) for log in logs)

    def is_ready(self, chain: str) -> bool:
        """What ESO says of an ExternalSecret."""
        return ready(self._get(chain))

    def actions(self) -> list[str]:
        """What the agent changed so far, outside its own namespace, in order; Events aside."""
        audit = self._thread.call(lambda: list(self._thread.sandbox.api.audit))
        return [
            _ACTIONS.get((entry.verb, entry.resource, entry.subresource), f"{entry.verb} {entry.resource}")
            for entry in audit
            if entry.user == "agent"
            and entry.verb in ("create", "update", "patch", "delete")
            and entry.namespace != AGENT_NAMESPACE
            and entry.resource != "events"
            and entry.code < 400
        ]

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Until it is so; False if it is not in time."""
        ends = time.monotonic() + seconds
        while not done():
            if time.monotonic() > ends or (self._agent is not None and self._agent.poll() is not None):
                return False
            time.sleep(0.02)
        return True

    # -------------------------------------------------------------------------------------------------- details

    def _get(self, chain: str) -> Object:
        return self._thread.run(self._thread.sandbox.admin.get(EXTERNAL_SECRETS, NAMESPACE, chain))

    def _build(self) -> None:
        sandbox = self._thread.sandbox
        self.environment = self._thread.call(write_files, sandbox, self.directory)
        (self.directory / "policy.yaml").write_text(POLICY)
        secrets = {
            MONGODB: "mongodb://app:first@db/klinematrix", "api-key-test": "key-one", "report-signing-key": "seal-one",
            "langfuse-public-key": "pk-lf-one", "langfuse-secret-key": "sk-lf-one",
        }  # fmt: skip
        for name, value in secrets.items():
            self.rotate(name, value)
        self._thread.apply(
            make.secret_store(VAULT, NAMESPACE),
            make.external_secret(
                CHAIN, NAMESPACE, {"MONGODB_URI": MONGODB, "API_KEY": "api-key-test"}, refreshInterval="24h"
            ),
            make.external_secret(
                "report-signing", NAMESPACE, {"SIGNING_KEY": "report-signing-key"}, refreshInterval="24h",
                target={"immutable": True},
            ),
            make.deployment("backend", NAMESPACE, 3, env_from=[CHAIN], app={"app": APP}),
            make.deployment("worker", NAMESPACE, 1, env={"MONGODB_URI": (CHAIN, "MONGODB_URI")}, app={"app": APP}),
            make.deployment(
                "reports", NAMESPACE, 2, env={"SIGNING_KEY": ("report-signing", "SIGNING_KEY")}, one_per_node=True,
                app={"app": {**APP, "env": "SIGNING_KEY", "backend": "seal"}},
            ),
        )  # fmt: skip
        if not self.wait(lambda: (self.ready("backend"), self.ready("worker"), self.ready("reports")) == (3, 1, 2), 20):
            raise RuntimeError("the embedded world did not come up")
        self._thread.advance(AGED)

    def _start_agent(self) -> None:
        command = [sys.executable, "-m", "agent", "run", "--policy", str(self.directory / "policy.yaml")]
        self._agent = subprocess.Popen(  # noqa: S603
            [*command, "--host", "127.0.0.1", "--port", "0"],
            env={**os.environ, **self.environment}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self.wait(self._has_looked, 30):
            raise RuntimeError(f"the agent did not start:\n{''.join(line.text for line in self.lines)}")

    def _has_looked(self) -> bool:
        """The containers are judged, and the syncs are over that settle what is as old as its version: no story's."""
        said = "\n".join(line.text for line in list(self.lines))
        begun, ended = said.count("asked ESO to sync now"), said.count("ESO acknowledged the force-sync")
        return "containers may run an old value" in said and begun == ended

    def _read(self) -> None:
        assert self._agent is not None
        assert self._agent.stderr is not None
        for raw in self._agent.stderr:
            try:
                fields = json.loads(raw)
            except ValueError:
                fields = {"event": raw.rstrip()}
            line = Line(time.monotonic(), str(fields.get("event", "")), fields)
            self.lines.append(line)
            self.on_line(line)


_ACTIONS = {
    ("patch", "externalsecrets", ""): "force-sync",
    ("create", "pods", "eviction"): "evict",
    ("delete", "secrets", ""): "recreate",
    ("patch", "deployments", ""): "restart",
}
