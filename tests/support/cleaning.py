"""What a world leaves in a real cluster is taken away before the next: all that was not there at first."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from agent.cluster.connection import Connection
from agent.cluster.errors import ApiProblem
from agent.sandbox.apiserver.kinds import KINDS, NAMESPACES, Kind
from agent.sandbox.client import Resource

_WITHIN = 20.0
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_AT_ONCE = json.dumps({"gracePeriodSeconds": 0, "propagationPolicy": "Background"}).encode()
_OWNERS = ("CronJob", "Deployment", "Job", "StatefulSet", "DaemonSet", "ReplicaSet")
"""First, or what they own is made anew."""
_CLEANED = sorted(
    (kind for kind in KINDS if kind.kind not in ("Namespace", "ServiceAccount")),
    key=lambda kind: _OWNERS.index(kind.kind) if kind.kind in _OWNERS else len(_OWNERS),
)
_CONTROLLERS_OWN = {("ConfigMap", "kube-root-ca.crt")}
"""In every namespace, put there by the real controllers."""


class Found(NamedTuple):
    """An object, by where it is."""

    kind: str
    namespace: str
    name: str
    finalizers: bool = False

    @property
    def place(self) -> tuple[str, str, str]:
        """What makes it the same object."""
        return self.kind, self.namespace, self.name


class Cleaner:
    """Remembers what is in a cluster now, and takes away later what has been added. Namespaces stay, without marks.

    ``ours``: labels by which what may be taken away is told from what is others': what is in namespaces that bear
    them, and objects without a namespace that do. ``keep``: what is there now stays.
    """

    def __init__(self, conn: Connection, ours: Mapping[str, str] | None = None, *, keep: bool = True) -> None:
        self._conn, self._ours = conn, ours
        self._kept = {found.place for kind in _CLEANED for found in self._all(kind)} if keep else set()

    def clean(self) -> bool:
        """Whether nothing is left, within 20 s. Raises ApiProblem, Unreachable."""
        self._unmark_namespaces()
        until, empty = time.monotonic() + _WITHIN, 0
        while empty < 2:  # a controller that had not heard yet may have made one more pod
            left = [found for kind in _CLEANED for found in self._delete(kind)]
            empty = 0 if left else empty + 1
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def _delete(self, kind: Kind) -> list[Found]:
        left = [each for each in self._all(kind) if each.place not in self._kept and not self._is_controllers_own(each)]
        for found in left:
            path = _resource(kind).path(found.namespace, found.name)
            with _gone_is_fine():
                if found.finalizers:  # whoever would remove them works no more
                    self._patch(path, {"finalizers": None})
                self._conn.request("DELETE", path, body=_AT_ONCE)
        return left

    @staticmethod
    def _is_controllers_own(found: Found) -> bool:
        if found.kind == "Lease":
            return found.namespace == "kube-system"
        return (found.kind, found.name) in _CONTROLLERS_OWN

    def _unmark_namespaces(self) -> None:
        for meta in self._metadata(NAMESPACES):
            name, labels, annotations = meta["name"], meta.get("labels") or {}, meta.get("annotations") or {}
            extra = {label for label in labels if not label.startswith(("kubernetes.io/", "pod-security."))}
            extra -= set(self._ours or ())
            if (extra or annotations) and "deletionTimestamp" not in meta and self._is_ours(labels):
                gone = {"labels": dict.fromkeys(extra), "annotations": dict.fromkeys(annotations)}
                self._patch(_resource(NAMESPACES).path(None, name), gone)

    def _patch(self, path: str, metadata: dict[str, Any]) -> None:
        body = json.dumps({"metadata": metadata}).encode()
        self._conn.request("PATCH", path, body=body, content_type="application/merge-patch+json")

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        return self._ours is None or self._ours.items() <= labels.items()

    def _all(self, kind: Kind) -> Iterator[Found]:
        """Those of a kind that may be taken away."""
        mine = None
        if self._ours is not None and kind.namespaced:
            mine = {each["name"] for each in self._metadata(NAMESPACES) if self._is_ours(each.get("labels") or {})}
        for meta in self._metadata(kind):
            namespace = meta.get("namespace", "")
            if namespace in mine if mine is not None else self._is_ours(meta.get("labels") or {}):
                yield Found(kind.kind, namespace, meta["name"], bool(meta.get("finalizers")))

    def _metadata(self, kind: Kind) -> list[dict[str, Any]]:
        try:
            answer = self._conn.request("GET", _resource(kind).path(), accept=_METADATA)
        except ApiProblem as error:
            if error.code == 404 and self._ours is not None:  # a kind that this cluster does not have
                return []
            raise
        return [item["metadata"] for item in json.loads(answer.body).get("items") or []]


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except ApiProblem as error:
        if error.code not in (404, 409):
            raise


def _resource(kind: Kind) -> Resource:
    return Resource(group=kind.group, version=kind.version, plural=kind.plural, namespaced=kind.namespaced)
