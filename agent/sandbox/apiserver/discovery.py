"""What the server says it serves: /version, /api, /apis and the resource lists."""

from __future__ import annotations

from typing import Any

from agent.sandbox.apiserver.access import REVIEWS
from agent.sandbox.apiserver.kinds import KINDS, Kind

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_REVIEWS = {
    f"{group}/v1": {"name": name, "singularName": "", "namespaced": False, "kind": kind, "verbs": ["create"]}
    for group, name, kind in REVIEWS.values()
}
_REVIEW_GROUPS = tuple(group for group, _, _ in REVIEWS.values())
VERSION = {
    "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "clean", "buildDate": "",
    "goVersion": "", "compiler": "gc", "platform": "linux/amd64",
}  # fmt: skip


class Served:
    """Which versions of an API group are served, where the world differs from all that this server knows."""

    def __init__(self) -> None:
        self._only: dict[str, tuple[str, ...]] = {}

    def only(self, group: str, *versions: str) -> None:
        """Serve these versions of a group and no other; none: its CustomResourceDefinitions are not installed."""
        self._only[group] = versions

    def has(self, kind: Kind) -> bool:
        """Whether a kind is served."""
        return kind.version in self._only.get(kind.group, (kind.version,))

    def versions(self, group: str) -> list[str]:
        """The versions of a group, newest first."""
        known = [kind.version for kind in KINDS if kind.group == group] or ["v1"] * (group in _REVIEW_GROUPS)
        return list(dict.fromkeys(self._only.get(group, known)))


def _resource(kind: Kind) -> dict[str, Any]:
    described = {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _VERBS,
    }
    return {**described, "shortNames": list(kind.short_names)} if kind.short_names else described


def _subresources(kind: Kind) -> list[dict[str, Any]]:
    described = []
    for name in (*kind.subresources, *(("status",) if kind.status else ())):
        verbs = {"log": ["get"], "status": ["get", "patch", "update"]}.get(name, ["create"])
        item = {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": verbs,
        }
        if name == "eviction":
            item |= {"kind": "Eviction", "group": "policy", "version": "v1"}
        if name == "token":
            item |= {"kind": "TokenRequest", "group": "authentication.k8s.io", "version": "v1"}
        described.append(item)
    return described


def _resource_list(group_version: str, served: Served) -> dict[str, Any] | None:
    kinds = [kind for kind in KINDS if kind.api_version == group_version and served.has(kind)]
    resources = [item for kind in kinds for item in (_resource(kind), *_subresources(kind))]
    if group_version in _REVIEWS:
        resources = [_REVIEWS[group_version]]
    if not resources:
        return None
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _group(name: str, served: Served) -> dict[str, Any] | None:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in served.versions(name)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]} if name and versions else None


def describe(path: str, served: Served) -> dict[str, Any] | None:
    """The document at a discovery path, or None."""
    parts = path.strip("/").split("/")
    match parts:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["api", "v1"]:
            return _resource_list("v1", served)
        case ["apis"]:
            names = dict.fromkeys([*(kind.group for kind in KINDS if kind.group), *_REVIEW_GROUPS])
            groups = [found for name in names if (found := _group(name, served))]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group]:
            found = _group(group, served)
            return {"kind": "APIGroup", "apiVersion": "v1", **found} if found else None
        case ["apis", group, version]:
            return _resource_list(f"{group}/{version}", served)
    return None
