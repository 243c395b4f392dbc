"""From an HTTP method and path to the resource and verb that are meant."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from agent.sandbox.apiserver.kinds import BY_PATH, Kind


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a path names. ``namespace`` is None for a collection over all namespaces and "" for cluster-scoped kinds."""

    kind: Kind
    namespace: str | None
    name: str = ""
    subresource: str = ""


def route(path: str) -> Target | None:
    """The target of a path, or None if nothing is served there."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    kind = BY_PATH.get((group, version, rest[0]))
    if kind is None or len(rest) > 3 or not all(rest):
        return None
    name, subresource = (*rest[1:], "", "")[:2]
    if not kind.namespaced:
        return None if namespace is not None else Target(kind=kind, namespace="", name=name, subresource=subresource)
    if name and namespace is None:
        return None
    if subresource and subresource not in kind.subresources and not (subresource == "status" and kind.status):
        return None
    return Target(kind=kind, namespace=namespace, name=name, subresource=subresource)


def verb_of(method: str, *, named: bool, watch: bool) -> str | None:
    """The API verb (``list``, ``deletecollection``, ...) of a method; None where the method means nothing."""
    if method in ("GET", "HEAD"):
        return "get" if named else "watch" if watch else "list"
    verbs = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"} if named else {"DELETE": "deletecollection"}
    return "create" if method == "POST" else verbs.get(method)
