"""Whether a workload's volume can be mounted by one node only: a second pod could not start beside the first."""

from __future__ import annotations

import msgspec

from agent.cluster.errors import ApiProblem, Unreachable
from agent.cluster.resources import RESOURCES
from agent.engine.context import Context

SINGLE = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


class _Spec(msgspec.Struct):
    accessModes: list[str] = []  # the wire's name


class _Claim(msgspec.Struct):
    spec: _Spec


def single_attach(context: Context, namespace: str, claims: tuple[str, ...]) -> str:
    """The first claim that only one node can mount, or that could not be read (then it may be one); empty: none."""
    for name in claims:
        try:
            body = context.conn.request("GET", RESOURCES["persistentvolumeclaims"].path(namespace, name)).body
            modes = set(msgspec.json.decode(body, type=_Claim).spec.accessModes)
        except (ApiProblem, Unreachable, msgspec.DecodeError, ValueError):
            return f"{name} (could not be read)"
        if not modes or modes <= SINGLE:
            return name
    return ""
