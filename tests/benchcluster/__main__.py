"""`make bench-cluster`: the agent against a real etcd, API server and controllers.

2,000 ExternalSecrets, as many Secrets and Deployments, and 10,000 pods are put in; then a steady `once` is held against
the raw download of the same lists, `run` is left alone, and a secret is rotated under it. Goals that are missed are
reported as missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from support.realworld import OwnPlane
from support.rights import ALWAYS
from support.views import RealView

from agent.sandbox.files import write_files
from agent.sandbox.thread import SandboxThread
from agent.sandbox.world import Options
from tests.bench.__main__ import POLICY
from tests.bench.filling import Filling
from tests.bench.measuring import good, ran, raw_download, requests_of, running
from tests.bench.objects import DAY, KEYS, VAULTS, Size, value, vault_of, vault_secret
from tests.bench.reaction import VAULT, Backend, legs, until
from tests.bench.relay import Relay
from tests.bench.shipped import ONCE, RUN, shipped

FILL = 600.0
INTERVAL, SETTLE = 5, 5
IDLE_INTERVAL = 10
UNSEEN = 10.0
"""Seconds between the first look at the Secrets and the first pod: what starts then is fresh, whatever clocks say."""


class Bench:
    """One filled cluster."""

    def __init__(self, own: OwnPlane, world: SandboxThread, directory: Path, chains: int) -> None:
        self._plane, self._world, self._directory = own.plane, world, directory
        self._size = Size(chains)
        self._view = RealView(world, own.requested)
        self._seen = 0
        self._environment = world.call(write_files, world.sandbox, directory) | shipped(directory / "shipped")

    def take(self) -> dict[str, Any]:
        """What the agent has asked since the last call."""
        time.sleep(0.5)  # the last lines of the audit log
        entries = [entry for entry in self._view.requests() if entry.user == "agent"]
        new, self._seen = entries[self._seen :], len(entries)
        vaults = self._world.sandbox.vaults
        vault = self._world.call(lambda: list(vaults.audit))
        self._world.call(vaults.audit.clear)
        api = [
            {"verb": e.verb, "resource": e.resource, "path": e.path, "query": dict(e.query), "code": e.code}
            for e in new
        ]
        return {"api": api, "vault": [{"vault": e.vault, "operation": e.operation} for e in vault if e.vault]}

    def fill(self) -> dict[str, Any]:
        """Everything in its place; the agent's first look comes before the first pod."""
        began = time.monotonic()
        sandbox = self._world.sandbox
        self._world.call(self._fill_vaults)
        filling = Filling(sandbox.admin, self._size)
        self._world.run(filling.namespaces(), FILL)
        self._world.run(filling.chains(), FILL)
        first = good(ran(self._once(), self._environment))
        looked = time.monotonic()
        self._plane.kill("controller-manager")
        time.sleep(max(0.0, UNSEEN - (time.monotonic() - looked)))
        self._world.run(filling.workloads(), FILL)
        self._plane.restart("controller-manager")
        self._world.run(filling.settled(), FILL)
        return {"objects": filling.count, "fill_seconds": time.monotonic() - began, "first_seconds": first.wall}

    def _fill_vaults(self) -> None:
        sandbox = self._world.sandbox
        created = sandbox.clock.now() - 40 * DAY
        for index in range(self._size.chains):
            text = json.dumps({key: value(index, key) for key in KEYS})
            sandbox.vaults.vault(vault_of(index)).set(vault_secret(index), text, created=created)

    def _once(self) -> list[str]:
        return [*ONCE, str(self._policy())]

    def _policy(self, interval: int = 60, **recycle: str) -> Path:
        names = [*VAULTS, VAULT]
        vaults = "\n".join(f'  - {{name: {name}, namespaces: ["*"], requestsPerSecond: 400}}' for name in names)
        document = yaml.safe_load(POLICY.format(interval=interval, vaults=vaults))
        document["recycle"][0] |= recycle
        document["margins"] = {"kubeletLag": "0s", "node": "1s"}
        path = self._directory / "policy.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    def steady(self, runs: int) -> dict[str, Any]:
        """A steady `once` against the same lists raw, in turns."""
        good(ran(self._once(), self._environment))  # takes in the pods
        self.take()
        ratios, walls, raws, cpu = [], [], [], []
        asked: dict[str, Any] = {}
        for _ in range(runs):
            one = good(ran(self._once(), self._environment))
            asked = self.take()
            raw = raw_download(self._environment, asked)
            self.take()
            ratios.append(one.wall / raw["seconds"])
            walls.append(one.wall)
            cpu.append(one.cpu)
            raws.append(raw)
        return {
            "steady_seconds": statistics.median(walls),
            "steady_cpu_seconds": statistics.median(cpu),
            "raw_seconds": statistics.median(raw["seconds"] for raw in raws),
            "raw_bytes": raws[-1]["bytes"],
            "raw_api_bytes": raws[-1]["api_bytes"],
            "steady_ratio": statistics.median(ratios),
            "steady_requests": requests_of(asked),
        }

    def idle(self, seconds: float) -> dict[str, Any]:
        """`run` with nothing to do: what it asks of the API server in a minute, and the bytes on the wire."""
        at = urlsplit(self._world.sandbox.url)
        relay = Relay(str(at.hostname), int(at.port or 443))
        port = self._world.run(relay.start())
        config = yaml.safe_load(Path(self._environment["KUBECONFIG"]).read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        kubeconfig = self._directory / "kubeconfig-relay"
        kubeconfig.write_text(yaml.safe_dump(config))
        log = self._directory / "idle.log"
        command = self._run(self._policy(interval=IDLE_INTERVAL))
        with running(command, {**self._environment, "KUBECONFIG": str(kubeconfig)}, log) as agent:
            _until_compared(log)
            self.take()
            before, cpu = relay.received + relay.sent, agent.cpu()
            time.sleep(seconds)
            spent, size = agent.cpu() - cpu, relay.received + relay.sent - before
            asked = self.take()
        self._world.run(relay.stop())
        return {
            "idle_requests_per_minute": len(asked["api"]) * 60 / seconds,
            "idle_bytes_per_minute": size * 60 / seconds,
            "idle_cpu_percent": 100 * spent / seconds,
        }

    def _run(self, policy: Path) -> list[str]:
        return [*RUN, str(policy), "--log-level", "debug"]

    def reaction(self, rotations: int) -> dict[str, Any]:
        """A secret that three pods consume is rotated under `run`, with ESO and kubelets at work."""
        world, sandbox = self._world, self._world.sandbox
        world.call(lambda: sandbox.start_actor(sandbox.eso.run(), "ESO"))
        world.call(lambda: sandbox.start_actor(sandbox.kubelet.run(), "kubelet"))
        backend = Backend(world, "value-0")
        until(backend.ready, 120)
        log = self._directory / "reaction.log"
        found = []
        with running(self._run(self._policy(INTERVAL, settle=f"{SETTLE:g}s")), self._environment, log):
            _until_compared(log)
            for number in range(1, rotations + 1):
                time.sleep(3 + number)  # not always at the same moment of an interval
                rotated = backend.rotate(text := f"value-{number}")
                until(lambda text=text: backend.fresh(text) and backend.ready(), 120)  # type: ignore[misc]
                found.append(legs(self._view.requests(), rotated, sandbox.clock.now(), INTERVAL, SETTLE))
        return {name: statistics.median(one[name] for one in found) for name in found[0]}


def _until_compared(log: Path) -> None:
    """Wait until `run` has compared everything, and again. Raises SystemExit with what it said."""
    try:
        until(lambda: log.read_text().count('"chains":') >= 2, 120)
    except TimeoutError:
        raise SystemExit(f"`run` did not come to compare anything\n{log.read_text()[-4000:]}") from None


def _rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, figure, goal and whether it is met)."""
    react, asked = result["reaction"], result["steady_requests"]
    ratio = result["steady_ratio"]
    late = react["rotated_to_force_sync_ms"] - react["interval_ms"]

    def goal(figure: float, most: float, said: str) -> str:
        return f"{said}: {'met' if figure <= most else 'MISSED'}"

    return [
        ("ExternalSecrets / objects", f"{result['chains']:,} / {result['objects']:,}", ""),
        ("`once`, steady", f"{result['steady_seconds']:.2f} s", ""),
        ("the same lists raw", f"{result['raw_seconds']:.2f} s", ""),
        ("`steady_ratio` (median of the runs)", f"{ratio:.2f}", goal(ratio, 2.0, "<= 2")),
        ("API requests of it / writes", f"{asked['api']} / {asked['api_writes']}", ""),
        ("bytes that it reads from the API server", f"{result['raw_api_bytes'] / 1e6:.1f} MB", ""),
        ("`run`, idle: API requests in a minute", f"{result['idle_requests_per_minute']:.0f}", ""),
        ("`run`, idle: bytes on the wire in a minute", f"{result['idle_bytes_per_minute']:,.0f}", ""),
        (f"`run`, idle: CPU (interval {IDLE_INTERVAL} s)", f"{result['idle_cpu_percent']:.2f} %", ""),
        ("rotated to force-sync, beyond the interval of 5 s", f"{max(0.0, late):.0f} ms", goal(late, 1000, "<= 1 s")),
        ("force-sync to acknowledged", f"{react['force_sync_to_acknowledged_ms']:.0f} ms",
         goal(react["force_sync_to_acknowledged_ms"], 1000, "<= 1 s")),
        ("acknowledged and verified to canary evicted, beyond `settle` of 5 s",
         f"{react['settle_end_to_first_eviction_ms']:.0f} ms",
         goal(react["settle_end_to_first_eviction_ms"], 1000, "<= 1 s")),
        ("rotated to all containers fresh", f"{react['rotated_to_all_fresh_ms'] / 1000:.1f} s", ""),
    ]  # fmt: skip


def main() -> int:
    """The whole benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchcluster", description=__doc__)
    parser.add_argument("--chains", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3, help="steady runs and rotations, of which the median is told")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds for which `run` is left alone")
    parser.add_argument("--output", type=Path, default=Path("build/bench-cluster.json"))
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "python": sys.version.split()[0], "load": os.getloadavg()[0]},
        "chains": arguments.chains,
    }
    options = Options(eso=False, workloads=False, kubelet=False)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        own = OwnPlane()
        stack.callback(own.stop)
        own.grant(ALWAYS | {"heal"})
        world = stack.enter_context(SandboxThread(options, cluster=own.cluster))
        bench = Bench(own, world, directory, arguments.chains)
        for name, part in (
            ("filling", bench.fill), ("steady", lambda: bench.steady(arguments.runs)),
            ("idle", lambda: bench.idle(arguments.idle)),
        ):  # fmt: skip
            print(f"{name} ...", file=sys.stderr, flush=True)
            result |= part()
        print("reaction ...", file=sys.stderr, flush=True)
        result["reaction"] = bench.reaction(arguments.runs)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print("| on a real API server | | goal |\n|---|---|---|")
    for what, figure, goal in _rows(result):
        print(f"| {what} | {figure} | {goal} |")
    print(f"\nwritten to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
