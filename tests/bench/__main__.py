"""``python -m tests.bench``: measures the agent as a process, prints a table, writes ``build/bench.json``.

Everything comes from one run: a world of 10,000 ExternalSecrets (and one of a tenth of it) served from memory by a
process of its own, `once` on it, the same bytes downloaded raw, and `run` left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.bench.measuring import Running, World, good, ran, raw_download, requests_of, running
from tests.bench.objects import VAULTS
from tests.bench.reaction import reaction
from tests.bench.scrape import probe, scrape
from tests.bench.shipped import ONCE, PYTHON, RUN, shipped
from tests.bench.table import table

_FOR_PROBES = 0.5
"""CPU seconds a second that a hundred probes may cost the agent; while it is at its work it spends twice that."""
SIZES = {"small": 1_000, "full": 10_000}
POLICY = """apiVersion: secret-drift-agent/v1
kind: HealPolicy
mode: heal
interval: {interval}s
vaults:
{vaults}
sync: [{{namespaces: ["*"], steps: [force-sync]}}]
recycle: [{{namespaces: ["*"]}}]
"""


def main() -> int:
    """The whole benchmark; 1 if the agent did not do its work."""
    arguments = _arguments()
    sizes = list(SIZES) if arguments.size == "both" else [arguments.size]
    result: dict[str, Any] = {"machine": {"cores": os.cpu_count(), "python": sys.version.split()[0]}}
    with tempfile.TemporaryDirectory() as directory:
        result["import_seconds"] = _import_seconds(shipped(Path(directory) / "shipped"))
    for name in sizes:
        with tempfile.TemporaryDirectory() as directory:
            result[name] = measure(Path(directory), SIZES[name], arguments.runs, arguments.idle)
    result["scrape"] = scrape()
    if arguments.idle:
        with tempfile.TemporaryDirectory() as directory:
            result["reaction"] = reaction(Path(directory))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    print(f"\nwritten to {arguments.output}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--size", choices=("small", "full", "both"), default="both")
    parser.add_argument("--quick", action="store_true", help="small world, one steady run, neither idle nor reaction")
    parser.add_argument("--runs", type=int, default=3, help="steady runs, of which the median is told")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds for which `run` is left alone (0: not)")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.runs, arguments.idle = "small", 1, 0.0
    return arguments


def _import_seconds(environment: dict[str, str]) -> float:
    """Median wall time of a process that imports all that `once` needs and ends."""
    return statistics.median(ran([*PYTHON, "-c", "import agent.start"], environment).wall for _ in range(3))


def measure(directory: Path, chains: int, runs: int, idle: float) -> dict[str, Any]:
    """All figures of one world."""
    world = World(directory, chains)
    try:
        policy = directory / "policy.yaml"
        vaults = "\n".join(f'  - {{name: {name}, namespaces: ["*"], requestsPerSecond: 400}}' for name in VAULTS)
        policy.write_text(POLICY.format(interval=60, vaults=vaults))
        world.environment |= shipped(directory / "shipped")
        once = [*ONCE, str(policy)]
        world.take()
        first = good(ran(once, world.environment))
        asked_first = world.take()
        steady, asked, raw = [], asked_first, []
        for _ in range(runs):
            steady.append(good(ran(once, world.environment)))
            asked = world.take()
            raw.append(raw_download(world.environment, asked))
            world.take()
        ratios = [one.wall / raws["seconds"] for one, raws in zip(steady, raw, strict=True)]
        figures: dict[str, Any] = {
            "chains": chains,
            "world": {"objects": world.ready["objects"], "bytes_of": world.ready["bytes"]},
            "first_seconds": first.wall,
            "steady_seconds": statistics.median(one.wall for one in steady),
            "steady_cpu_seconds": statistics.median(one.cpu for one in steady),
            "raw_seconds": statistics.median(one["seconds"] for one in raw),
            "raw_api_seconds": statistics.median(one["api_seconds"] for one in raw),
            "raw_bytes": raw[-1]["bytes"],
            "steady_ratio": statistics.median(ratios),
            "once_rss_mb": max(one.rss_mb for one in [first, *steady]),
            "first_requests": requests_of(asked_first),
            "steady_requests": requests_of(asked),
            "vault_request_goal": sum(-(-count // 25) for count in _per_vault(chains)),
        }
        if idle:
            figures |= _idle(world, directory, policy, idle)
            figures |= _probed(world, directory, policy)
        figures["peak_rss_mb"] = max(figures["once_rss_mb"], figures.get("run_rss_mb", 0.0))
        return figures
    finally:
        world.close()


def _per_vault(chains: int) -> list[int]:
    namespaces = -(-chains // 100)
    return [100 * len(range(number, namespaces, len(VAULTS))) for number in range(len(VAULTS))]


def _idle(world: World, directory: Path, policy: Path, seconds: float) -> dict[str, Any]:
    """`run` with nothing to do, from when its first comparisons are over, for one interval or more."""
    policy.write_text(policy.read_text().replace("interval: 60s", f"interval: {seconds:g}s"))
    command = [*RUN, str(policy)]
    with running(command, world.environment, directory / "run.log") as agent:
        began = time.monotonic()
        start = _settled(world, agent)
        world.take()
        cpu, at = agent.cpu(), time.monotonic()
        time.sleep(seconds)
        spent, passed = agent.cpu() - cpu, time.monotonic() - at
        asked = world.take()
        return {
            "run_start_seconds": start - began,
            "run_rss_mb": agent.memory_mb("VmHWM"),
            "run_rss_now_mb": agent.memory_mb("VmRSS"),
            "idle_cpu_percent": 100 * spent / passed,
            "idle_window_seconds": passed,
            "idle_bytes_per_minute": (sum(e["bytes"] for e in asked["api"]) + asked["watched_bytes"]) * 60 / passed,
            "idle_requests": requests_of(asked),
        }


def _probed(world: World, directory: Path, policy: Path) -> dict[str, float]:
    """How long a probe waits while `run` reads, decodes and judges everything, from its first sign of life on."""
    command = [*RUN, str(policy)]
    log = directory / "probed.log"
    with running(command, world.environment, log) as agent:
        while (told := re.search(r'"port":(\d+)', log.read_text())) is None:
            time.sleep(0.05)
        settled = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(probe, int(told[1]), lambda: not settled.is_set())
            try:
                _settled(world, agent, besides=_FOR_PROBES)
            finally:
                settled.set()
        return waits.result()


def _settled(world: World, agent: Running, besides: float = 0.0) -> float:
    """When nothing was asked for and no CPU spent any more; two seconds of quiet show it.

    ``besides``: CPU seconds a second that the agent may spend on whoever asks it something meanwhile.
    """
    quiet = time.monotonic()
    cpu = agent.cpu()
    seen = False
    while not seen or time.monotonic() - quiet < 2.0:
        time.sleep(0.25)
        if agent.process.poll() is not None:
            raise SystemExit(f"`run` ended with {agent.process.returncode}")
        asked = world.take()
        seen = seen or bool(asked["vault"])
        spent = agent.cpu() - cpu - besides * (time.monotonic() - quiet)
        if asked["api"] or asked["vault"] or spent > 0.02:
            quiet, cpu = time.monotonic(), agent.cpu()
    return quiet


if __name__ == "__main__":
    sys.exit(main())
