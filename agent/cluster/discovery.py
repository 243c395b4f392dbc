"""What the API server serves: its own version, and which versions and resources of a group."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem

ESO_GROUP = "external-secrets.io"
T = TypeVar("T")


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""


class _GroupVersion(msgspec.Struct):
    version: str


class _Group(msgspec.Struct):
    versions: list[_GroupVersion]


class _Resource(msgspec.Struct):
    name: str


class _Resources(msgspec.Struct):
    resources: list[_Resource]


class EsoServed(NamedTuple):
    """What is served of External Secrets Operator's API."""

    versions: tuple[str, ...]  # of the group; empty: it is not installed
    resources: frozenset[str] = frozenset()  # of v1
    push: bool = False  # v1alpha1 has PushSecrets


def server_version(conn: Connection) -> str:
    """``v1.36.3``. Raises ApiProblem, Unreachable, BadAnswer."""
    return _decoded(conn.request("GET", "/version").body, _Version, "/version").git_version


def eso_served(conn: Connection) -> EsoServed:
    """By discovery, which every authenticated user may read. Raises ApiProblem, Unreachable, BadAnswer."""
    try:
        body = conn.request("GET", f"/apis/{ESO_GROUP}").body
    except ApiProblem as error:
        if error.code == 404:
            return EsoServed(())
        raise
    versions = tuple(each.version for each in _decoded(body, _Group, ESO_GROUP).versions)
    resources = _resources(conn, "v1") if "v1" in versions else frozenset()
    push = "v1alpha1" in versions and "pushsecrets" in _resources(conn, "v1alpha1")
    return EsoServed(versions, resources, push)


def _resources(conn: Connection, version: str) -> frozenset[str]:
    path = f"/apis/{ESO_GROUP}/{version}"
    found = _decoded(conn.request("GET", path).body, _Resources, path)
    return frozenset(each.name for each in found.resources)


def _decoded(body: bytes, form: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer(f"{what} cannot be read") from None
