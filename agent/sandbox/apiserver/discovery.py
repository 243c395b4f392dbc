"""What the server says it serves: /version, /api, /apis and the resource lists."""

from __future__ import annotations

from typing import Any

from agent.sandbox.apiserver.kinds import KINDS, Kind

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_REVIEW = {
    "name": "selfsubjectaccessreviews", "singularName": "", "namespaced": False, "kind": "SelfSubjectAccessReview",
    "verbs": ["create"],
}  # fmt: skip
VERSION = {
    "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "clean", "buildDate": "",
    "goVersion": "", "compiler": "gc", "platform": "linux/amd64",
}  # fmt: skip


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
        described.append(item)
    return described


def _resource_list(group_version: str) -> dict[str, Any] | None:
    resources = [
        item for kind in KINDS if kind.api_version == group_version for item in (_resource(kind), *_subresources(kind))
    ]
    if group_version == "authorization.k8s.io/v1":
        resources = [_REVIEW]
    if not resources:
        return None
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _group(name: str) -> dict[str, Any] | None:
    served = [kind.version for kind in KINDS if kind.group == name] or (
        ["v1"] if name == "authorization.k8s.io" else []
    )
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in dict.fromkeys(served)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]} if name and versions else None


def describe(path: str) -> dict[str, Any] | None:
    """The document at a discovery path, or None."""
    parts = path.strip("/").split("/")
    match parts:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["api", "v1"]:
            return _resource_list("v1")
        case ["apis"]:
            names = dict.fromkeys([*(kind.group for kind in KINDS if kind.group), "authorization.k8s.io"])
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in names]}
        case ["apis", group]:
            found = _group(group)
            return {"kind": "APIGroup", "apiVersion": "v1", **found} if found else None
        case ["apis", group, version]:
            return _resource_list(f"{group}/{version}")
    return None
