"""The log canary: what a new pod's containers say. Only the pattern's kind is kept, never a line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.cluster import reader
from agent.cluster.errors import ApiProblem, Unreachable
from agent.engine.context import Context
from agent.model import Pod, WorkloadKey
from agent.policy import LogCanary

LOG_BYTES = 256 * 1024
LONGEST_LINE = 1000
"""Characters of a line that patterns are held against: what the policy lets through is polynomial at worst."""
AGAIN = 1.0


class LogWatch:
    """Reads the logs of pods under way, at most once a second each, until a line has decided."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: dict[str, str] = {}
        self._read_at: dict[str, float] = {}

    def look(self, pod: Pod, log: LogCanary) -> str:
        """``success``, ``failure``, or empty while nothing has been said."""
        found = self._found.get(pod.uid, "")
        now = self._context.now
        if found or now - self._read_at.get(pod.uid, 0.0) < AGAIN:
            return found
        if not any(run.started for run in pod.runs):
            return ""
        self._read_at[pod.uid] = now
        for spec, run in zip(pod.containers, pod.runs, strict=True):
            if spec.kind == "init" or not spec.uses or run.started is None:
                continue
            try:
                lines = reader.pod_log(self._context.conn, pod.key, spec.name, limit_bytes=LOG_BYTES)
                found = judge(lines, log) or found
            except (ApiProblem, Unreachable):
                continue
            if found == "failure":
                break
        if found:
            self._found[pod.uid] = found
        return found

    def forget(self, key: WorkloadKey) -> None:
        """The heal of a workload is over."""
        alive = {pod.uid for pod in self._context.world.pods.values()}
        for table in (self._found, self._read_at):
            for uid in [uid for uid in table if uid not in alive]:
                del table[uid]


def judge(lines: Iterable[str], log: LogCanary) -> str:
    """The verdict of the first line that matches either pattern; failure wins within a line."""
    success = re.compile(log.success) if log.success else None
    failure = re.compile(log.failure) if log.failure else None
    for line in lines:
        if failure and failure.search(line[:LONGEST_LINE]):
            return "failure"
        if success and success.search(line[:LONGEST_LINE]):
            return "success"
    return ""
