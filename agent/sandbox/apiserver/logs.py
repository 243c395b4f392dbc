"""The log subresource of pods; the lines come from whoever plays the kubelet."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from agent.sandbox.apiserver.kinds import PODS
from agent.sandbox.apiserver.status import StatusError, bad_request
from agent.sandbox.apiserver.writes import Writes
from agent.sandbox.logtext import BadQuery, log_text

Lines = list[tuple[float, str]]
LogProvider = Callable[[str, str, str, bool], "Awaitable[Lines | None] | Lines | None"]
"""(namespace, pod, container, previous) -> (unix seconds, line) in order, or None if there is no such log."""


def _container(pod: dict[str, Any], wanted: str) -> str:
    spec, name = pod["spec"], pod["metadata"]["name"]
    plain = [container["name"] for container in spec.get("containers") or ()]
    if not wanted:
        if len(plain) == 1:
            return str(plain[0])
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(plain)}]")
    init = [container["name"] for container in spec.get("initContainers") or ()]
    if wanted not in plain + init:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    return wanted


async def read_log(
    writes: Writes, provider: LogProvider | None, namespace: str, name: str, query: dict[str, str]
) -> bytes:
    """The text of a container's log. Raises StatusError 400, 404 or 422."""
    pod = writes.existing(PODS, namespace, name).decoded()
    container = _container(pod, query.get("container", ""))
    previous = query.get("previous") in ("true", "1")
    found = provider(namespace, name, container, previous) if provider else None
    lines = await found if inspect.isawaitable(found) else found
    if lines is None:
        if previous:
            raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating')
    try:
        return log_text(lines, query, writes.clock.now())
    except BadQuery as error:
        if error.name == "sinceTime":
            raise bad_request(f"sinceTime: {error.value!r} is no RFC 3339 time") from error
        told = f'PodLogOptions "" is invalid: {error.name}: Invalid value: "{error.value}"'
        raise StatusError(422, "Invalid", told) from error
