"""The world of the benchmark in a process of its own: an API server and three vaults, from memory, nobody acting.

Talks in lines of JSON: says ``{"ready": ...}`` when it is there; answers ``take`` on stdin with all that was asked
since the last ``take``.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

from agent.sandbox.files import write_files
from agent.sandbox.thread import SandboxThread
from agent.sandbox.world import Options, Sandbox
from tests.bench.objects import DAY, KEYS, Size, every_object, value, vault_of, vault_secret


class WatchBytes:
    """Counts what watches send, which no audit entry tells."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sent = 0
        watches = sandbox.api._watches
        pump = watches.pump

        async def counted(watcher: Any, write: Any) -> None:
            async def counting(chunk: bytes) -> None:
                self.sent += len(chunk)
                await write(chunk)

            await pump(watcher, counting)

        watches.pump = counted  # type: ignore[method-assign]


def fill(sandbox: Sandbox, size: Size) -> int:
    """Put everything in place; returns how many objects there are."""
    now = sandbox.clock.now()
    count = 0
    for obj in every_object(size, now):
        sandbox.api.seed(obj)
        count += 1
    sandbox.api.compact()
    for index in range(size.chains):
        vault = sandbox.vaults.vault(vault_of(index))
        text = json.dumps({key: value(index, key) for key in KEYS})
        vault.set(
            vault_secret(index), text, created=now - 40 * DAY, content_type="application/json",
            tags={"team": "platform", "rotation": "90d"},
        )  # fmt: skip
    return count


def taken(sandbox: Sandbox, watches: WatchBytes) -> dict[str, Any]:
    """What was asked since the last call, and forget it."""
    api = [entry for entry in sandbox.api.audit if entry.user == "agent"]
    sandbox.api.audit.clear()
    vault = list(sandbox.vaults.audit)
    sandbox.vaults.audit.clear()
    watched, watches.sent = watches.sent, 0
    return {
        "api": [
            {"verb": e.verb, "resource": e.resource, "path": e.path, "query": dict(e.query), "code": e.code,
             "bytes": e.body_size_out, "at": e.at}
            for e in api
        ],
        "vault": [{"vault": e.vault, "operation": e.operation, "at": e.at} for e in vault if e.vault],
        "watched_bytes": watched,
    }  # fmt: skip


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("chains", type=int)
    arguments = parser.parse_args()
    began = time.monotonic()
    gc.disable()  # a world of 80,000 objects that live for ever
    with SandboxThread(Options(eso=False, workloads=False, kubelet=False)) as world:
        watches = world.call(WatchBytes, world.sandbox)
        count = world._loop.run(_filled(world.sandbox, Size(arguments.chains)), timeout=600.0)
        variables = world.call(write_files, world.sandbox, arguments.directory)
        gc.collect()
        gc.freeze()
        gc.enable()
        ready = {"objects": count, "seconds": time.monotonic() - began, "environment": variables}
        ready["bytes"] = world.call(_sizes, world.sandbox)
        print(json.dumps({"ready": ready}), flush=True)
        for line in sys.stdin:
            if line.strip() == "take":
                print(json.dumps(world.call(taken, world.sandbox, watches)), flush=True)


async def _filled(sandbox: Sandbox, size: Size) -> int:
    return fill(sandbox, size)


def _sizes(sandbox: Sandbox) -> dict[str, float]:
    """Average size in bytes of the objects of each kind."""
    shelves = {kind.plural: shelf.objects.values() for kind, shelf in sandbox.api.store._shelves.items()}
    return {name: sum(len(o.raw) for o in found) / len(found) for name, found in shelves.items() if found}


if __name__ == "__main__":
    main()
